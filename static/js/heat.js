// Who contributed what, round by round: one row a participant, one column a round, the deeper the
// green the larger its share of the round's reward. Shares often lie close together, so the scale
// runs from the smallest to the largest one shown, and the legend says which those are.
import { mark, markedRound } from "./marks.js";
import { element, per } from "./plots.js";

const SVG = "http://www.w3.org/2000/svg";
const ROW = 24;
const TOP = 18;
const SMALLEST = 6; // px a round: on a phone some thirty fit beside the names
const LARGEST = 44;
const PALEST = 0.15; // the smallest share is still told from no share at all
const percent = (share) => `${per(100 * share)} %`;

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
    this.legend = document.querySelector("[data-heat-scale]");
    node.addEventListener("pointermove", (event) => mark(this.roundAt(event)));
    node.addEventListener("pointerleave", () => mark(null));
  }

  draw(filled = this.charts.filled("contribution")) {
    const old = this.node.querySelector(".heat");
    if (!filled) {
      this.legend.replaceChildren();
      return old?.remove();
    }
    const points = this.charts.list().filter((p) => p.final);
    const people = this.charts.participants;
    const names = element("div", { class: "heat-names" }, ...people.map((p) => element("span", { text: p.name })));
    const room = this.node.clientWidth - 130;
    const cell = Math.max(SMALLEST, Math.min(LARGEST, Math.floor(room / Math.max(points.length, 1))));
    const width = cell * points.length + 2;
    const height = TOP + ROW * people.length + 2;
    const svg = shape("svg", { width, height, class: "heat-cells", "aria-hidden": "true" });
    const shares = points.flatMap((p) => p.share).filter((share) => share !== null);
    const [least, most] = [Math.min(...shares), Math.max(...shares)];
    const gap = cell < 12 ? 1 : 2;
    const every = Math.ceil(26 / cell);
    points.forEach((point, x) => {
      if (x % every === 0) {
        svg.append(shape("text", { x: x * cell + cell / 2, y: 12, "text-anchor": "middle" }, point.round));
      }
      point.share.forEach((share, y) => {
        const at = { x: x * cell + gap / 2, y: TOP + y * ROW + 1, width: cell - gap, height: ROW - 2, rx: cell < 12 ? 1 : 3 };
        svg.append(shape("rect", { ...at, class: "ground" }));
        if (share === null) return;
        const strength = most > least ? (share - least) / (most - least) : 1;
        svg.append(shape("rect", { ...at, class: "cell", "fill-opacity": (PALEST + (1 - PALEST) * strength).toFixed(3) }));
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
    this.tellScale(shares.length, least, most);
    this.show();
  }

  tellScale(any, least, most) {
    const bar = element("i", { class: "key shares" });
    if (!any) this.legend.replaceChildren();
    else if (least === most) this.legend.replaceChildren(`all ${percent(most)}`);
    else this.legend.replaceChildren(percent(least), bar, percent(most));
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
