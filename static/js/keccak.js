// keccak256 and the little of the ABI encoding that a reward's leaf needs. Amounts are BigInt.
import { keccak_256 } from "../vendor/noble/sha3.js";

export function bytes(hex) {
  const text = hex.replace(/^0x/, "");
  if (text.length % 2 || /[^0-9a-f]/i.test(text)) throw new Error(`“${hex}” is not hexadecimal.`);
  return Uint8Array.from(text.match(/../g) || [], (pair) => parseInt(pair, 16));
}

export function hex(data) {
  return `0x${[...data].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export function keccak(data) {
  return keccak_256(data);
}

function joined(...parts) {
  const out = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  parts.forEach((part) => {
    out.set(part, at);
    at += part.length;
  });
  return out;
}

// A whole number as one 32-byte word. `bits` is the width of its Solidity type.
export function word(value, bits = 256) {
  const number = BigInt(value);
  if (number < 0n || number >> BigInt(bits)) throw new Error(`${value} does not fit uint${bits}.`);
  return bytes(number.toString(16).padStart(64, "0"));
}

// keccak256(bytes.concat(keccak256(abi.encode(uint256 taskId, address participant, uint96 amount)))).
export function rewardLeaf(task, participant, amount) {
  const address = bytes(participant);
  if (address.length !== 20) throw new Error(`${participant} is not an address.`);
  const encoded = joined(word(task), new Uint8Array(12), address, word(amount, 96));
  return keccak(keccak(encoded));
}

// Sorted pairs, as OpenZeppelin's MerkleProof joins them.
export function parent(a, b) {
  return hex(a) < hex(b) ? keccak(joined(a, b)) : keccak(joined(b, a));
}
