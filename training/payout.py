"""Who earned what in a round, from what stands on chain alone.

Scores come from the evaluators' `ScoresSubmitted` events, samples from `UpdateSubmitted`, the
round's reward from the contract. So the evaluator that proposes a reward root, the projection
that checks it, the payout page, an agent and a sceptic all compute the same numbers. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

from training.scoring import Share, reward_shares


@dataclass(frozen=True)
class RewardLine:
    """`amount` and `cumulative` in wei of the reward token."""

    address: str
    score: int
    amount: int
    cumulative: int


def round_rewards(
    *,
    mode: str,
    reward: int,
    addresses: Sequence[str],
    score_sheets: Sequence[Sequence[int]],
    samples: Mapping[str, int],
    earned_before: Mapping[str, int],
) -> list[RewardLine]:
    """The reward of every member after a round, in the order of `addresses` (member index).

    `score_sheets` holds one list per evaluator, in that same order; `samples` has the members
    whose update counts. A score of 0 means no reward in every mode, unless all scores are 0:
    then nobody did better than anybody else and those who submitted share equally, because the
    contract credits the round's reward in any case.
    """
    scores = combined_scores(score_sheets, len(addresses))
    shares = round_shares(
        mode=mode, reward=reward, addresses=addresses, scores=scores, samples=samples
    )
    amounts = {address: share.amount for address, share in shares.items()}
    return [
        RewardLine(
            address=address,
            score=score,
            amount=amounts.get(address, 0),
            cumulative=earned_before.get(address, 0) + amounts.get(address, 0),
        )
        for address, score in zip(addresses, scores, strict=True)
    ]


def round_shares(
    *,
    mode: str,
    reward: int,
    addresses: Sequence[str],
    scores: Sequence[int],
    samples: Mapping[str, int],
) -> dict[str, Share]:
    """The division of a round's reward among those who count: an update and a score above 0, or,
    where all scores are 0, everyone with an update."""
    counted = {
        address: score
        for address, score in zip(addresses, scores, strict=True)
        if score > 0 and address in samples
    }
    if not counted:
        counted = {address: 0 for address in addresses if address in samples}
    return reward_shares(scores=counted, mode=mode, samples=samples, round_reward=reward)


def combined_scores(score_sheets: Sequence[Sequence[int]], members: int) -> list[int]:
    """One score per member index: the lower median over the evaluators.

    A minority of evaluators that lies moves a median no further than to an honest score. Sheets
    shorter than the member list count as 0 for those they leave out.
    """
    if not score_sheets:
        return [0] * members
    padded = [[*sheet[:members], *([0] * (members - len(sheet)))] for sheet in score_sheets]
    return [median_low(column) for column in zip(*padded, strict=True)]
