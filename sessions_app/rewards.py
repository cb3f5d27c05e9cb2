"""Who earned what in a round, and the Merkle tree over it.

Both halves know no Django, so that an agent computes them too: `training.payout` splits a round's
reward, `chain.merkle` makes the tree.
"""

from __future__ import annotations

from collections.abc import Iterable

from chain.merkle import earners_tree as tree
from chain.merkle import reward_proof, reward_root
from training.payout import RewardLine, combined_scores, round_rewards, round_shares

__all__ = [
    "NOBODY",
    "RewardLine",
    "by_index",
    "combined_scores",
    "reward_proof",
    "reward_root",
    "round_rewards",
    "round_shares",
    "tree",
]

NOBODY = "0x" + "0" * 40


def by_index(members: Iterable[tuple[int, str]], least: int = 0) -> list[str]:
    """Addresses in the order of the member index, from (index, address), at least `least` of them.

    NOBODY stands where an index was given back by leaving and not taken again: score sheets have
    an entry for it all the same.
    """
    known = dict(members)
    return [known.get(index, NOBODY) for index in range(max([least, *(i + 1 for i in known)]))]
