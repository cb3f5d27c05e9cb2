// The charts of a task, over the same rounds. Colours come from the style sheet, so a change of
// theme redraws them; the round under the pointer, or chosen by arrow keys, is marked in all.
import { Heat } from "./heat.js";
import { mark, markedRound, onMark, steppable } from "./marks.js";
import { accuracyRange, blocksAxis, colour, compact, element, money, per, plain, plannedRounds, roundsAxis, SERIES_COLOURS,
  valueAxis, whole } from "./plots.js";
import { Small } from "./small.js";
import { table } from "./tables.js";

const uPlot = window.uPlot;
const LINES = ["accuracy", "gas", "tokens"];
const EMPTY = {
  accuracy: "The curve begins when the first round is final.",
  gas: "Bars appear with the first updates.",
  tokens: "Lines begin when the first round has paid rewards.",
  participants: "A curve for each participant begins when the first round is final.",
  contribution: "The first row of shares appears when a round has paid rewards.",
};

export class Charts {
  constructor(series) {
    this.points = new Map();
    this.mode = "earned";
    this.plots = {};
    this.marking = false;
    this.nodes = Object.fromEntries(
      [...document.querySelectorAll("[data-plot]")].map((node) => [node.dataset.plot, node]),
    );
    this.take(series);
    this.small = new Small(this.nodes.participants, this);
    this.heat = new Heat(this.nodes.contribution, this);
    this.draw();
    this.steps = LINES.concat("participants", "contribution").map((name) =>
      steppable(this.nodes[name], {
        rounds: () => this.list().map((point) => point.round),
        tell: (round) => this.telling(name, round),
      }),
    );
    onMark(() => this.show());
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
    document.addEventListener("table:toggled", () => this.tables());
  }

  take(series) {
    this.planned = series.rounds_planned;
    this.created = series.created_block;
    this.participants = series.participants;
    this.members = series.member_count;
    series.points.forEach((point) => this.points.set(point.round, point));
  }

  firstOpenRound() {
    const open = this.list().find((point) => !point.final || point.seconds === null);
    return open ? open.round : Math.max(0, ...this.points.keys());
  }

  merge(series) {
    const others = series.participants.map((p) => p.address).join();
    const same = others === this.participants.map((p) => p.address).join();
    this.take(series);
    if (!same || Object.keys(this.plots).length < LINES.length) this.redraw();
    else {
      LINES.forEach((name) => this.plots[name].setData(this.data(name)));
      this.small.update();
      this.heat.draw();
      this.show();
    }
    this.steps.forEach((step) => step());
    this.tables();
  }

  list() {
    return [...this.points.values()].sort((a, b) => a.round - b.round);
  }

  last() {
    return Math.max(1, ...this.points.keys());
  }

  data(name) {
    const list = this.list();
    const rounds = list.map((p) => p.round);
    if (name === "accuracy") return [rounds, list.map((p) => p.accuracy), list.map((p) => p.loss)];
    if (name === "gas") {
      const top = list.map((p) => p.gas_submit + p.gas_score + p.gas_aggregate);
      return [rounds, top, list.map((p) => p.gas_submit)];
    }
    const mined = this.mined();
    const values = this.participants.map((_, i) => [0, ...mined.map((p) => p[this.mode][i] ?? null)]);
    if (this.mode === "wallet") values.forEach((line) => (line[0] = null));
    return [[this.created ?? 0, ...mined.map((p) => p.block)], ...values];
  }

  // Rounds that a block has finalised: balances go by blocks, everything else by rounds.
  mined() {
    return this.list().filter((p) => p.block !== null);
  }

  // Where a round stands on a chart's own axis; null: not there yet.
  at(plot, round) {
    return plot === this.plots.tokens ? (this.points.get(round)?.block ?? null) : round;
  }

  roundAt(plot, index) {
    return plot === this.plots.tokens ? (this.mined()[index - 1]?.round ?? null) : plot.data[0][index];
  }

  // Room for the blocks to come, as the other charts have for the rounds to come.
  blocksRange() {
    const mined = this.mined();
    const first = this.created ?? 0;
    const last = mined.at(-1)?.block ?? first + 1;
    return [first, first + ((last - first) * plannedRounds(this.last(), this.planned)) / Math.max(mined.length, 1)];
  }

  options(name) {
    const node = this.nodes[name];
    return {
      width: Math.max(node.clientWidth, 120),
      height: node.classList.contains("tall") ? 220 : 160,
      padding: [8, 14, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      hooks: { setCursor: [(u) => this.hover(u)] },
      ...this[`${name}Options`](),
    };
  }

  x(name) {
    const planned = plannedRounds(this.last(), this.planned);
    const range = name === "gas" ? [0.4, planned + 0.6] : [1, planned];
    return { time: false, range: () => range };
  }

  accuracyOptions() {
    const dots = (size, fill) => ({ show: (u) => u.data[0].length < 3, size, fill });
    const values = (_, ticks) => ticks.map((t) => plain.format(t));
    return {
      scales: {
        x: this.x("accuracy"),
        y: { range: accuracyRange },
        loss: { range: (_, low, high) => [0, (high || 1) * 1.1] },
      },
      series: [
        {},
        { stroke: colour("--accuracy"), width: 2.5, spanGaps: true, points: dots(7, colour("--accuracy")) },
        { stroke: colour("--ink-3"), width: 1.5, dash: [4, 3], scale: "loss", spanGaps: true, points: dots(5) },
      ],
      axes: [
        roundsAxis(),
        valueAxis({ values }),
        valueAxis({ scale: "loss", side: 1, size: 40, grid: { show: false }, values }),
      ],
    };
  }

  gasOptions() {
    const paths = uPlot.paths.bars({ size: [0.6, 26, 2], radius: 0.12 });
    const bar = (fill, stroke) => ({ fill: colour(fill), stroke: colour(stroke), width: 0, paths, points: { show: false } });
    return {
      scales: { x: this.x("gas"), y: { range: (_, low, high) => [0, (high || 100_000) * 1.08] } },
      series: [{}, bar("--chain", "--chain"), bar("--gas", "--surface")],
      axes: [roundsAxis(), valueAxis({ values: (_, ticks) => ticks.map((t) => compact.format(t)) })],
    };
  }

  tokensOptions() {
    return {
      scales: { x: { time: false, range: () => this.blocksRange() } },
      series: [
        {},
        ...this.participants.map((_, i) => ({
          stroke: colour(`--series-${(i % SERIES_COLOURS) + 1}`),
          width: 2,
          spanGaps: true,
          points: { show: false },
        })),
      ],
      axes: [blocksAxis(), valueAxis({ values: (_, ticks) => ticks.map((t) => compact.format(t)) })],
    };
  }

  filled(name) {
    const list = this.list();
    if (name === "accuracy") return list.some((p) => p.accuracy !== null);
    if (name === "gas") return list.some((p) => p.gas_submit > 0);
    if (name === "participants") return list.some((p) => p.held_out.some((value) => value !== null));
    return list.some((p) => p.final);
  }

  draw() {
    for (const [name, node] of Object.entries(this.nodes)) {
      const note = node.querySelector(".empty-chart");
      const filled = this.filled(name);
      note.hidden = filled;
      if (!filled) note.textContent = EMPTY[name];
      else if (LINES.includes(name)) this.plots[name] = new uPlot(this.options(name), this.data(name), node);
    }
    this.small.draw(this.filled("participants"));
    this.heat.draw(this.filled("contribution"));
    this.show();
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
    this.small.resize();
    this.heat.draw();
  }

  hover(u) {
    if (this.marking) return;
    const at = u.cursor.idx;
    mark(at === null || at === undefined || u.cursor.left < 0 ? null : this.roundAt(u, at));
  }

  // Puts the marked round's line in every chart, and its numbers below each.
  show() {
    this.marking = true;
    for (const plot of [...Object.values(this.plots), ...this.small.plots]) {
      const round = markedRound();
      const at = round === null ? null : this.at(plot, round);
      plot.setCursor({ left: at === null ? -10 : plot.valToPos(at, "x"), top: at === null ? -10 : 10 }, false, false);
    }
    this.marking = false;
    LINES.concat("participants", "contribution").forEach((name) => this.readout(name));
    this.small.show();
    this.heat.show();
  }

  shown(name) {
    const point = this.points.get(markedRound());
    if (point) return point;
    const last = (test) => this.list().findLast(test);
    if (name === "gas") return last((p) => p.gas_submit > 0);
    return last((p) => p.final);
  }

  // [label, value, colour] of a round, as each chart tells it.
  numbers(name, point) {
    if (name === "accuracy") {
      const took = point.seconds === null ? [] : [["took", `${plain.format(point.seconds)} s`]];
      const spent = point.epsilon === null ? [] : [["privacy spent, ε", per(point.epsilon, 2)]];
      return [["accuracy", `${per(point.accuracy)} %`], ["loss", per(point.loss, 3)], ...spent, ...took];
    }
    if (name === "gas") {
      const each = point.submits ? Math.round(point.gas_submit / point.submits) : 0;
      return [
        ["submit", `${point.submits} × ${compact.format(each)}`],
        ...(point.gas_score ? [["score", compact.format(point.gas_score)]] : []),
        ...(point.gas_aggregate ? [["aggregate", compact.format(point.gas_aggregate)]] : []),
      ];
    }
    const tell = {
      tokens: (i) => (point[this.mode][i] === null ? "–" : money(point[this.mode][i])),
      participants: (i) => `${per(point.held_out[i])} %`,
      contribution: (i) => `${per(point.share[i] === null ? null : 100 * point.share[i])} %`,
    }[name];
    return this.participants.map((who, i) => [who.name, tell(i), (i % SERIES_COLOURS) + 1]);
  }

  telling(name, round) {
    const point = this.points.get(round);
    const unit = name === "tokens" ? " FLT" : "";
    return `Round ${round}: ${this.numbers(name, point).map(([label, value]) => `${label} ${value}${unit}`).join(", ")}`;
  }

  readout(name) {
    const node = document.querySelector(`[data-readout="${name}"]`);
    const point = this.shown(name);
    node.replaceChildren();
    if (!point) return;
    const block = name === "tokens" && point.block !== null ? `, block ${whole.format(point.block)}` : "";
    node.append(element("span", { text: `Round ${point.round}${block}` }));
    for (const [label, value, key] of this.numbers(name, point)) {
      const item = element("span", {}, `${label} `, element("b", { text: value }));
      if (key && name === "tokens") item.prepend(element("i", { class: `key s${key}` }));
      node.append(item);
    }
  }

  tables() {
    document.querySelectorAll("[data-table-of]:not([hidden])").forEach((node) =>
      node.replaceChildren(table(node.dataset.tableOf, this)),
    );
  }
}
