// The operator's page: what the wallet's account can sign for this task now.
import { element, post } from "./ask.js";
import { Flow } from "./flow.js";

const LOOK = 1000; // ms, while the model is being made
const root = document.getElementById("wallet-flow");
const task = Number(root.dataset.task);
const AMOUNT = `bcfl.topup.${task}`;

function amountField() {
  const field = element("input", {
    class: "form-control", id: "top-up", inputmode: "decimal", autocomplete: "off", placeholder: "250",
    value: sessionStorage.getItem(AMOUNT) || "",
  });
  field.addEventListener("input", () => sessionStorage.setItem(AMOUNT, field.value));
  return field;
}

function drawn(flow, offer) {
  const css = offer.primary ? "btn btn-wide btn-primary" : offer.danger ? "btn btn-wide btn-danger" : "btn btn-wide";
  const field = offer.asks ? amountField() : null;
  const go = () => {
    if (field && !field.value.trim()) {
      flow.say("Write an amount of FLT first, such as 250 or 12.5.", "bad");
      field.focus();
      return;
    }
    flow.review(offer.action, task, field ? { amount: field.value } : {});
  };
  const rows = [element("button", { type: "button", class: css, text: offer.label, on: go })];
  if (field) rows.unshift(element("label", { class: "form-label", for: "top-up", text: "Add to the pool, FLT" }), field);
  return element("div", {}, ...rows, element("p", { class: "form-hint", text: offer.hint }));
}

async function show(flow) {
  const desk = await post(root.dataset.deskUrl, { task, address: flow.account });
  const about = element("div", { class: "stack" });
  about.innerHTML = desk.html; // rendered and escaped by our server
  const rows = [about, ...desk.offers.map((offer) => drawn(flow, offer))];
  if (desk.placed) rows.push(element("a", { class: "btn", href: root.dataset.taskUrl, text: "Open the task" }));
  flow.draw(...rows);
  if (desk.soon) setTimeout(() => about.isConnected && flow.guarded(() => show(flow)), LOOK);
}

const flow = new Flow(root, show);
(async () => {
  const busy = await flow.resume((entry) => entry.task === task);
  if (!busy) await flow.start();
})();
