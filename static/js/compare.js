// Overlaid curves of several tasks, along rounds, seconds or gas. Colours come from the style
// sheet, so a change of theme redraws them; lines differ by their dashes too.
const uPlot = window.uPlot;
const tasks = JSON.parse(document.getElementById("curves-data").textContent);
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 3 });
const readout = document.getElementById("curve-readout");
const shown = tasks.map(() => true);
const plots = [];
let along = "round";
const UNITS = { round: (v) => `Round ${v}`, seconds: (v) => `${plain.format(v)} s`, gas: (v) => `${plain.format(v)} gas` };

const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);
function colour(variable) {
  probe.style.color = `var(${variable})`;
  return getComputedStyle(probe).color;
}

// Each task has points of its own along seconds or gas: one sorted axis, with gaps where a task
// has none.
function table(name) {
  const lines = tasks.map((task) => task.points.filter((p) => p[along] !== null && p[name] !== null));
  const xs = [...new Set(lines.flatMap((line) => line.map((p) => p[along])))].sort((a, b) => a - b);
  const at = new Map(xs.map((x, i) => [x, i]));
  const ys = lines.map((line) => {
    const values = new Array(xs.length).fill(null);
    line.forEach((p) => (values[at.get(p[along])] = p[name]));
    return values;
  });
  return [xs, ...ys];
}

function draw(node) {
  const name = node.dataset.curve;
  const data = table(name);
  const note = node.querySelector(".empty-chart");
  note.hidden = data[0].length > 0;
  if (!data[0].length) {
    note.textContent = "The curves begin when the first round is final.";
    return;
  }
  const axis = { stroke: colour("--ink-3"), ticks: { show: false }, font: "11px Inter" };
  const plot = new uPlot(
    {
      width: Math.max(node.clientWidth, 120),
      height: 220,
      padding: [8, 26, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "compare", setSeries: false, scales: ["x", null] }, y: false, drag: { x: false, y: false }, points: { size: 7 } },
      hooks: { setCursor: [hover] },
      scales: { x: { time: false } },
      series: [
        {},
        ...tasks.map((task, i) => ({
          show: shown[i],
          stroke: colour(`--series-${task.key}`),
          width: 2,
          dash: task.dash,
          spanGaps: true,
          points: { show: task.points.length < 3, size: 6 },
        })),
      ],
      axes: [
        { ...axis, grid: { show: false }, size: 26, values: (_, ticks) => ticks.map((t) => (along === "round" && !Number.isInteger(t) ? "" : compact.format(t))) },
        { ...axis, grid: { stroke: colour("--line"), width: 1 }, size: 44, values: (_, ticks) => ticks.map((t) => plain.format(t)) },
      ],
    },
    data,
    node,
  );
  plots.push({ plot, node, name });
}

function redraw() {
  plots.splice(0).forEach(({ plot }) => plot.destroy());
  document.querySelectorAll("[data-curve]").forEach(draw);
}

function hover(u) {
  const at = u.cursor.idx;
  readout.replaceChildren();
  if (at === null || at === undefined || u.cursor.left < 0) return;
  const name = plots.find((one) => one.plot === u)?.name;
  const item = (text) => {
    const node = document.createElement("span");
    node.textContent = text;
    readout.append(node);
  };
  item(UNITS[along](u.data[0][at]));
  tasks.forEach((task, i) => {
    const value = u.data[i + 1][at];
    if (shown[i] && value !== null && value !== undefined) {
      item(`${task.title}: ${name} ${plain.format(value)}${name === "accuracy" ? " %" : ""}`);
    }
  });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-along], [data-line]");
  if (!button) return;
  if (button.dataset.along) {
    along = button.dataset.along;
    document.querySelectorAll("[data-along]").forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
  } else {
    const at = Number(button.dataset.line);
    shown[at] = !shown[at];
    button.setAttribute("aria-pressed", String(shown[at]));
  }
  redraw();
});
document.addEventListener("theme:changed", () => requestAnimationFrame(redraw));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
document.fonts?.ready.then(redraw);
const resize = new ResizeObserver(() =>
  plots.forEach(({ plot, node }) => {
    const width = Math.max(node.clientWidth, 120);
    if (Math.abs(plot.width - width) > 1) plot.setSize({ width, height: plot.height });
  }),
);
document.querySelectorAll("[data-curve]").forEach((node) => resize.observe(node));
redraw();
