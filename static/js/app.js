// Every page: theme, copy buttons, menus, clocks, toasts, and the live socket.
import { connect } from "./live.js";
import { startClock } from "./clock.js";
import { guardSwaps } from "./swaps.js";

const root = document.documentElement;

function csrf() {
  return JSON.parse(document.body.getAttribute("hx-headers") || "{}")["X-CSRFToken"] || "";
}

function setTheme(value, url) {
  root.dataset.theme = value;
  document.querySelectorAll("[data-set-theme]").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.setTheme === value));
  });
  document.dispatchEvent(new CustomEvent("theme:changed"));
  fetch(url, {
    method: "POST",
    headers: { "X-CSRFToken": csrf(), "HX-Request": "true" },
    body: new URLSearchParams({ theme: value }),
  }).catch(() => toast("The theme is set here but could not be saved. Try again later.", "bad"));
}

export function toast(text, tone = "ok") {
  const note = document.createElement("div");
  note.className = "toast-note";
  const dot = document.createElement("span");
  dot.className = `dot ${tone}`;
  const body = document.createElement("span");
  body.className = "grow";
  body.textContent = text;
  note.append(dot, body);
  document.getElementById("toasts")?.append(note);
  setTimeout(() => note.remove(), 8000);
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    // No clipboard without https or permission: select the text in a field instead.
    const field = document.createElement("textarea");
    field.value = button.dataset.copy;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    button.focus();
  }
  button.dataset.done = "";
  const said = button.getAttribute("aria-label");
  button.setAttribute("aria-label", "Copied");
  setTimeout(() => {
    delete button.dataset.done;
    button.setAttribute("aria-label", said);
  }, 1500);
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("button, summary, a");
  document.querySelectorAll("details.menu[open]").forEach((menu) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  if (!target) return;
  if (target.dataset.copy !== undefined) copy(target);
  if (target.dataset.setTheme) {
    setTheme(target.dataset.setTheme, target.closest("[data-theme-url]").dataset.themeUrl);
  }
  if (target.dataset.dismiss !== undefined) target.closest(".toast-note").remove();
  if (target.dataset.tableToggle) {
    const table = document.getElementById(target.dataset.tableToggle);
    table.hidden = !table.hidden;
    target.setAttribute("aria-expanded", String(!table.hidden));
    document.dispatchEvent(new CustomEvent("table:toggled", { detail: table.id }));
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    document.querySelectorAll("details.menu[open]").forEach((menu) => {
      menu.open = false;
      menu.querySelector("summary").focus();
    });
  }
  const typing = event.target.closest?.("input, textarea, select");
  if (event.key === "/" && !typing) {
    const field = document.querySelector(".search input");
    if (field?.offsetParent) {
      event.preventDefault();
      field.focus();
    }
  }
});

document.addEventListener("htmx:sendError", () => toast("The server cannot be reached. Nothing was changed.", "bad"));
document.addEventListener("htmx:responseError", (event) => {
  const status = event.detail.xhr.status;
  const text =
    status === 403 ? "You may not do this." : `The server answered ${status}. Reload the page and try again.`;
  toast(text, "bad");
});
setTimeout(() => document.querySelectorAll("#toasts .toast-note").forEach((note) => note.remove()), 12000);

// Parts of lists refetch themselves when a block arrived: at most every 1.5 s, the last one counts.
function refreshLists() {
  const lists = [...document.querySelectorAll("[data-refresh]")];
  if (!lists.length) return;
  let waiting = false;
  document.addEventListener("live:chain", () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      lists.forEach((list) => window.htmx.ajax("GET", list.dataset.refresh, { target: list, swap: "innerHTML" }));
    }, 1500);
  });
}

// The bell: fetched again when the server says that there is news, and after each reconnect.
let saidHello = false;
document.addEventListener("live:message", (event) => {
  const bell = document.getElementById("bell");
  const again = event.detail.type === "hello" && saidHello;
  saidHello ||= event.detail.type === "hello";
  if (bell && (event.detail.person || again)) {
    window.htmx.ajax("GET", bell.dataset.url, { target: bell, swap: "innerHTML" });
  }
});

guardSwaps();
startClock();
if (document.body.dataset.live) {
  connect(document.body.dataset.live);
  refreshLists();
}
