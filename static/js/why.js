// The check of a reward: each step is worked out here, none is believed. What the page shows comes
// from our server; what it is compared with comes from the chain, twice where a wallet is at hand.
import { bytes, hex, parent, rewardLeaf } from "./keccak.js";
import { divide } from "./division.js";
import { discover } from "./wallet.js";

const card = document.getElementById("check");
const list = card.querySelector("[data-steps]");
const verdict = card.querySelector("[data-verdict]");
const given = JSON.parse(document.getElementById("check-data").textContent);
const grouped = (value) => BigInt(value).toLocaleString("en");
const brief = (hash) => (hash.length > 14 ? `${hash.slice(0, 8)}…${hash.slice(-6)}` : hash);
const ICONS = { ok: "check", bad: "close" };
const SPRITE = document.querySelector("use").getAttribute("href").split("#")[0];
let run = 0;

function step(title) {
  const item = document.createElement("li");
  item.dataset.state = "busy";
  const mark = document.createElement("span");
  mark.className = "mark";
  const body = document.createElement("div");
  const name = document.createElement("span");
  name.textContent = title;
  const detail = document.createElement("span");
  detail.className = "detail";
  body.append(name, detail);
  item.append(mark, body);
  list.append(item);
  return (state, text) => {
    item.dataset.state = state;
    detail.textContent = text;
    const said = { ok: "correct", bad: "wrong", none: "not checked" }[state];
    mark.innerHTML = ICONS[state] ? `<svg class="icon" role="img"><use href="${SPRITE}#${ICONS[state]}"/></svg>` : "";
    mark.firstElementChild?.setAttribute("aria-label", said);
    return state;
  };
}

// What was worked out against what was to be found; the differing value is named.
function compare(tell, found, expected, good, what) {
  const same = String(found).toLowerCase() === String(expected).toLowerCase();
  return tell(same ? "ok" : "bad", same ? good : `${what} is ${expected}, but the numbers give ${found}.`);
}

function checkDivision() {
  const result = divide(given.members, given.mode, given.reward);
  const scores = step("The scores' medians are those shown");
  const off = given.members.find((m) => result.get(m.address).score !== m.score);
  const first = off
    ? compare(scores, result.get(off.address).score, off.score, "", `The score shown for ${off.name}`)
    : scores("ok", `${given.members.length} medians`);
  const amounts = step("Every reward follows from the formula");
  const wrong = given.members.find((m) => result.get(m.address).amount !== BigInt(m.amount));
  if (wrong) {
    const found = result.get(wrong.address).amount;
    return [first, compare(amounts, found, wrong.amount, "", `The reward shown for ${wrong.name} in wei`)];
  }
  const sum = [...result.values()].reduce((total, one) => total + one.amount, 0n);
  const told = `${given.members.length} rewards add up to ${grouped(sum)} wei`;
  return [first, compare(amounts, sum, given.reward, told, "The round's reward in wei")];
}

function checkSum(cumulative) {
  const tell = step("Earned before + this round = amount in the leaf");
  const sum = BigInt(given.before) + BigInt(given.amount);
  return compare(tell, sum, cumulative, `${grouped(sum)} wei`, "The amount in the leaf");
}

function checkTree(cumulative) {
  const states = [];
  const leafStep = step("Leaf: keccak256 of task, address and amount");
  let node = rewardLeaf(given.task, given.participant, cumulative);
  states.push(compare(leafStep, hex(node), given.leaf, brief(hex(node)), "The leaf shown"));
  given.proof.forEach((sibling, i) => {
    const up = step(`Up with proof ${i + 1} of ${given.proof.length}`);
    node = parent(node, bytes(sibling));
    up("ok", `${brief(hex(node))} from ${brief(sibling)}`);
  });
  const top = step("The top is the round's root");
  states.push(compare(top, hex(node), given.root, brief(given.root), "The root of the round"));
  return { states, root: hex(node) };
}

async function checkServer(root) {
  const tell = step("The root on chain, asked through this server");
  try {
    const answer = await fetch(card.dataset.rootUrl, { headers: { Accept: "application/json" } });
    const said = await answer.json();
    if (!answer.ok) return tell("none", said.error);
    const where = said.block === null ? said.how : `${said.how}, block ${said.block.toLocaleString("en")}`;
    return compare(tell, root, said.root, `${brief(said.root)} by ${where}`, "The root on chain");
  } catch {
    return tell("none", "The server did not answer. Check again when it is back.");
  }
}

// The same question to the wallet's own node: our server takes no part in it.
async function checkWallet(root) {
  const tell = step("The root on chain, asked through your wallet");
  const chain = given.chain;
  const [wallet] = await discover();
  if (!wallet) return tell("none", "No wallet in this browser. With one, its own node is asked too.");
  if (!chain.coordinator) return tell("none", "The contracts are not deployed on this chain.");
  try {
    const id = Number(await wallet.provider.request({ method: "eth_chainId" }));
    if (id !== chain.id) {
      return tell("none", `${wallet.name} is on chain ${id}, this task on ${chain.id}. Switch it and check again.`);
    }
    const data = chain.latest ? await askState(wallet.provider) : await askEvent(wallet.provider);
    if (data.length < 2 + 64 * (chain.rootWord + 1)) {
      return tell("none", `${wallet.name}'s node gave no answer of the contract. Is it the same chain?`);
    }
    const found = `0x${data.slice(2 + 64 * chain.rootWord, 66 + 64 * chain.rootWord)}`;
    return compare(tell, root, found, `${brief(found)} by ${wallet.name}`, "The root on chain");
  } catch (error) {
    return tell("none", `${wallet.name} refused: ${error.message || error}`);
  }
}

function askState(provider) {
  const call = { to: given.chain.coordinator, data: given.chain.call };
  return provider.request({ method: "eth_call", params: [call, "latest"] });
}

async function askEvent(provider) {
  const { coordinator, topics, block } = given.chain;
  const filter = { address: coordinator, topics, fromBlock: block, toBlock: block };
  const logs = await provider.request({ method: "eth_getLogs", params: [filter] });
  return logs[0]?.data || "0x";
}

async function check(cumulative) {
  const mine = ++run;
  list.replaceChildren();
  verdict.dataset.state = "";
  verdict.textContent = "Checking…";
  let states;
  try {
    states = [...checkDivision(), checkSum(cumulative)];
    if (BigInt(cumulative) === 0n) {
      step("No leaf")("none", "Nothing was earned in this task so far, so the tree has no leaf for it.");
      return judge(states, !states.includes("bad"));
    }
    const tree = checkTree(cumulative);
    states.push(...tree.states, await checkServer(tree.root));
    if (mine !== run) return;
    states.push(await checkWallet(tree.root));
  } catch (error) {
    step("The numbers cannot be read")("bad", error.message);
    states = ["bad"];
  }
  if (mine === run) judge(states, states.slice(-2).includes("ok"));
}

function judge(states, asked) {
  const bad = states.includes("bad");
  verdict.dataset.state = bad ? "bad" : asked ? "ok" : "";
  verdict.textContent = bad ? "Does not hold" : asked ? "Holds" : "The chain was not asked";
}

const form = card.querySelector("[data-tamper]");
const field = form.querySelector("input");
form.addEventListener("submit", (event) => {
  event.preventDefault();
  check(field.value.trim());
});
form.querySelector("[data-restore]").addEventListener("click", () => {
  field.value = given.cumulative;
  check(field.value);
});
check(given.cumulative);
