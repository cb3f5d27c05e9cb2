// The ledger's own: new rows announce themselves and wait to be asked for, and the chart of a
// balance. The page's socket (app.js) tells of blocks by `live:chain`.
const EVERY = 1500; // ms between questions, however quick the chain
const number = new Intl.NumberFormat("en");

function announce(news, { new: count, more }) {
  const noun = news.dataset.noun ? ` ${news.dataset.noun}${count === 1 ? "" : "s"}` : "";
  const text = `${number.format(count)}${more ? "+" : ""} new${noun}, show`;
  let button = news.querySelector("button");
  if (!count) {
    button?.remove();
    return;
  }
  if (!button) {
    button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => show(news));
    news.append(button);
  }
  if (button.textContent !== text) button.textContent = text;
}

async function show(news) {
  const list = news.closest("[data-list]");
  await window.htmx.ajax("GET", news.dataset.show, { target: list, swap: "innerHTML" });
  const title = list.querySelector("h2");
  title?.setAttribute("tabindex", "-1");
  title?.focus({ preventScroll: true });
}

async function look() {
  if (document.hidden) return;
  for (const news of document.querySelectorAll("[data-watch]")) {
    try {
      const answer = await fetch(news.dataset.watch, { headers: { Accept: "application/json" } });
      if (answer.ok && !answer.redirected) announce(news, await answer.json());
    } catch {
      // The server is away: the badge says so, and the next block asks again.
    }
  }
}

let waiting = false;
document.addEventListener("live:chain", () => {
  if (waiting) return;
  waiting = true;
  setTimeout(() => {
    waiting = false;
    look();
  }, EVERY);
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });

const node = document.querySelector("[data-balance]");
const source = document.getElementById("balance-data");

function colour(variable) {
  const probe = document.createElement("span");
  probe.hidden = true;
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

// As short as the distance between two ticks allows, in the reader's time zone.
function moment(seconds, step) {
  const shape = step >= 86400
    ? { day: "2-digit", month: "short" }
    : { hour: "2-digit", minute: "2-digit", ...(step < 60 ? { second: "2-digit" } : {}), hour12: false };
  return new Date(seconds * 1000).toLocaleString("en-GB", shape);
}

let plot;
function draw() {
  const data = JSON.parse(source.textContent);
  const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
  const axis = { stroke: colour("--ink-3"), ticks: { show: false }, font: "11px Inter" };
  plot?.destroy();
  plot = new window.uPlot(
    {
      width: Math.max(node.clientWidth, 120),
      height: 160,
      padding: [8, 26, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.08] } },
      series: [
        {},
        {
          stroke: colour("--token"),
          width: 2,
          paths: window.uPlot.paths.stepped({ align: 1 }),
          points: { show: data.time.length < 3, size: 7, fill: colour("--token") },
        },
      ],
      axes: [
        { ...axis, grid: { show: false }, size: 26, space: 72, values: (u, ticks, at, space, step) => ticks.map((t) => moment(t, step)) },
        { ...axis, grid: { stroke: colour("--line"), width: 1 }, size: 54, values: (_, ticks) => ticks.map((t) => compact.format(t)) },
      ],
    },
    [data.time, data.balance],
    node,
  );
}

if (node && source) {
  draw();
  document.addEventListener("theme:changed", () => requestAnimationFrame(draw));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(() => {
    const width = Math.max(node.clientWidth, 120);
    if (Math.abs(plot.width - width) > 1) plot.setSize({ width, height: plot.height });
  }).observe(node);
}
