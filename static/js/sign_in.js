// Sign in with a wallet (EIP-4361), and link one in Settings: the same signature for both.
import { NO_WALLET, element, post, walletButton } from "./ask.js";
import { discover } from "./wallet.js";

const section = document.querySelector("[data-wallet-sign-in], [data-wallet-link]");
const linking = section.dataset.walletLink !== undefined;
const list = section.querySelector("[data-wallets]");
const note = section.querySelector("[data-wallet-note]");

function say(text, tone = "") {
  note.textContent = text;
  note.className = tone ? `form-hint ${tone}` : "form-hint";
}

async function sign(wallet) {
  const address = await wallet.connect();
  const { message, chain } = await post(section.dataset.messageUrl, { address });
  if ((await wallet.chainId()) !== chain.id) {
    say(`${wallet.name} is on another network and asks to switch to ${chain.name}.`);
    await wallet.useChain(chain);
  }
  say(`${wallet.name} asks you to sign a message. It sends no transaction and costs no gas.`);
  const signature = await wallet.sign(message, address);
  say("Checking the signature…");
  const next = section.dataset.next || "";
  const answer = await post(section.dataset.signInUrl, { message, signature, next, label: wallet.name });
  if (linking) location.reload();
  else location.assign(answer.next);
}

async function offer() {
  const wallets = await discover();
  say(wallets.length ? "" : linking ? NO_WALLET : "No wallet in this browser. With one, you could sign in without a password.");
  const verb = linking ? "Link" : "Sign in with";
  list.replaceChildren(...wallets.map((wallet) => element("li", {}, walletButton(wallet, verb, async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      await sign(wallet);
    } catch (error) {
      say(error.message || String(error), error.refused ? "" : "bad");
    }
    button.disabled = false;
  }))));
}

offer();
