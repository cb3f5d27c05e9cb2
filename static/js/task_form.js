// The task form: shows what belongs to the choices made, adds up the cost, keeps a draft.
const form = document.getElementById("task-form");
const help = JSON.parse(document.getElementById("choice-help").textContent);
const quote = document.getElementById("quote");
const key = form.dataset.draft;
const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 4 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

const value = (name) => form.elements[name]?.value ?? "";
const amount = (name) => Math.max(0, Number(value(name)) || 0);

function adapt() {
  form.querySelectorAll("[data-shown-for]").forEach((node) => {
    const [name, choices] = node.dataset.shownFor.split("=");
    node.hidden = !choices.split(",").includes(value(name));
  });
  form.querySelectorAll("[data-choice-help]").forEach((node) => {
    node.textContent = help[node.dataset.choiceHelp]?.[value(node.dataset.choiceHelp)] ?? "";
  });
}

function tell(name, text) {
  const node = document.querySelector(`[data-quote="${name}"]`);
  if (node) node.textContent = text;
}

function ether(wei) {
  return Number((wei / 1e18).toPrecision(3)).toString();
}

function cost() {
  const people = Math.max(0, Math.floor(amount("participants")));
  const rounds = Math.max(0, Math.floor(amount("rounds")));
  const pool = amount("pool");
  const { fixed, join, submit, evaluate, price, balance } = quote.dataset;
  const gas = Number(fixed) + people * Number(join) + rounds * (people * Number(submit) + Number(evaluate));
  tell("pool", `${plain.format(pool)} FLT`);
  tell("round", rounds ? `${plain.format(pool / rounds)} FLT` : "–");
  tell("stakes", `${people} × ${plain.format(amount("stake"))} FLT`);
  tell("gas", price ? `${compact.format(gas)} · ${ether(gas * Number(price))} ETH` : compact.format(gas));
  tell("total", `${plain.format(pool)} FLT`);
  const short = document.querySelector('[data-quote="short"]');
  const held = Number(balance) / 1e18;
  short.hidden = balance === "" || held >= pool;
  short.textContent = short.hidden ? "" : `Your account holds ${plain.format(held)} FLT, less than the pool. You can save the draft; it will not start.`;
}

function fields() {
  return [...form.elements].filter((e) => e.name && e.type !== "hidden" && e.tagName !== "BUTTON");
}

function keep() {
  localStorage.setItem(key, JSON.stringify(Object.fromEntries(fields().map((e) => [e.name, e.value]))));
}

function restore() {
  const stored = localStorage.getItem(key);
  if (!stored || form.dataset.bound !== undefined) return;
  let changed = false;
  for (const [name, text] of Object.entries(JSON.parse(stored))) {
    const field = form.elements[name];
    if (field && field.value !== text) {
      field.value = text;
      changed = true;
    }
  }
  document.getElementById("draft-note").hidden = !changed;
}

restore();
adapt();
cost();
form.addEventListener("input", () => { adapt(); cost(); keep(); });
form.addEventListener("submit", (event) => {
  localStorage.removeItem(key); // the server holds it now, or shows it again with its errors
  event.submitter?.classList.add("is-busy");
});
document.getElementById("draft-clear")?.addEventListener("click", () => {
  localStorage.removeItem(key);
  form.reset();
  document.getElementById("draft-note").hidden = true;
  adapt();
  cost();
});
document.getElementById("form-errors")?.focus();
