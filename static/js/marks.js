// The marked round: one for the whole page. A pointer over any chart, cell or row of the rounds
// marks it everywhere; so do the arrow keys on a chart, which then tells its numbers as a slider.
const followers = [];
let marked = null;

export function onMark(follower) {
  followers.push(follower);
  return marked;
}

export function markedRound() {
  return marked;
}

export function mark(round) {
  const next = round || null;
  if (next === marked) return;
  marked = next;
  followers.forEach((follower) => follower(marked));
}

// `rounds()` lists the rounds there are, `tell(round)` says one in words.
export function steppable(node, { rounds, tell }) {
  const update = () => {
    const all = rounds();
    if (!all.length) return;
    const at = marked && all.includes(marked) ? marked : all.at(-1);
    node.setAttribute("role", "slider");
    node.tabIndex = 0;
    node.setAttribute("aria-valuemin", all[0]);
    node.setAttribute("aria-valuemax", all.at(-1));
    node.setAttribute("aria-valuenow", at);
    node.setAttribute("aria-valuetext", tell(at));
  };
  node.addEventListener("keydown", (event) => {
    const all = rounds();
    if (!all.length) return;
    const at = all.indexOf(marked);
    const from = at === -1 ? all.length - 1 : at;
    const to = {
      ArrowLeft: at === -1 ? from : from - 1,
      ArrowDown: at === -1 ? from : from - 1,
      ArrowRight: from + 1,
      ArrowUp: from + 1,
      PageDown: from - 10,
      PageUp: from + 10,
      Home: 0,
      End: all.length - 1,
    }[event.key];
    if (event.key === "Escape") mark(null);
    else if (to === undefined) return;
    else mark(all[Math.max(0, Math.min(all.length - 1, to))]);
    event.preventDefault();
  });
  node.addEventListener("blur", () => mark(null));
  onMark(update);
  update();
  return update;
}

// The rows of the rounds: found anew after each change of the table.
export function markRows(table) {
  const show = () =>
    table.querySelectorAll("tr[data-round]").forEach((row) =>
      row.classList.toggle("marked", Number(row.dataset.round) === marked),
    );
  const over = (event) => {
    const row = event.target.closest("tr[data-round]");
    if (row) mark(Number(row.dataset.round));
  };
  table.addEventListener("pointerover", over);
  table.addEventListener("focusin", over);
  table.addEventListener("pointerleave", () => mark(null));
  table.addEventListener("focusout", () => mark(null));
  document.addEventListener("part:filled", show);
  onMark(show);
}
