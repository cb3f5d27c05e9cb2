// The same numbers as a table, for each chart.
import { element, money, per, whole } from "./plots.js";

const flt = (value) => (value === null ? "–" : money(value));

// chart → [head of a column, cell of a point]; of a participant: one column each.
const COLUMNS = {
  accuracy: (charts) => [
    ["Accuracy, %", (p) => per(p.accuracy)],
    ["Loss", (p) => per(p.loss, 3)],
    ...(charts.list().some((p) => p.epsilon !== null) ? [["Privacy spent, ε", (p) => per(p.epsilon, 2)]] : []),
    ["Time, s", (p) => per(p.seconds, 2)],
  ],
  gas: () => [
    ["Submit", (p) => whole.format(p.gas_submit)],
    ["Score", (p) => whole.format(p.gas_score)],
    ["Aggregate", (p) => whole.format(p.gas_aggregate)],
    ["Together", (p) => whole.format(p.gas_submit + p.gas_score + p.gas_aggregate)],
  ],
  tokens: (charts) => [
    ["Block", (p) => (p.block === null ? "–" : whole.format(p.block))],
    ...charts.participants.map((who, i) => [`${who.name}, FLT`, (p) => flt(p[charts.mode][i])]),
  ],
  participants: (charts) => charts.participants.map((who, i) => [`${who.name}, %`, (p) => per(p.held_out[i])]),
  contribution: (charts) =>
    charts.participants.map((who, i) => [
      `${who.name}, %`,
      (p) => per(p.share[i] === null ? null : 100 * p.share[i]),
    ]),
};

export function table(name, charts) {
  const columns = COLUMNS[name](charts);
  const head = element("tr", {}, element("th", { scope: "col", text: "Round" }),
    ...columns.map(([text]) => element("th", { scope: "col", class: "num", text })));
  const rows = charts.list().map((point) =>
    element("tr", {}, element("th", { scope: "row", text: String(point.round) }),
      ...columns.map(([, cell]) => element("td", { class: "num", text: cell(point) }))),
  );
  if (!rows.length) rows.push(element("tr", {}, element("td", { colspan: String(columns.length + 1), text: "No round yet." })));
  return element("table", { class: "t dense" }, element("thead", {}, head), element("tbody", {}, ...rows));
}
