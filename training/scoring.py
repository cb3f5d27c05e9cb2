"""Scores as integers, and rewards that add up to the wei.

Pure: no Django, Celery, web3 or TensorFlow. The payout page and the agent recompute with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.errors import DataError

PPM = 1_000_000


@dataclass(frozen=True)
class Share:
    """One participant's part of a round's reward: R × weight ÷ total, in wei.

    `floor` and `remainder` are quotient and rest of that division; `rank` is the place among the
    remainders, from 1; `extra` is 1 where the rank won one of the wei left over.
    """

    weight: int
    total: int
    floor: int
    remainder: int
    rank: int
    extra: int

    @property
    def amount(self) -> int:
        return self.floor + self.extra


def ppm(count: int, total: int) -> int:
    """count ÷ total in parts per million, halves up, in integers; DataError for total below 1."""
    if total < 1 or not 0 <= count <= total:
        raise DataError(f"{count} of {total}, but a share needs 0 ≤ count ≤ total and total ≥ 1.")
    return (2 * PPM * count + total) // (2 * total)


def reward_weights(
    scores: Mapping[str, int], mode: str, samples: Mapping[str, int]
) -> dict[str, int]:
    """What each accepted participant (the keys of `scores`) weighs in a reward mode."""
    if mode == "equal":
        return dict.fromkeys(scores, 1)
    if mode == "samples":
        return {address: samples[address] for address in scores}
    if mode == "score":
        return dict(scores)
    raise DataError(f"reward mode {mode!r}, but known are equal, samples, score.")


def reward_shares(
    scores: Mapping[str, int], mode: str, samples: Mapping[str, int], round_reward: int
) -> dict[str, Share]:
    """How a round's reward is divided, with every number of the calculation.

    `scores` has one non-negative integer for every accepted update (nobody else earns);
    `samples` one for each of them. Largest remainder (Hamilton): everyone gets the floor of the
    exact share, and the wei left over go one each to the largest remainders, ties to the lower
    address. When every weight is zero nobody did measurably better than the others, and the
    accepted share equally. Without any accepted update the result is empty and nothing is paid.
    """
    if round_reward < 0:
        raise DataError(f"round reward {round_reward} wei, but it can't be negative.")
    weights = reward_weights(scores, mode, samples)
    for address, weight in weights.items():
        if weight < 0:
            raise DataError(f"{address} weighs {weight}, but the least is 0.")
    if not weights:
        return {}
    total = sum(weights.values())
    if total == 0:
        weights = dict.fromkeys(weights, 1)
        total = len(weights)
    shares = {address: divmod(round_reward * weight, total) for address, weight in weights.items()}
    left = round_reward - sum(floor for floor, _ in shares.values())
    by_remainder = sorted(shares, key=lambda address: (-shares[address][1], address.lower()))
    ranks = {address: rank for rank, address in enumerate(by_remainder, 1)}
    return {
        address: Share(
            weight=weights[address],
            total=total,
            floor=floor,
            remainder=remainder,
            rank=ranks[address],
            extra=int(ranks[address] <= left),
        )
        for address, (floor, remainder) in shares.items()
    }


def rewards(
    scores: Mapping[str, int], mode: str, samples: Mapping[str, int], round_reward: int
) -> dict[str, int]:
    """Wei for each accepted participant; the sum is exactly `round_reward`. See reward_shares."""
    shares = reward_shares(scores, mode, samples, round_reward)
    return {address: share.amount for address, share in shares.items()}


def round_reward(pool: int, rounds: int, round: int) -> int:
    """Wei for round 1 ... rounds: pool ÷ rounds, and the last round takes what is left over."""
    if not 1 <= round <= rounds:
        raise DataError(f"round {round}, but the task has rounds 1 to {rounds}.")
    each = pool // rounds
    return each if round < rounds else pool - each * (rounds - 1)


def add_rewards(earned: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Cumulative earnings after one more round, in wei."""
    return {
        address: earned.get(address, 0) + more.get(address, 0)
        for address in sorted({*earned, *more}, key=str.lower)
    }


def pack_scores(scores: Mapping[str, int], members: Sequence[str]) -> bytes:
    """Big-endian uint32 per member index, 0 for members without an accepted update."""
    strangers = scores.keys() - set(members)
    if strangers:
        raise DataError(f"scores of {sorted(strangers)}, who are not members of the task.")
    for address, score in scores.items():
        if not 0 <= score < 2**32:
            raise DataError(f"{address} scored {score}, but the contract keeps 0 to {2**32 - 1}.")
    return b"".join(scores.get(member, 0).to_bytes(4, "big") for member in members)


def unpack_scores(data: bytes, members: Sequence[str]) -> dict[str, int]:
    """The inverse of `pack_scores`, with a number for every member."""
    if len(data) != 4 * len(members):
        raise DataError(f"{len(data)} bytes of scores, but {len(members)} members take 4 each.")
    return {
        member: int.from_bytes(data[4 * index : 4 * index + 4], "big")
        for index, member in enumerate(members)
    }
