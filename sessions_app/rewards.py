"""Who earned what in a round, and the Merkle tree over it.

Both halves know no Django, so that an agent computes them too: `training.payout` splits a round's
reward, `chain.merkle` makes the tree.
"""

from __future__ import annotations

from chain.merkle import earners_tree as tree
from chain.merkle import reward_proof, reward_root
from training.payout import RewardLine, combined_scores, round_rewards, round_shares

__all__ = [
    "RewardLine",
    "combined_scores",
    "reward_proof",
    "reward_root",
    "round_rewards",
    "round_shares",
    "tree",
]
