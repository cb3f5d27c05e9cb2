// The page's one socket. It reconnects by itself after any close, and the badge tells the truth:
// live, reconnecting, or stale since the moment something was last heard.
const SILENT_AFTER = 1800; // ms without a beat (the server beats every second)
const WATCH = 200; // ms between two looks at the clock
const FIRST_WAIT = 250; // ms
const LONGEST_WAIT = 3000; // ms
const SIGN_IN_AGAIN = 4401;
const GONE = 4404;
const RELOADED = "live-reloaded"; // in the tab's storage: when, in ms
const RELOAD_AGAIN = 30000; // ms

const WORDS = { live: "Live", backfill: "Catching up", starting: "Starting" };
const FRESH = "This page follows the chain: what changes there changes here, without a reload.";
const number = new Intl.NumberFormat("en");

let badge;
let chain = { block: -1, head: -1, state: "starting", label: "" };
let heardAt = Date.now();
let socket = null;
let known = null; // says which number of its task the page shows; a chain's page has none

// The page of a task says how far it has come, so that a new connection brings the rest.
export function knows(reader) {
  known = reader;
}

// False when nobody is there to be asked: a reconnect brings everything in any case.
export function ask(question) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(question));
  return true;
}

// A page that the server shows and a socket that it refuses would reload each other for ever.
function mayReload() {
  const last = Number(sessionStorage.getItem(RELOADED));
  sessionStorage.setItem(RELOADED, Date.now());
  return Date.now() - last > RELOAD_AGAIN;
}

function clockTime(ms) {
  return new Date(ms).toLocaleTimeString("en-GB");
}

function show(state) {
  if (!badge) return;
  const text = badge.querySelector(".text");
  let words;
  let more; // what the small badge has no room for
  if (state === "live") {
    const trouble = !(chain.state in WORDS);
    badge.dataset.state = trouble ? "trouble" : "live";
    const what = WORDS[chain.state] || chain.label || chain.state;
    words = chain.block >= 0 ? `${what} · block ${number.format(chain.block)}` : what;
    more = trouble ? [words, chain.message].filter(Boolean).join(". ") : chain.message || FRESH;
  } else {
    badge.dataset.state = state;
    words = state === "stale" ? `Stale since ${clockTime(heardAt)}` : "Reconnecting";
    more = `Nothing was heard from the server since ${clockTime(heardAt)}. What you see is from then; it catches up by itself.`;
  }
  if (text.textContent !== words) text.textContent = words;
  const told = document.getElementById("live-told");
  if (told.textContent !== more) told.textContent = more;
}

export function connect(path) {
  badge = document.getElementById("live-badge");
  if (badge) chain = { ...chain, block: Number(badge.dataset.block), label: badge.dataset.label };
  const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
  let wait = FIRST_WAIT;
  let live = false;
  let retry = 0;

  function lost() {
    live = false;
    show("stale");
  }

  function open() {
    clearTimeout(retry);
    const mine = new WebSocket(known ? `${url}?since=${known()}` : url);
    socket = mine;
    mine.onmessage = (event) => {
      if (mine !== socket) return;
      heardAt = Date.now();
      live = true;
      wait = FIRST_WAIT;
      const message = JSON.parse(event.data);
      const before = chain.block;
      for (const key of ["block", "head", "state", "label", "message"]) {
        if (message[key] !== undefined) chain[key] = message[key];
      }
      show("live");
      document.dispatchEvent(new CustomEvent("live:message", { detail: message }));
      if (message.type === "hello" || chain.block !== before) {
        document.dispatchEvent(new CustomEvent("live:chain", { detail: { ...chain } }));
      }
    };
    mine.onclose = (event) => {
      if (mine !== socket) return;
      if (event.code === SIGN_IN_AGAIN || event.code === GONE) {
        if (mayReload()) {
          location.reload(); // the server then shows the sign-in page, or that the task is gone
          return;
        }
      }
      lost();
      again();
    };
  }

  function again() {
    socket = null;
    clearTimeout(retry);
    retry = setTimeout(open, wait * (0.75 + Math.random() / 2));
    wait = Math.min(wait * 2, LONGEST_WAIT);
  }

  // A page in the background, or on a machine that slept, looks at the clock seldom. What has
  // arrived meanwhile is read before the next look, so silence counts from when it woke.
  let lookedAt = Date.now();
  setInterval(() => {
    const now = Date.now();
    const slept = now - lookedAt > SILENT_AFTER;
    lookedAt = now;
    if (slept || !live || now - heardAt <= SILENT_AFTER) return;
    lost();
    // The connection looks open but nobody speaks: end it and start over.
    const dead = socket;
    again();
    dead?.close();
  }, WATCH);
  addEventListener("online", () => { if (!live) { wait = FIRST_WAIT; again(); } });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !live) { wait = FIRST_WAIT; again(); }
  });
  show("reconnecting");
  open();
}
