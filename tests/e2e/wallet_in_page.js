// Injected by the tests before any script of the page: a wallet that announces itself by EIP-6963
// and speaks EIP-1193. It decides nothing; window.testWallet (the test process) answers.
(() => {
  const listeners = {};
  let chain = "";
  const provider = {
    async request({ method, params = [] }) {
      const answer = await window.testWallet(method, params);
      if (answer.error) throw Object.assign(new Error(answer.error.message), { code: answer.error.code });
      if (method.startsWith("wallet_")) {
        const now = await window.testWallet("eth_chainId", []);
        if (now.result !== chain) (listeners.chainChanged || []).forEach((listener) => listener(now.result));
        chain = now.result;
      }
      return answer.result;
    },
    on(name, listener) {
      (listeners[name] ||= []).push(listener);
    },
    removeListener(name, listener) {
      listeners[name] = (listeners[name] || []).filter((one) => one !== listener);
    },
  };
  const info = {
    uuid: "350670db-19fa-4704-a166-e52e178b59d2",
    name: "Test Wallet",
    icon: "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Crect width='8' height='8'/%3E%3C/svg%3E",
    rdns: "test.wallet",
  };
  const announce = () => {
    const detail = Object.freeze({ info, provider });
    window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
  };
  window.addEventListener("eip6963:requestProvider", announce);
  announce();
})();
