// Times that go on by themselves: "14 s", "12 s ago". One timer for the page.
const NBSP = "\u00a0";

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 90) return `${whole}${NBSP}s`;
  if (whole < 3600) return `${Math.round(whole / 60)}${NBSP}min`;
  const minutes = Math.round(whole / 60);
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}${NBSP}h${minutes % 60 ? ` ${minutes % 60}${NBSP}min` : ""}`;
  return `${Math.round(hours / 24)}${NBSP}d`;
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function tick() {
  const now = Date.now() / 1000;
  document.querySelectorAll("[data-since]").forEach((e) => set(e, duration(now - Number(e.dataset.since))));
  document.querySelectorAll("time[data-ago]").forEach((e) => {
    const age = now - Date.parse(e.getAttribute("datetime")) / 1000;
    set(e, age < 1 ? "just now" : `${duration(age)} ago`);
  });
  const look = document.querySelector("[data-look-again]");
  if (look && now > Number(look.dataset.lookAgain)) {
    delete look.dataset.lookAgain;
    document.dispatchEvent(new CustomEvent("live:look-again"));
  }
}

export function startClock() {
  tick();
  setInterval(tick, 1000);
  document.addEventListener("htmx:afterSettle", tick);
}
