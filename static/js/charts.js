// Three charts over the same rounds. Colours come from the style sheet, so a change of theme
// redraws them; the round under the pointer is marked in all.
const uPlot = window.uPlot;
const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);

function colour(variable) {
  probe.style.color = `var(${variable})`;
  return getComputedStyle(probe).color;
}

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
// Money is cut, never rounded up: as the tables do.
const money = (value) => plain.format(Math.floor(value * 100 + 1e-6) / 100);
const SYNC = "rounds";
const SERIES_COLOURS = 10;

const roundsAxis = () => ({
  stroke: colour("--ink-3"),
  grid: { show: false },
  ticks: { show: false },
  size: 26,
  font: "11px Inter",
  space: 28,
  incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500],
  values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) && tick > 0 ? String(tick) : "")),
});

const valueAxis = (extra = {}) => ({
  stroke: colour("--ink-3"),
  grid: { stroke: colour("--line"), width: 1 },
  ticks: { show: false },
  size: 44,
  font: "11px Inter",
  space: 34,
  ...extra,
});

export class Charts {
  constructor(series) {
    this.planned = series.rounds_planned;
    this.participants = series.participants;
    this.points = new Map(series.points.map((point) => [point.round, point]));
    this.mode = "earned";
    this.plots = {};
    this.index = null;
    this.nodes = Object.fromEntries(
      [...document.querySelectorAll("[data-plot]")].map((node) => [node.dataset.plot, node]),
    );
    this.draw();
    document.addEventListener("theme:changed", () => requestAnimationFrame(() => this.redraw()));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    document.fonts?.ready.then(() => this.redraw());
    const resize = new ResizeObserver(() => this.resize());
    Object.values(this.nodes).forEach((node) => resize.observe(node));
    document.querySelectorAll("[data-mode]").forEach((button) =>
      button.addEventListener("click", () => {
        this.mode = button.dataset.mode;
        document.querySelectorAll("[data-mode]").forEach((other) =>
          other.setAttribute("aria-pressed", String(other === button)),
        );
        this.redraw();
      }),
    );
  }

  firstOpenRound() {
    const open = this.list().find((point) => !point.final || point.seconds === null);
    return open ? open.round : Math.max(0, ...this.points.keys());
  }

  merge(series) {
    const fewer = series.participants.length !== this.participants.length;
    this.planned = series.rounds_planned;
    this.participants = series.participants;
    series.points.forEach((point) => this.points.set(point.round, point));
    if (fewer || !this.plots.accuracy) this.redraw();
    else Object.keys(this.plots).forEach((name) => {
      this.plots[name].setData(this.data(name));
      this.readout(name);
    });
  }

  list() {
    return [...this.points.values()].sort((a, b) => a.round - b.round);
  }

  data(name) {
    const list = this.list();
    const rounds = list.map((p) => p.round);
    if (name === "accuracy") return [rounds, list.map((p) => p.accuracy), list.map((p) => p.loss)];
    if (name === "gas") {
      const top = list.map((p) => p.gas_submit + p.gas_score + p.gas_aggregate);
      return [rounds, top, list.map((p) => p.gas_submit)];
    }
    const values = this.participants.map((_, i) => [0, ...list.map((p) => p[this.mode][i] ?? null)]);
    if (this.mode === "wallet") values.forEach((line) => (line[0] = null));
    return [[0, ...rounds], ...values];
  }

  options(name) {
    const node = this.nodes[name];
    const height = node.classList.contains("tall") ? 220 : 160;
    const base = {
      width: Math.max(node.clientWidth, 120),
      height,
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: SYNC, setSeries: false, scales: ["x", null] },
        y: false,
        drag: { x: false, y: false },
        points: { size: 7 },
      },
      hooks: { setCursor: [(u) => this.hover(name, u)] },
      scales: { x: { time: false, range: () => this.range(name) } },
    };
    if (name === "accuracy") {
      return {
        ...base,
        scales: {
          ...base.scales,
          y: { range: (_, low, high) => this.accuracyRange(low, high) },
          loss: { range: (_, low, high) => [0, (high || 1) * 1.1] },
        },
        series: [
          {},
          { stroke: colour("--accuracy"), width: 2.5, spanGaps: true, points: { show: (u) => u.data[0].length < 3, size: 7, fill: colour("--accuracy") } },
          { stroke: colour("--ink-3"), width: 1.5, dash: [4, 3], scale: "loss", spanGaps: true, points: { show: (u) => u.data[0].length < 3, size: 5 } },
        ],
        axes: [
          roundsAxis(),
          valueAxis({ values: (_, ticks) => ticks.map((t) => plain.format(t)) }),
          valueAxis({ scale: "loss", side: 1, size: 40, grid: { show: false }, values: (_, ticks) => ticks.map((t) => plain.format(t)) }),
        ],
      };
    }
    if (name === "gas") {
      const paths = uPlot.paths.bars({ size: [0.6, 26, 2], radius: 0.12 });
      return {
        ...base,
        scales: { ...base.scales, y: { range: (_, low, high) => [0, (high || 100_000) * 1.08] } },
        series: [
          {},
          { fill: colour("--chain"), stroke: colour("--chain"), width: 0, paths, points: { show: false } },
          { fill: colour("--gas"), stroke: colour("--surface"), width: 0, paths, points: { show: false } },
        ],
        axes: [roundsAxis(), valueAxis({ values: (_, ticks) => ticks.map((t) => compact.format(t)) })],
      };
    }
    return {
      ...base,
      series: [
        {},
        ...this.participants.map((_, i) => ({
          stroke: colour(`--series-${(i % SERIES_COLOURS) + 1}`),
          width: 2,
          spanGaps: true,
          points: { show: false },
        })),
      ],
      axes: [roundsAxis(), valueAxis({ values: (_, ticks) => ticks.map((t) => compact.format(t)) })],
    };
  }

  range(name) {
    const last = Math.max(1, ...this.points.keys());
    // Room for the rounds to come, but a long task must not squeeze its first ones to the left.
    const planned = Math.max(Math.min(this.planned, Math.max(last * 2, 10)), last, 2);
    if (name === "gas") return [0.4, planned + 0.6];
    return name === "tokens" ? [0, planned] : [1, planned];
  }

  accuracyRange(low, high) {
    if (low === null || high === null) return [0, 100];
    const floor = Math.max(0, Math.floor((low - 4) / 10) * 10);
    return [floor, 100];
  }

  draw() {
    for (const [name, node] of Object.entries(this.nodes)) {
      const note = node.querySelector(".empty-chart");
      const list = this.list();
      const filled = {
        accuracy: list.some((p) => p.accuracy !== null),
        gas: list.some((p) => p.gas_submit > 0),
        tokens: list.some((p) => p.final),
      }[name];
      if (!filled) {
        note.textContent = {
          accuracy: "The curve begins when the first round is final.",
          gas: "Bars appear with the first updates.",
          tokens: "Lines begin when the first round has paid rewards.",
        }[name];
        note.hidden = false;
        continue;
      }
      note.hidden = true;
      this.plots[name] = new uPlot(this.options(name), this.data(name), node);
      this.readout(name);
    }
  }

  redraw() {
    Object.values(this.plots).forEach((plot) => plot.destroy());
    this.plots = {};
    this.draw();
  }

  resize() {
    for (const [name, plot] of Object.entries(this.plots)) {
      const width = Math.max(this.nodes[name].clientWidth, 120);
      if (Math.abs(plot.width - width) > 1) plot.setSize({ width, height: plot.height });
    }
  }

  hover(name, u) {
    const at = u.cursor.idx;
    const round = at === null || at === undefined || u.cursor.left < 0 ? null : u.data[0][at];
    this.index = round || null;
    this.readout(name);
  }

  // The numbers of the marked round, or of the last one, below each chart.
  readout(name) {
    const node = document.querySelector(`[data-readout="${name}"]`);
    const list = this.list();
    let point = this.index === null ? null : this.points.get(this.index);
    if (!point) {
      const last = (test) => [...list].reverse().find(test);
      point = name === "gas" ? last((p) => p.gas_submit > 0) : last((p) => p.final);
    }
    node.replaceChildren();
    if (!point) return;
    node.append(part(`Round ${point.round}`));
    if (name === "accuracy") {
      node.append(part("accuracy", point.accuracy === null ? "–" : `${point.accuracy.toFixed(1)} %`));
      node.append(part("loss", point.loss === null ? "–" : point.loss.toFixed(3)));
      if (point.seconds !== null) node.append(part("took", `${plain.format(point.seconds)} s`));
    } else if (name === "gas") {
      const each = point.submits ? Math.round(point.gas_submit / point.submits) : 0;
      node.append(part("submit", `${point.submits} × ${compact.format(each)}`));
      if (point.gas_score) node.append(part("score", compact.format(point.gas_score)));
      if (point.gas_aggregate) node.append(part("aggregate", compact.format(point.gas_aggregate)));
    } else {
      this.participants.forEach((who, i) => {
        const value = point[this.mode][i];
        const item = part(who.name, value === null ? "–" : money(value));
        const key = document.createElement("i");
        key.className = `key s${(i % SERIES_COLOURS) + 1}`;
        item.prepend(key);
        node.append(item);
      });
    }
  }
}

function part(label, value) {
  const item = document.createElement("span");
  item.append(value === undefined ? label : `${label} `);
  if (value !== undefined) {
    const bold = document.createElement("b");
    bold.textContent = value;
    item.append(bold);
  }
  return item;
}
