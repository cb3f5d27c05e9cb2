// Browser wallets: found by EIP-6963 (window.ethereum where none announces itself), spoken to by
// EIP-1193. Every refusal becomes a WalletError whose text is for people.
const ANNOUNCE_WAIT = 250; // ms; wallets answer the request at once
const REFUSED = 4001; // EIP-1193: the person said no
const UNKNOWN_CHAIN = 4902; // EIP-3085/3326: the wallet does not know the chain
const BUSY = -32002; // a question is open in the wallet already

export class WalletError extends Error {
  constructor(message, { refused = false, code = 0 } = {}) {
    super(message);
    this.refused = refused;
    this.code = code;
  }
}

// A loopback address is the browser's own machine: only a page that came from there can offer it.
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;
export const reachable = (rpc, host = location.hostname) => !LOOPBACK.test(new URL(rpc).hostname) || LOOPBACK.test(host);

const found = new Map(); // uuid → Wallet
addEventListener("eip6963:announceProvider", (event) => {
  const { info, provider } = event.detail || {};
  if (!info?.uuid || !provider || found.has(info.uuid)) return;
  found.set(info.uuid, new Wallet({ name: info.name, icon: safeIcon(info.icon), provider }));
});

// Data URIs of images only: the page's policy would refuse anything else anyway.
function safeIcon(icon) {
  return typeof icon === "string" && icon.startsWith("data:image/") ? icon : "";
}

export async function discover() {
  dispatchEvent(new Event("eip6963:requestProvider"));
  if (!found.size) await new Promise((done) => setTimeout(done, ANNOUNCE_WAIT));
  if (!found.size && window.ethereum) {
    found.set("injected", new Wallet({ name: "Browser wallet", icon: "", provider: window.ethereum }));
  }
  return [...found.values()];
}

export class Wallet {
  constructor({ name, icon, provider }) {
    this.name = name;
    this.icon = icon;
    this.provider = provider;
  }

  async ask(method, params = []) {
    try {
      return await this.provider.request({ method, params });
    } catch (error) {
      throw this.explained(error);
    }
  }

  explained(error) {
    const code = error?.code ?? error?.data?.originalError?.code ?? 0;
    if (code === REFUSED) {
      return new WalletError(`You refused it in ${this.name}. Nothing was sent.`, { refused: true, code });
    }
    if (code === BUSY) {
      return new WalletError(`${this.name} has a question open already. Answer it there.`, { code });
    }
    return new WalletError(`${this.name} says: ${error?.message || error}`, { code });
  }

  // The chosen account, asking the person where the wallet has not been allowed to tell yet.
  async connect() {
    const [account] = await this.ask("eth_requestAccounts");
    if (!account) throw new WalletError(`${this.name} has no account. Unlock it and try again.`);
    return account;
  }

  // The account it tells without asking; empty when it must be asked.
  async known() {
    const [account] = await this.ask("eth_accounts");
    return account || "";
  }

  async chainId() {
    return Number(await this.ask("eth_chainId"));
  }

  // Switch to `chain` ({id, name, rpc}), adding it where the wallet does not know it.
  async useChain(chain) {
    const chainId = `0x${chain.id.toString(16)}`;
    try {
      await this.ask("wallet_switchEthereumChain", [{ chainId }]);
    } catch (error) {
      if (error.code !== UNKNOWN_CHAIN) throw error;
      if (!chain.rpc) {
        throw new WalletError(
          `${this.name} does not know chain ${chain.id}. Add it there with the address of a node, then try again.`,
        );
      }
      if (!reachable(chain.rpc)) {
        throw new WalletError(
          `${this.name} does not know chain ${chain.id}. This console knows its node as ${chain.rpc}, which from your ` +
            "computer is your computer itself. Ask who runs the console for the node's public address " +
            "(PUBLIC_RPC_URL), add the chain in the wallet, then try again.",
        );
      }
      await this.ask("wallet_addEthereumChain", [
        {
          chainId,
          chainName: chain.name,
          rpcUrls: [chain.rpc],
          nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
        },
      ]);
    }
    const now = await this.chainId();
    if (now !== chain.id) {
      throw new WalletError(`${this.name} is still on chain ${now}; this console is on chain ${chain.id}.`);
    }
  }

  // EIP-191 over a text; the wallet shows it as it is.
  sign(message, account) {
    const data = [...new TextEncoder().encode(message)].map((byte) => byte.toString(16).padStart(2, "0"));
    return this.ask("personal_sign", [`0x${data.join("")}`, account]);
  }

  // EIP-712.
  signTyped(typed, account) {
    return this.ask("eth_signTypedData_v4", [account, JSON.stringify(typed)]);
  }

  // The hash of what was sent.
  send(transaction) {
    return this.ask("eth_sendTransaction", [transaction]);
  }

  // Another account or another chain was chosen in the wallet.
  onChange(listener) {
    this.provider.on?.("accountsChanged", listener);
    this.provider.on?.("chainChanged", listener);
  }
}
