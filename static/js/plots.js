// What the charts share: colours from the style sheet, axes, numbers.
const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);

export function colour(variable) {
  probe.style.color = `var(${variable})`;
  return getComputedStyle(probe).color;
}

export const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
export const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
export const whole = new Intl.NumberFormat("en");
// Money is cut, never rounded up: as the tables do.
export const money = (value) => plain.format(Math.floor(value * 100 + 1e-6) / 100);
export const per = (value, digits = 1) => (value === null || value === undefined ? "–" : value.toFixed(digits));
export const SERIES_COLOURS = 10;

export const roundsAxis = () => ({
  stroke: colour("--ink-3"),
  grid: { show: false },
  ticks: { show: false },
  size: 26,
  font: "11px Inter",
  space: 28,
  incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500],
  values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) && tick > 0 ? String(tick) : "")),
});

export const blocksAxis = () => ({
  ...roundsAxis(),
  space: 60,
  incrs: [1, 10, 100, 1e3, 1e4, 1e5, 1e6].flatMap((power) => [power, 2 * power, 5 * power]),
  values: (_, ticks) => ticks.map((tick) => whole.format(tick)),
});

export const valueAxis = (extra = {}) => ({
  stroke: colour("--ink-3"),
  grid: { stroke: colour("--line"), width: 1 },
  ticks: { show: false },
  size: 44,
  font: "11px Inter",
  space: 34,
  ...extra,
});

export function accuracyRange(_, low, high) {
  if (low === null || high === null) return [0, 100];
  return [Math.max(0, Math.floor((low - 4) / 10) * 10), 100];
}

// Room for the rounds to come, but a long task must not squeeze its first ones to the left.
export function plannedRounds(last, planned) {
  return Math.max(Math.min(planned, Math.max(last * 2, 10)), last, 2);
}

export function element(tag, { text, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  node.append(...children);
  return node;
}
