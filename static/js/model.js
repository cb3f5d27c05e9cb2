// The curve of a model: accuracy and loss by version, the one in production marked.
const node = document.querySelector("[data-curve]");
const data = JSON.parse(document.getElementById("curve").textContent);
const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
let plot;

function colour(variable) {
  const probe = document.createElement("span");
  probe.hidden = true;
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

// A line at the version in production, with its name.
function markProduction(u) {
  if (data.production === null) return;
  const x = u.valToPos(data.production, "x", true);
  const { top, height } = u.bbox;
  u.ctx.save();
  u.ctx.strokeStyle = colour("--token");
  u.ctx.fillStyle = colour("--token");
  u.ctx.lineWidth = devicePixelRatio;
  u.ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
  u.ctx.beginPath();
  u.ctx.moveTo(x, top);
  u.ctx.lineTo(x, top + height);
  u.ctx.stroke();
  u.ctx.font = `${11 * devicePixelRatio}px Inter`;
  const left = x > u.bbox.left + u.bbox.width / 2;
  u.ctx.textAlign = left ? "right" : "left";
  u.ctx.fillText("production", x + (left ? -6 : 6) * devicePixelRatio, top + height - 8 * devicePixelRatio);
  u.ctx.restore();
}

function draw() {
  const axis = { stroke: colour("--ink-3"), ticks: { show: false }, font: "11px Inter" };
  const numbers = { ...axis, size: 44, space: 34, values: (_, ticks) => ticks.map((t) => plain.format(t)) };
  const last = Math.max(2, data.versions.at(-1));
  plot?.destroy();
  node.querySelector(".empty-chart").hidden = true;
  plot = new window.uPlot(
    {
      width: Math.max(node.clientWidth, 120),
      height: 220,
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      scales: {
        x: { time: false, range: () => [0, last] },
        y: { range: (_, low) => [Math.max(0, Math.floor(((low ?? 0) - 4) / 10) * 10), 100] },
        loss: { range: (_, low, high) => [0, (high || 1) * 1.1] },
      },
      series: [
        {},
        { stroke: colour("--accuracy"), width: 2.5, spanGaps: true, points: { show: data.versions.length < 40, size: 6, fill: colour("--accuracy") } },
        { stroke: colour("--ink-3"), width: 1.5, dash: [4, 3], scale: "loss", spanGaps: true, points: { show: false } },
      ],
      axes: [
        { ...axis, grid: { show: false }, size: 26, space: 28, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500] },
        { ...numbers, grid: { stroke: colour("--line"), width: 1 } },
        { ...numbers, scale: "loss", side: 1, size: 40, grid: { show: false } },
      ],
      hooks: { draw: [markProduction] },
    },
    [data.versions, data.accuracy, data.loss],
    node,
  );
}

if (data.accuracy.some((value) => value !== null)) {
  draw();
  document.addEventListener("theme:changed", () => requestAnimationFrame(draw));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.fonts?.ready.then(draw);
  new ResizeObserver(() => {
    const width = Math.max(node.clientWidth, 120);
    if (Math.abs(plot.width - width) > 1) plot.setSize({ width, height: plot.height });
  }).observe(node);
}
