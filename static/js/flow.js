// One call at a time, from the wallet to the ledger: choose a wallet, be on the right chain, read
// what will be signed, sign, and follow the transaction until the console has written it down.
import { NO_WALLET, element, get, post, walletButton } from "./ask.js";
import { forget, keep, pending } from "./pending.js";
import { discover } from "./wallet.js";

const POLL = 700; // ms between looks at a sent transaction
const LOST_AFTER = 60_000; // ms; a node that does not know it by then has dropped it
const brief = (hash) => `${hash.slice(0, 6)}…${hash.slice(-4)}`;

export class Flow {
  // `root` has the addresses of our endpoints in its data; `show(flow)` draws the actions of the
  // page once an account on the right chain is at hand.
  constructor(root, show) {
    this.root = root;
    this.box = root.querySelector("[data-flow]");
    this.urls = root.dataset;
    this.chain = JSON.parse(document.getElementById("wallet-chain").textContent);
    this.show = show;
    this.wallet = null;
    this.account = "";
    this.signing = false;
    this.draw(element("p", { class: "muted", text: "Looking for wallets in this browser…" }));
  }

  draw(...children) {
    this.status = element("p", { class: "form-hint", role: "status" });
    this.box.replaceChildren(...children, this.status);
  }

  say(text, tone = "") {
    this.status.textContent = text;
    this.status.className = tone ? `form-hint ${tone}` : "form-hint";
  }

  // Errors of the wallet and of our server are sentences already.
  async guarded(work) {
    try {
      return await work();
    } catch (error) {
      this.say(error.message || String(error), error.refused ? "" : "bad");
      return undefined;
    }
  }

  async start({ quietly = true } = {}) {
    const wallets = await discover();
    if (!wallets.length) {
      this.draw(element("p", { class: "muted", text: NO_WALLET }));
      return;
    }
    for (const wallet of wallets) {
      const account = quietly ? await wallet.known().catch(() => "") : "";
      if (account) {
        this.use(wallet, account);
        return;
      }
    }
    const buttons = wallets.map((wallet) =>
      element("li", {}, walletButton(wallet, "Connect", () =>
        this.guarded(async () => this.use(wallet, await wallet.connect())))),
    );
    this.draw(element("ul", { class: "wallets" }, ...buttons));
  }

  async use(wallet, account) {
    if (this.wallet !== wallet) wallet.onChange(() => { if (!this.signing) this.start(); });
    this.wallet = wallet;
    this.account = account;
    await this.guarded(async () => {
      const id = await wallet.chainId();
      if (id === this.chain.id) await this.show(this);
      else this.wrongChain(id);
    });
  }

  wrongChain(id) {
    const note = element(
      "div",
      { class: "banner wait" },
      element("strong", { text: "Wrong network" }),
      element("span", { text: `${this.wallet.name} is on chain ${id}; this console is on ${this.chain.name} (chain ${this.chain.id}).` }),
    );
    const button = element("button", {
      type: "button",
      class: "btn btn-primary",
      text: `Switch to ${this.chain.name}`,
      on: () => this.guarded(async () => {
        await this.wallet.useChain(this.chain);
        await this.use(this.wallet, this.account);
      }),
    });
    this.draw(note, button);
  }

  standing(task) {
    return post(this.urls.standingUrl, { task, address: this.account });
  }

  // Show the decoded call; the wallet is asked only after the person has read it.
  async review(action, task, extra = {}) {
    await this.guarded(async () => {
      this.say("Building the call and trying it on the chain…");
      const call = await post(this.urls.prepareUrl, { action, task, address: this.account, ...extra });
      const shown = element("div", { class: "stack" });
      shown.innerHTML = call.html; // rendered and escaped by our server
      const back = element("button", { type: "button", class: "btn", text: "Back", on: () => this.show(this) });
      const again = () => this.review(action, task, extra);
      const sign = call.refused
        ? element("button", { type: "button", class: "btn", text: "Check again", on: again })
        : element("button", {
            type: "button",
            class: "btn btn-primary",
            text: `Sign in ${this.wallet.name}`,
            on: () => this.send(call, action, task),
          });
      this.draw(shown, element("div", { class: "actions" }, sign, back));
      shown.querySelector("h3")?.setAttribute("tabindex", "-1");
      shown.querySelector("h3")?.focus({ preventScroll: true });
    });
  }

  async send(call, action, task) {
    this.signing = true;
    await this.guarded(async () => {
      this.say(`Waiting for ${this.wallet.name}…`);
      const id = await this.wallet.chainId();
      if (id !== call.chain_id) {
        this.wrongChain(id);
        return;
      }
      const hash = await this.wallet.send(call.transaction);
      const entry = { hash, title: call.title, task, action, at: Date.now() };
      keep(entry);
      await this.follow(entry);
    });
    this.signing = false;
  }

  // Take up what was sent before a reload. True when there was something.
  async resume(fits) {
    const waiting = pending().filter(fits);
    for (const entry of waiting) await this.follow(entry);
    return waiting.length > 0;
  }

  async follow(entry) {
    const { lines, tell } = progress(entry);
    this.draw(element("h3", { text: entry.title }), lines);
    const url = this.urls.transactionUrl.replace("/0x0/", `/${entry.hash}/`);
    tell("sent", "ok", `Sent as ${brief(entry.hash)}`);
    for (;;) {
      let state = null;
      try {
        state = await get(url);
      } catch (error) {
        this.say(`${error.message || "The server is away."} The transaction goes on without it.`);
      }
      if (state && state.state !== "unknown") this.say("");
      if (state?.state === "projected") return this.arrived(entry, state, tell);
      if (state?.state === "mined") {
        tell("mined", "ok", `Mined in block ${state.block.toLocaleString("en")}`);
        tell("written", "busy", "Being written into the console…");
      } else if (state?.state === "unknown" && Date.now() - entry.at > LOST_AFTER) {
        return this.lost(entry);
      }
      await nextLook();
    }
  }

  arrived(entry, state, tell) {
    forget(entry.hash);
    const block = state.block.toLocaleString("en");
    tell("mined", state.succeeded ? "ok" : "bad", state.succeeded ? `Mined in block ${block}` : `Refused in block ${block}: ${state.error}`);
    tell("written", "ok", "Written into the console");
    const link = element("a", { class: "btn", href: state.url, text: "Open the transaction" });
    const on = element("button", { type: "button", class: "btn btn-primary", text: "Continue", on: () => this.start() });
    this.box.append(element("div", { class: "actions" }, on, link));
    document.dispatchEvent(new CustomEvent("flow:done", { detail: { ...entry, succeeded: state.succeeded } }));
  }

  lost(entry) {
    const go = () => {
      forget(entry.hash);
      this.start();
    };
    this.say("The node does not know this transaction. The wallet may have dropped or replaced it; look there.", "bad");
    this.box.append(element("button", { type: "button", class: "btn", text: "Forget it", on: go }));
  }
}

function progress() {
  const lines = element("ol", { class: "steps-list" });
  const rows = {};
  const tell = (name, state, text) => {
    if (!rows[name]) {
      const detail = element("span");
      rows[name] = element("li", {}, element("span", { class: "mark", "aria-hidden": "true" }), detail);
      lines.append(rows[name]);
    }
    rows[name].dataset.state = state;
    rows[name].lastChild.textContent = text;
    rows[name].firstChild.textContent = { ok: "✓", bad: "✕" }[state] || "";
  };
  tell("sent", "busy", "Being sent…");
  tell("mined", "busy", "Waiting to be mined…");
  return { lines, tell };
}

// A block may bring it: look at once then, otherwise after POLL.
function nextLook() {
  return new Promise((done) => {
    const go = () => {
      clearTimeout(timer);
      document.removeEventListener("live:chain", go);
      done();
    };
    const timer = setTimeout(go, POLL);
    document.addEventListener("live:chain", go);
  });
}
