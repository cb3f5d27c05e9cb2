"""EIP-712 signatures of updates, as the coordinator recovers them (docs/standard.md). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from eth_account import Account as Signer
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from chain.events import checksum

_TYPES = {
    "Update": [
        {"name": "taskId", "type": "uint256"},
        {"name": "round", "type": "uint16"},
        {"name": "updateHash", "type": "bytes32"},
        {"name": "samples", "type": "uint32"},
    ]
}


@dataclass(frozen=True)
class UpdateMessage:
    """What a participant signs so that anybody may submit its update."""

    chain_id: int
    coordinator: str
    task_id: int
    round: int
    update_hash: str
    samples: int

    def _signable(self) -> object:
        return encode_typed_data(
            domain_data={
                "name": "FLCoordinator",
                "version": "1",
                "chainId": self.chain_id,
                "verifyingContract": self.coordinator,
            },
            message_types=_TYPES,
            message_data={
                "taskId": self.task_id,
                "round": self.round,
                "updateHash": bytes.fromhex(self.update_hash[2:]),
                "samples": self.samples,
            },
        )

    def sign(self, signer: LocalAccount) -> str:
        """0x-hex of 64 bytes: r, then yParity << 255 | s (ERC-2098)."""
        signed = signer.sign_message(self._signable())  # type: ignore[arg-type]
        compact = ((signed.v - 27) << 255) | signed.s
        return "0x" + signed.r.to_bytes(32, "big").hex() + compact.to_bytes(32, "big").hex()

    def signer(self, signature: str) -> str:
        """The address that made a signature of 64 bytes; "" when nobody did."""
        try:
            raw = bytes.fromhex(signature.removeprefix("0x"))
            if len(raw) != 64:
                return ""
            r = int.from_bytes(raw[:32], "big")
            compact = int.from_bytes(raw[32:], "big")
            parity, s = compact >> 255, compact & (2**255 - 1)
            found = Signer.recover_message(self._signable(), vrs=(27 + parity, r, s))
        except Exception:  # each signature library has errors of its own for what is none
            return ""
        return checksum(str(found))


def pack_updates(updates: list[tuple[int, str, int]]) -> str:
    """`updates` of submitUpdatesBySig: (member index, update hash, samples), 38 bytes each."""
    return (
        "0x"
        + b"".join(
            index.to_bytes(2, "big") + bytes.fromhex(update_hash[2:]) + samples.to_bytes(4, "big")
            for index, update_hash, samples in updates
        ).hex()
    )


def unpack_updates(packed: str) -> list[tuple[int, str, int]]:
    """What `pack_updates` packed, and what an `UpdatesRelayed` event holds."""
    data = bytes.fromhex(packed.removeprefix("0x"))
    entries = (data[i : i + 38] for i in range(0, len(data), 38))
    return [
        (int.from_bytes(e[:2], "big"), "0x" + e[2:34].hex(), int.from_bytes(e[34:], "big"))
        for e in entries
    ]
