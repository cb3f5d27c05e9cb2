// Rewards: claims and stakes of addresses whose key is in the reader's wallet.
import { Flow } from "./flow.js";

const root = document.getElementById("wallet-flow");
let wanted = null; // {action, task, address}

async function show(flow) {
  if (!wanted) {
    root.hidden = true;
    return;
  }
  const { action, task, address } = wanted;
  // Any account may send either call: the contract pays the one it names.
  await flow.review(action, task, { member: address });
}

const flow = new Flow(root, show);
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-wallet-action]");
  if (!button) return;
  wanted = { action: button.dataset.walletAction, task: Number(button.dataset.task), address: button.dataset.address };
  root.hidden = false;
  root.scrollIntoView({ block: "nearest" });
  flow.start();
});
document.addEventListener("flow:done", () => { wanted = null; });
root.hidden = false;
flow.resume(() => true).then((busy) => { root.hidden = !busy; });
