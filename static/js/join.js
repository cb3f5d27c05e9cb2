// The join page: what the wallet's account can do in this task now.
import { element, post } from "./ask.js";
import { Flow } from "./flow.js";

const root = document.getElementById("wallet-flow");
const task = Number(root.dataset.task);
const SAMPLES = `bcfl.samples.${task}`;

function button(text, on, primary = false) {
  return element("button", { type: "button", class: primary ? "btn btn-primary" : "btn", text, on });
}

// Sign a permit (costs nothing), then join with it; one transaction instead of two.
async function permitAndJoin(flow, samples) {
  await flow.guarded(async () => {
    flow.say(`${flow.wallet.name} asks you to sign a permit for the stake; this costs no gas.`);
    const typed = await post(root.dataset.permitUrl, { task, address: flow.account });
    const signature = await flow.wallet.signTyped(typed, flow.account);
    const permit = { signature, deadline: typed.message.deadline };
    await flow.review("joinWithPermit", task, { samples_cap: samples, permit });
  });
}

function joinForm(flow, state) {
  const field = element("input", {
    class: "form-control", id: "samples", inputmode: "numeric", autocomplete: "off", required: "",
    value: sessionStorage.getItem(SAMPLES) || "", placeholder: "1000",
  });
  field.addEventListener("input", () => sessionStorage.setItem(SAMPLES, field.value));
  const samples = () => {
    const value = Number(field.value.replace(/[, ]/g, ""));
    if (Number.isInteger(value) && value > 0 && value < 2 ** 32) return value;
    flow.say("Give the most samples you will train on in a round: a whole number from 1 to 4,294,967,295.", "bad");
    field.focus();
    return null;
  };
  const act = (work) => () => {
    const value = samples();
    if (value !== null) work(value);
  };
  const actions = state.covered
    ? [button("Join", act((cap) => flow.review("join", task, { samples_cap: cap })), true)]
    : [
        button("Sign a permit and join", act((cap) => permitAndJoin(flow, cap)), true),
        button("Approve the stake instead", () => flow.review("approve", task)),
      ];
  return [
    element("label", { class: "form-label", for: "samples", text: "Most samples in a round" }),
    field,
    element("p", { class: "form-hint", text: "The contract refuses an update that claims more. The size of your data file is right." }),
    element("div", { class: "actions" }, ...actions),
  ];
}

async function show(flow) {
  const state = await flow.standing(task);
  const about = element("div");
  about.innerHTML = state.html; // rendered and escaped by our server
  const rows = [about];
  if (state.status === "none" && root.dataset.open === "yes") {
    if (!state.affordable) {
      rows.push(element("div", { class: "banner" },
        element("strong", { text: "Too little FLT for the stake" }),
        element("span", { text: "Send FLT to this account, or choose another one in the wallet." })));
    }
    if (!state.linked) {
      rows.push(element("p", { class: "form-hint", text: "This wallet is not linked to you. You can join with it; link it in Settings so that what it earns counts as yours." }));
    }
    rows.push(...joinForm(flow, state));
  } else if (state.status === "none") {
    rows.push(element("p", { class: "muted", text: "This account is not in the task, and the task takes nobody now." }));
  } else {
    const actions = [];
    if (state.claimable !== "0") actions.push(button("Claim", () => flow.review("claim", task), true));
    if (state.stake_due) actions.push(button("Take the stake back", () => flow.review("returnStake", task), !actions.length));
    if (state.status === "active" && ["open", "running"].includes(root.dataset.phase)) {
      actions.push(button("Leave", () => flow.review("leave", task)));
    }
    rows.push(element("div", { class: "actions" }, ...actions));
    if (root.dataset.phase === "open") {
      rows.push(element("p", { class: "form-hint", text: "You are in. Start the agent with the command on this page; it waits for the first round." }));
    }
  }
  flow.draw(...rows);
}

const flow = new Flow(root, show);
(async () => {
  const busy = await flow.resume((entry) => entry.task === task);
  if (!busy) await flow.start();
})();
