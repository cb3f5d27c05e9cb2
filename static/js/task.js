// The task page: puts what the socket brings in its place, and says how far it has come.
import { Charts } from "./charts.js";
import { ask, knows } from "./live.js";
import { markRows } from "./marks.js";
import { fill } from "./swaps.js";

const page = document.getElementById("task");
const charts = new Charts(JSON.parse(document.getElementById("series").textContent));
let known = Number(page.dataset.seq); // every change up to this number is on the page

knows(() => known);
markRows(document.getElementById("part-rounds"));

function show(message) {
  for (const [id, html] of Object.entries(message.html)) fill(document.getElementById(id), html);
  if (message.series) draw(message.series).catch(() => setTimeout(() => ask({ type: "since", seq: 0 }), 2000));
}

// The socket brings the newest rounds; a page that was away for longer fetches those in between.
async function draw(series) {
  const from = charts.firstOpenRound();
  if (series.points.length && series.points[0].round > Math.max(from, 1)) {
    const answer = await fetch(`${page.dataset.series}?since_round=${from}`);
    if (!answer.ok) throw new Error(`series ${answer.status}`);
    series = await answer.json();
  }
  charts.merge(series);
}

document.addEventListener("live:message", (event) => {
  const message = event.detail;
  if (message.type === "hello" && document.hidden) ask({ type: "hidden" });
  if (message.type !== "changed") return;
  if (message.html) show(message);
  if (message.seq === undefined || document.hidden) return;
  if (message.html && message.first <= known + 1) known = Math.max(known, message.seq);
  else if (message.seq > known) ask({ type: "since", seq: known });
});

// Nobody looks at a page in the background: it is told the numbers, and gets the rest on return.
document.addEventListener("visibilitychange", () =>
  ask(document.hidden ? { type: "hidden" } : { type: "since", seq: known }),
);
document.addEventListener("live:look-again", () => ask({ type: "look" }));
// An action answered with the parts themselves.
document.addEventListener("htmx:afterRequest", (event) => {
  const seq = event.detail.xhr?.getResponseHeader("X-Live-Seq");
  if (seq && event.detail.requestConfig?.verb === "post") known = Math.max(known, Number(seq));
});
