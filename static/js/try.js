// Try a model: draw or edit, ask, and show what it says with the version and hash that answered.
import { Pad, picture } from "./pad.js";

const SHOWN = 10; // classes
const PAUSE = 140; // ms after the last stroke
const root = document.getElementById("try");
const image = root.dataset.image === "1";
const [height, width, depth] = ["height", "width", "depth"].map((name) => Number(root.dataset[name]));
const part = (name) => root.querySelector(`[data-${name}]`);
const csrf = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

let about = null; // what the model takes and answers
let pad = null;
let asking = null; // the request under way
let timer = 0;
let next = Math.floor(Math.random() * 1000); // held-out sample

async function call(url, options = {}) {
  const headers = { "X-CSRFToken": csrf, "Content-Type": "application/json" };
  const answer = await fetch(url, { headers, ...options });
  if (answer.redirected) throw new Error("You were signed out. Sign in again; what you entered is still here.");
  const body = await answer.json().catch(() => ({ error: `The server answered ${answer.status}. Try again.` }));
  if (!answer.ok) throw new Error(body.error);
  return body;
}

function trouble(text) {
  const banner = part("trouble");
  banner.hidden = !text;
  banner.replaceChildren();
  if (!text) return;
  const strong = document.createElement("strong");
  strong.textContent = "No answer";
  const words = document.createElement("span");
  words.textContent = text;
  banner.append(strong, words);
  const again = document.createElement("button");
  again.className = "btn btn-sm";
  again.type = "button";
  again.textContent = "Try again";
  again.addEventListener("click", () => (about ? ask() : start()));
  banner.append(again);
}

async function start() {
  part("state").textContent = "Loading the model…";
  trouble("");
  try {
    about = await call(root.dataset.warm, { method: "POST" });
  } catch (error) {
    part("state").textContent = "Not loaded";
    trouble(error.message);
    return;
  }
  part("state").textContent = about.warm || about.seconds < 0.1 ? "Ready" : `Ready, loaded in ${number.format(about.seconds)} s`;
  root.querySelectorAll("button[disabled]").forEach((button) => (button.disabled = false));
  if (!image) fields();
  else if (!pad.empty) ask();
}

// --- input ---

const inputs = () => [...part("features").querySelectorAll("input")];

function fields() {
  const box = part("features");
  if (box.querySelector("input")) return;
  box.replaceChildren(
    ...about.features.map((feature, at) => {
      const cell = document.createElement("div");
      const label = document.createElement("label");
      label.htmlFor = `feature-${at}`;
      label.textContent = feature.name;
      const input = document.createElement("input");
      Object.assign(input, { id: `feature-${at}`, className: "form-control", inputMode: "decimal", autocomplete: "off" });
      input.value = short(feature.mean);
      const seen = document.createElement("span");
      seen.className = "sub";
      seen.textContent = `${short(feature.low)} to ${short(feature.high)} in training`;
      cell.append(label, input, seen);
      return cell;
    }),
  );
  ask();
}

const short = (value) => String(Number(value.toPrecision(5)));

function row() {
  if (!image) {
    return inputs().map((input) => {
      const value = input.value.trim() === "" ? NaN : Number(input.value);
      input.classList.toggle("is-invalid", !Number.isFinite(value));
      input.toggleAttribute("aria-invalid", !Number.isFinite(value));
      return value;
    });
  }
  const [low, high] = about.bounds ?? about.seen;
  const pixels = pad.pixels().map((value) => low + value * (high - low));
  return depth === 1 ? pixels : pixels.flatMap((value) => Array(depth).fill(value));
}

function fill(values) {
  inputs().forEach((input, at) => (input.value = String(values[at])));
}

function paste() {
  const text = document.getElementById("paste").value.trim();
  try {
    let values = text.startsWith("{") || text.startsWith("[") ? JSON.parse(text) : text.split(/[\s,;]+/);
    if (!Array.isArray(values)) {
      const missing = about.features.filter((feature) => !(feature.name in values)).map((feature) => feature.name);
      if (missing.length) throw new Error(`“${missing[0]}” is missing${missing.length > 1 ? `, and ${missing.length - 1} more` : ""}.`);
      values = about.features.map((feature) => values[feature.name]);
    }
    if (values.length !== about.features.length) throw new Error(`${values.length} numbers were pasted, but this model takes ${about.features.length}.`);
    fill(values);
    part("truth").textContent = "";
    ask();
  } catch (error) {
    trouble(`The row could not be read. ${error.message}`);
  }
}

async function take() {
  try {
    const sample = await call(`${root.dataset.sample}?number=${next}`);
    next = sample.number + 1;
    part("truth").textContent = `Held-out sample ${sample.number + 1} of ${sample.of}: it is “${sample.class}”.`;
    if (image) {
      const [low, high] = about.bounds ?? about.seen;
      const grey = Array.from({ length: height * width }, (_, at) => (sample.row[at * depth] - low) / (high - low || 1));
      pad.put(grey);
    } else {
      fill(sample.row);
      ask();
    }
  } catch (error) {
    trouble(error.message);
  }
}

function clear() {
  part("truth").textContent = "";
  if (image) pad.clear();
  else {
    fill(about.features.map((feature) => short(feature.mean)));
    ask();
  }
}

// --- answer ---

function seen() {
  const view = root.querySelector(".seen").getContext("2d");
  view.fillStyle = "#000";
  view.fillRect(0, 0, width, height);
  view.drawImage(picture(pad.pixels(), height, width), 0, 0);
}

function drawn() {
  if (!pad.fixed) part("truth").textContent = "";
  seen();
  clearTimeout(timer);
  if (pad.empty) empty();
  else timer = setTimeout(ask, PAUSE);
}

function empty() {
  asking?.abort();
  part("verdict").innerHTML = '<span class="muted">Draw something.</span>';
  part("bars").replaceChildren();
  part("warnings").replaceChildren();
  part("meta").textContent = "Nothing asked yet.";
}

async function ask() {
  if (!about) return;
  const values = row();
  if (values.some((value) => !Number.isFinite(value))) {
    trouble("Some fields hold no number; they are marked.");
    root.querySelector(".is-invalid")?.focus();
    return;
  }
  asking?.abort();
  asking = new AbortController();
  const started = performance.now();
  try {
    const body = JSON.stringify({ rows: [values] });
    const answer = await call(root.dataset.predict, { method: "POST", body, signal: asking.signal });
    trouble("");
    show(answer, performance.now() - started);
  } catch (error) {
    if (error.name !== "AbortError") trouble(error.message);
  }
}

function show(answer, ms) {
  const [said] = answer.predictions;
  const sure = said.probabilities[said.index];
  part("verdict").textContent = `${said.class}, ${tenths.format(100 * sure)} %`;
  let order = answer.classes.map((_, at) => at);
  if (order.length > SHOWN) {
    order = order.sort((a, b) => said.probabilities[b] - said.probabilities[a]).slice(0, SHOWN);
  }
  part("bars").replaceChildren(...order.map((at) => bar(answer.classes[at], said.probabilities[at], at === said.index)));
  part("warnings").replaceChildren(
    ...answer.warnings.map((text) => Object.assign(document.createElement("li"), { textContent: text })),
  );
  const hash = `${answer.model_hash.slice(0, 6)}…${answer.model_hash.slice(-4)}`;
  const code = Object.assign(document.createElement("code"), { textContent: hash, title: answer.model_hash });
  part("meta").replaceChildren(
    `Version ${answer.version} answered, model `,
    code,
    `, in ${number.format(answer.latency_ms)} ms (${number.format(ms)} ms with the way there)${answer.warm ? "" : ", loaded just now"}.`,
  );
}

function bar(name, probability, best) {
  const line = document.createElement("div");
  line.className = best ? "bar best" : "bar";
  const percent = `${tenths.format(100 * probability)} %`;
  const progress = Object.assign(document.createElement("progress"), { max: 1, value: probability });
  progress.setAttribute("aria-label", `${name}: ${percent}`);
  const label = Object.assign(document.createElement("span"), { textContent: name });
  const value = Object.assign(document.createElement("span"), { textContent: percent, className: "num" });
  line.append(label, progress, value);
  return line;
}

if (image) {
  pad = new Pad(root.querySelector(".pad"), { height, width, dataset: root.dataset.dataset, changed: drawn });
  seen();
}
part("take").addEventListener("click", take);
part("clear").addEventListener("click", clear);
part("row")?.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
part("features")?.addEventListener("input", () => (part("truth").textContent = ""));
part("paste")?.addEventListener("click", paste);
const versions = document.getElementById("pick-version");
versions.addEventListener("change", () => location.assign(`${versions.dataset.base}${versions.value}/try/`));
start();
