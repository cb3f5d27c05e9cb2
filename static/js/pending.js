// Transactions that were sent from this tab and are not in the console's ledger yet. They survive
// a reload; the ledger tells when they have arrived.
const KEY = "bcfl.pending";

export function pending() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) || "[]");
  } catch {
    return [];
  }
}

function write(list) {
  sessionStorage.setItem(KEY, JSON.stringify(list));
}

// {hash, title, task, action, at}
export function keep(entry) {
  write([...pending().filter((one) => one.hash !== entry.hash), entry]);
}

export function forget(hash) {
  write(pending().filter((one) => one.hash !== hash));
}
