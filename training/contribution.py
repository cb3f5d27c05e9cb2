"""What each update was worth to the round, as integers. Pure.

A `Value` says how many held-out samples are classified right by the model that a coalition of
updates makes (the empty one: the global model before the round). Counts are integers and every
formula below is exact arithmetic on them, so scores do not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb
from statistics import median_low
from typing import Any

import numpy as np

from training.errors import DataError
from training.scoring import PPM
from training.specs import EXACT_SHAPLEY

Value = Callable[[frozenset[int]], int]


@dataclass(frozen=True)
class Cost:
    """What scoring a round takes beyond checking the updates; `seconds` from measured ones."""

    averages: int
    evaluations: int

    def seconds(self, average: float, evaluation: float) -> float:
        return self.averages * average + self.evaluations * evaluation


def cost(scoring: str, updates: int, params: Mapping[str, Any]) -> Cost:
    """The most that `scoring` of so many updates can take."""
    own = updates  # each update is evaluated alone in any case: that is its accuracy
    coalitions = {
        "accuracy": 0,
        "marginal_gain": 0,
        "leave_one_out": updates + 1,
        "shapley": 2**updates - 1,
        "shapley_sampled": 1 + updates * params.get("permutations", 0),
    }
    if scoring not in coalitions:
        raise DataError(f"scoring {scoring!r}, but known are {', '.join(coalitions)}.")
    before = 0 if scoring in ("accuracy", "leave_one_out") else 1  # the model before the round
    averages = coalitions[scoring]
    return Cost(averages, own + averages + before)


def marginal_gain(own: Sequence[int], before: int) -> list[Fraction]:
    """Each update alone against the global model it started from."""
    return [Fraction(correct - before) for correct in own]


def leave_one_out(count: int, value: Value) -> list[Fraction]:
    """v(all) - v(all without i)."""
    everyone = frozenset(range(count))
    together = value(everyone)
    return [Fraction(together - value(everyone - {index})) for index in range(count)]


def shapley(count: int, value: Value) -> list[Fraction]:
    """Σ over coalitions S without i of |S|! (n - |S| - 1)! ÷ n! · (v(S + i) - v(S)).

    Shapley 1953. Evaluates each of the 2ⁿ coalitions once; DataError for more than 10 updates.
    """
    if count > EXACT_SHAPLEY:
        raise DataError(
            f"exact Shapley of {count} updates, but at most {EXACT_SHAPLEY}. Use shapley_sampled."
        )
    values = [
        value(frozenset(index for index in range(count) if mask >> index & 1))
        for mask in range(1 << count)
    ]
    shares = []
    for index in range(count):
        share = Fraction(0)
        for mask, without in enumerate(values):
            if not mask >> index & 1:
                gain = values[mask | 1 << index] - without
                share += Fraction(gain, count * comb(count - 1, mask.bit_count()))
        shares.append(share)
    return shares


def shapley_sampled(
    count: int, value: Value, permutations: int, tolerance: Fraction, rng: np.random.Generator
) -> list[Fraction]:
    """Truncated Monte Carlo: Ghorbani and Zou 2019 (arXiv 1904.02868), algorithm 1.

    An order is cut short once its value is within `tolerance` (in samples) of everyone's; those
    left gain nothing in it. `value` should remember what it has computed.
    """
    shares = [Fraction(0)] * count
    together, before = value(frozenset(range(count))), value(frozenset())
    for _ in range(permutations):
        coalition: frozenset[int] = frozenset()
        reached = before
        for index in rng.permutation(count).tolist():
            if abs(together - reached) <= tolerance:
                break
            coalition |= {index}
            now = value(coalition)
            shares[index] += now - reached
            reached = now
    return [share / permutations for share in shares]


def payable(worth: Sequence[Fraction], total: int, own: Sequence[int]) -> list[int]:
    """Scores in ppm of the held-out samples: worth ÷ total, nothing for harm, rounded down.

    When no update was worth anything (a model that has stopped improving), each gets its own
    `own` correct samples beyond the worst update's instead. All zero if these are equal too.
    """
    scores = [max(0, int(each * PPM // total)) for each in worth]
    if any(scores) or not own:
        return scores
    worst = min(own)
    return [(correct - worst) * PPM // total for correct in own]


def blockflow(sheets: Mapping[str, Sequence[int]], participants: Sequence[str]) -> list[int]:
    """Scores in ppm from what every judge thinks of every participant (in ppm).

    Mugunthan et al. 2020 (arXiv 2007.03856), section 3: an update's merit is the median of the
    judges' scores relative to the best median; a judge's honesty is (½ - t) ÷ (½ + t) for its
    largest distance t from a median, at least 0, relative to the most honest participant that
    judged. A participant gets the lesser of both. As in the authors' own code, the median of an
    even number is the lower one. Beyond the paper, where everyone judges: a participant that does
    not judge gets its merit, and a judge who is no participant only moves the medians.
    """
    if not sheets:
        raise DataError("no judge, but BlockFLow needs at least one score sheet.")
    for judge, sheet in sheets.items():
        if len(sheet) != len(participants) or not all(0 <= score <= PPM for score in sheet):
            raise DataError(
                f"{judge} judged {list(sheet)[:5]}..., but it takes {len(participants)} scores "
                f"from 0 to {PPM}."
            )
    medians = [median_low(column) for column in zip(*sheets.values(), strict=True)]
    best = max(medians, default=0)
    merit = [Fraction(median, best) if best else Fraction(0) for median in medians]
    half = Fraction(PPM, 2)
    honesty: dict[str, Fraction] = {}
    for judge, sheet in sheets.items():
        gaps = (abs(score - median) for score, median in zip(sheet, medians, strict=True))
        furthest = max(gaps, default=0)
        honesty[judge.lower()] = max(Fraction(0), (half - furthest) / (half + furthest))
    judging = [honesty[one.lower()] for one in participants if one.lower() in honesty]
    most = max(judging, default=Fraction(1)) or Fraction(1)
    return [
        int(min(share, honesty.get(one.lower(), most) / most) * PPM)
        for one, share in zip(participants, merit, strict=True)
    ]
