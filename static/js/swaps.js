// A part that did not change is left alone: no flicker, focus and open details stay, and a live
// region is not read out again.
const last = new Map(); // element id → HTML as the server sent it

function same(target, html) {
  const key = target.id;
  if (!key) return false;
  const trimmed = html.replace(/csrfmiddlewaretoken" value="[^"]*"/g, "").replace(/\s+/g, " ").trim();
  const unchanged = last.get(key) === trimmed;
  last.set(key, trimmed);
  return unchanged;
}

export function guardSwaps() {
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (target.id === "toasts") return;
    const html = fragment.firstElementChild ? fragment.firstElementChild.innerHTML : fragment.textContent;
    if (same(target, html)) event.detail.shouldSwap = false;
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, serverResponse, requestConfig } = event.detail;
    if (requestConfig?.verb === "get" && target.dataset?.refresh && same(target, serverResponse)) {
      event.detail.shouldSwap = false;
    }
  });
}
