// The division of a round's reward, as docs/standard.md ("Rewards") has it, in whole wei.

// The lower one of the two middle values where their number is even.
export function medianLow(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor((sorted.length - 1) / 2)] : 0;
}

// [{address, scores, samples}] → Map of address → {score, amount}.
export function divide(members, mode, reward) {
  const scored = members.map((m) => ({ ...m, score: medianLow(m.scores) }));
  const sent = scored.filter((m) => m.samples !== null);
  let counted = sent.filter((m) => m.score > 0);
  if (!counted.length) counted = sent;
  const weigh = { equal: () => 1n, samples: (m) => BigInt(m.samples), score: (m) => BigInt(m.score) }[mode];
  if (!weigh) throw new Error(`“${mode}” is no reward mode.`);
  let weights = counted.map(weigh);
  let total = weights.reduce((sum, weight) => sum + weight, 0n);
  if (total === 0n) {
    weights = counted.map(() => 1n);
    total = BigInt(counted.length);
  }
  const pot = BigInt(reward);
  const shares = counted.map((m, i) => ({
    address: m.address,
    floor: (pot * weights[i]) / (total || 1n),
    rest: (pot * weights[i]) % (total || 1n),
  }));
  let left = counted.length ? pot - shares.reduce((sum, share) => sum + share.floor, 0n) : 0n;
  const order = [...shares].sort((a, b) => {
    if (a.rest !== b.rest) return a.rest > b.rest ? -1 : 1;
    return a.address.toLowerCase() < b.address.toLowerCase() ? -1 : 1;
  });
  const amounts = new Map(shares.map((share) => [share.address, share.floor]));
  for (const share of order) {
    if (left <= 0n) break;
    amounts.set(share.address, share.floor + 1n);
    left -= 1n;
  }
  return new Map(scored.map((m) => [m.address, { score: m.score, amount: amounts.get(m.address) ?? 0n }]));
}
