// Who contributed what, round by round: one row a participant, one column a round, the deeper the
// green the larger its share of the round's reward.
import { mark, markedRound } from "./marks.js";
import { element } from "./plots.js";

const SVG = "http://www.w3.org/2000/svg";
const ROW = 24;
const TOP = 18;
const SMALLEST = 14;
const LARGEST = 44;

function shape(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

export class Heat {
  constructor(node, charts) {
    this.node = node;
    this.charts = charts;
    this.shownFor = "";
    node.addEventListener("pointermove", (event) => mark(this.roundAt(event)));
    node.addEventListener("pointerleave", () => mark(null));
  }

  draw(filled = this.charts.filled("contribution")) {
    const old = this.node.querySelector(".heat");
    if (!filled) return old?.remove();
    const points = this.charts.list().filter((p) => p.final);
    const people = this.charts.participants;
    const names = element("div", { class: "heat-names" }, ...people.map((p) => element("span", { text: p.name })));
    const room = this.node.clientWidth - 130;
    const cell = Math.max(SMALLEST, Math.min(LARGEST, Math.floor(room / Math.max(points.length, 1))));
    const width = cell * points.length + 2;
    const height = TOP + ROW * people.length + 2;
    const svg = shape("svg", { width, height, class: "heat-cells", "aria-hidden": "true" });
    const most = Math.max(...points.flatMap((p) => p.share).map((v) => v || 0), 0.0001);
    const every = Math.ceil(26 / cell);
    points.forEach((point, x) => {
      if (x % every === 0) {
        svg.append(shape("text", { x: x * cell + cell / 2, y: 12, "text-anchor": "middle" }, point.round));
      }
      point.share.forEach((share, y) => {
        const at = { x: x * cell + 1, y: TOP + y * ROW + 1, width: cell - 2, height: ROW - 2, rx: 3 };
        const strength = share === null ? 0 : share / most;
        svg.append(shape("rect", { ...at, class: "ground" }));
        if (strength) svg.append(shape("rect", { ...at, class: "cell", "fill-opacity": (0.08 + 0.92 * strength).toFixed(3) }));
      });
    });
    this.column = shape("rect", { class: "column", y: TOP - 0.5, width: cell, height: ROW * people.length + 1, rx: 3 });
    svg.append(this.column);
    Object.assign(this, { cell, svg, rounds: points.map((p) => p.round) });
    const scroll = element("div", { class: "heat-scroll" }, svg);
    const fresh = element("div", { class: "heat" }, names, scroll);
    const before = old?.querySelector(".heat-scroll");
    const atEnd = !before || before.scrollLeft + before.clientWidth >= before.scrollWidth - 4;
    const left = before?.scrollLeft || 0;
    if (old) old.replaceWith(fresh);
    else this.node.append(fresh);
    scroll.scrollLeft = atEnd ? scroll.scrollWidth : left;
    this.show();
  }

  roundAt(event) {
    if (!this.svg?.isConnected) return null;
    const box = this.svg.getBoundingClientRect();
    return this.rounds[Math.floor((event.clientX - box.left) / this.cell)] ?? null;
  }

  show() {
    if (!this.column) return;
    const at = this.rounds.indexOf(markedRound());
    this.column.setAttribute("x", at * this.cell + 0.5);
    this.column.setAttribute("visibility", at === -1 ? "hidden" : "visible");
  }
}
