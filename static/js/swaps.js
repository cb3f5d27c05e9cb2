// A part that did not change is left alone: no flicker, focus and open details stay, and a live
// region is not read out again. One that did is changed in place, node by node.
import { tick } from "./clock.js";

const last = new Map(); // element id → HTML as the server sent it

function same(target, html) {
  const key = target.id;
  if (!key) return false;
  const trimmed = html.replace(/csrfmiddlewaretoken" value="[^"]*"/g, "").replace(/\s+/g, " ").trim();
  const unchanged = last.get(key) === trimmed;
  last.set(key, trimmed);
  return unchanged;
}

// What the person at the page did stays: opened menus, text typed and a button under the pointer.
// A progress bar has a value too, but nobody typed it.
const edited = (node) => "defaultValue" in node && (node === document.activeElement || node.value !== node.defaultValue);
const KEEP = {
  beforeAttributeUpdated: (name, node) =>
    !((name === "open" && node.tagName === "DETAILS") || (name === "value" && edited(node))),
};

// What was rendered for everybody has nobody's token; the page has one for the forms that need it.
function sign(target) {
  const token = JSON.parse(document.body.getAttribute("hx-headers") || "{}")["X-CSRFToken"];
  target.querySelectorAll("form[method=post]").forEach((form) => {
    if (!token || form.elements.csrfmiddlewaretoken) return;
    const field = document.createElement("input");
    Object.assign(field, { type: "hidden", name: "csrfmiddlewaretoken", value: token });
    form.prepend(field);
  });
}

export function fill(target, html) {
  if (!target || same(target, html)) return false;
  window.Idiomorph.morph(target, html, { morphStyle: "innerHTML", ignoreActiveValue: true, callbacks: KEEP });
  sign(target);
  window.htmx.process(target);
  tick();
  document.dispatchEvent(new CustomEvent("part:filled", { detail: { target } }));
  return true;
}

export function guardSwaps() {
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (target.id === "toasts") return;
    const html = fragment.firstElementChild ? fragment.firstElementChild.innerHTML : fragment.textContent;
    if (window.Idiomorph) {
      event.detail.shouldSwap = false;
      fill(target, html);
    } else if (same(target, html)) event.detail.shouldSwap = false;
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, serverResponse, requestConfig } = event.detail;
    if (requestConfig?.verb === "get" && target.dataset?.refresh && same(target, serverResponse)) {
      event.detail.shouldSwap = false;
    }
  });
}
