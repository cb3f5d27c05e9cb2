// One small chart for each participant: held-out accuracy of its updates beside the global model's.
import { markedRound } from "./marks.js";
import { accuracyRange, colour, element, per, plannedRounds } from "./plots.js";

const uPlot = window.uPlot;
const HEIGHT = 72;

export class Small {
  constructor(node, charts) {
    this.node = node;
    this.charts = charts;
    this.plots = [];
    this.values = [];
  }

  data(i) {
    const list = this.charts.list();
    return [list.map((p) => p.round), list.map((p) => p.accuracy), list.map((p) => p.held_out[i] ?? null)];
  }

  draw(filled) {
    this.plots.forEach((plot) => plot.destroy());
    this.node.querySelectorAll(".small-chart").forEach((box) => box.remove());
    this.plots = [];
    this.values = [];
    if (!filled) return;
    // One scale for all, or their curves could not be compared.
    const all = this.charts.list().flatMap((p) => [p.accuracy, ...p.held_out]).filter((v) => v !== null);
    this.y = accuracyRange(null, Math.min(...all), Math.max(...all));
    this.charts.participants.forEach((who, i) => {
      const value = element("b", { class: "accuracy" });
      const box = element("div", { class: "small-chart" }, element("span", { class: "small-name", text: who.name }), value);
      this.node.append(box);
      this.values.push(value);
      this.plots.push(new uPlot(this.options(box), this.data(i), box));
    });
  }

  options(box) {
    const planned = plannedRounds(this.charts.last(), this.charts.planned);
    return {
      width: Math.max(box.clientWidth - 2, 80),
      height: HEIGHT,
      padding: [4, 4, 4, 4],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 5 } },
      hooks: { setCursor: [(u) => this.charts.hover(u)] },
      scales: { x: { time: false, range: () => [1, planned] }, y: { range: () => this.y } },
      series: [
        {},
        { stroke: colour("--line-strong"), width: 1, dash: [3, 3], spanGaps: true, points: { show: false } },
        { stroke: colour("--accuracy"), width: 2, spanGaps: true, points: { show: (u) => u.data[0].length < 3, size: 5 } },
      ],
      axes: [{ show: false }, { show: false }],
    };
  }

  update() {
    if (this.plots.length !== this.charts.participants.length) return this.draw(this.charts.filled("participants"));
    const all = this.charts.list().flatMap((p) => [p.accuracy, ...p.held_out]).filter((v) => v !== null);
    this.y = accuracyRange(null, Math.min(...all), Math.max(...all));
    this.plots.forEach((plot, i) => plot.setData(this.data(i)));
  }

  resize() {
    this.plots.forEach((plot) => {
      const width = Math.max(plot.root.parentNode.clientWidth - 2, 80);
      if (Math.abs(plot.width - width) > 1) plot.setSize({ width, height: HEIGHT });
    });
  }

  show() {
    const point = this.charts.points.get(markedRound()) || this.charts.shown("participants");
    this.values.forEach((node, i) => (node.textContent = point ? `${per(point.held_out[i])} %` : "–"));
  }
}

