// The task page: fetches the parts that changed, and the rounds that the charts do not have yet.
import { Charts } from "./charts.js";

const page = document.getElementById("task");
const ALL = ["head", "now", "kpis", "charts", "participants", "feed", "rounds"];
const charts = new Charts(JSON.parse(document.getElementById("series").textContent));

let known = Number(page.dataset.seq); // every change up to this number is on the page
let seen = known; // the highest number heard of
let wanted = new Set();
let busy = false;

// An event moves the rounds with the feed, money moves the claim button with the figures.
const ALONG = { feed: "rounds", kpis: "head" };

function want(parts) {
  parts.forEach((part) => {
    wanted.add(part);
    if (ALONG[part]) wanted.add(ALONG[part]);
  });
  fetchParts();
}

async function fetchParts() {
  if (busy || !wanted.size) return;
  busy = true;
  const names = [...wanted];
  wanted = new Set();
  try {
    const work = [swapParts(names)];
    if (names.includes("charts")) work.push(fetchSeries());
    await Promise.all(work);
  } catch {
    names.forEach((name) => wanted.add(name)); // the next message or reconnect fetches them
    setTimeout(fetchParts, 2000);
  }
  busy = false;
  fetchParts();
}

function swapParts(names) {
  return new Promise((resolve, reject) => {
    const url = `${page.dataset.parts}?names=${names.join(",")}`;
    const done = (event) => {
      if (event.detail.pathInfo.requestPath !== url) return;
      document.removeEventListener("htmx:afterRequest", done);
      if (!event.detail.successful) return reject(new Error("parts"));
      known = Math.max(known, Number(event.detail.xhr.getResponseHeader("X-Live-Seq") || known));
      resolve();
    };
    document.addEventListener("htmx:afterRequest", done);
    window.htmx.ajax("GET", url, { source: document.body, swap: "none" });
  });
}

async function fetchSeries() {
  const answer = await fetch(`${page.dataset.series}?since_round=${charts.firstOpenRound()}`);
  if (!answer.ok) throw new Error(`series ${answer.status}`);
  charts.merge(await answer.json());
}

document.addEventListener("live:message", (event) => {
  const message = event.detail;
  if (message.seq === undefined) return;
  if (message.type === "changed") {
    const gap = message.first > seen + 1;
    seen = Math.max(seen, message.seq);
    if (gap) want(ALL);
    else if (message.seq > known) want(message.parts);
  } else {
    // hello after a reconnect, or the periodic check: did anything pass us by?
    const missed = message.seq > seen || (message.type === "hello" && message.seq > known);
    seen = Math.max(seen, message.seq);
    if (missed) want(ALL);
  }
});
document.addEventListener("live:look-again", () => want(["now"]));
// An action answered with the parts themselves; the charts may have moved with them.
document.addEventListener("htmx:afterRequest", (event) => {
  const seq = event.detail.xhr?.getResponseHeader("X-Live-Seq");
  if (seq && event.detail.requestConfig?.verb === "post") known = Math.max(known, Number(seq));
});
