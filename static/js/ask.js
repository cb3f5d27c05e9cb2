// Talking to our own server, and small elements. Errors are texts for people.
export function csrf() {
  const field = document.querySelector("input[name=csrfmiddlewaretoken]");
  return field?.value || JSON.parse(document.body.getAttribute("hx-headers") || "{}")["X-CSRFToken"] || "";
}

export class Refusal extends Error {}

export async function post(url, body) {
  let answer;
  try {
    answer = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": csrf() },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Refusal("The server cannot be reached. Nothing was changed; try again when it is back.");
  }
  return read(answer);
}

export async function get(url) {
  return read(await fetch(url, { headers: { Accept: "application/json" } }));
}

async function read(answer) {
  if (answer.redirected) throw new Refusal("You are signed out. Reload the page and sign in again.");
  let told;
  try {
    told = await answer.json();
  } catch {
    throw new Refusal(`The server answered ${answer.status}. Reload the page and try again.`);
  }
  if (!answer.ok) throw new Refusal(told.error || `The server answered ${answer.status}.`);
  return told;
}

// element("p", { class: "muted", text: "…" }, child, …); `on` is a click listener.
export function element(tag, { class: css, text, on, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  if (css) made.className = css;
  if (text !== undefined) made.textContent = text;
  if (on) made.addEventListener("click", on);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  made.append(...children);
  return made;
}

export function walletButton(wallet, verb, on) {
  const icon = wallet.icon ? [element("img", { src: wallet.icon, alt: "" })] : [];
  const label = element("span", { text: `${verb} ${wallet.name}` });
  return element("button", { type: "button", class: "btn wallet-choice", on }, ...icon, label);
}

export const NO_WALLET = "No wallet was found in this browser. Install one that speaks EIP-6963 or EIP-1193, then reload.";
