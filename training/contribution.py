"""What each update was worth to the round, as integers. Pure.

A `Value` says of each held-out sample whether the model that a coalition of updates makes (the
empty one: the global model before the round) classifies it right. Everything below is exact
arithmetic on these zeros and ones, so scores do not depend on the machine.

A gain of a few samples on a small held-out set is mostly luck, and luck pays liars as well as
anyone. So a gain counts only when it lies so many standard errors above zero, measured on the
same samples with and without the update: paired, as in McNemar's test (1947).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import factorial
from statistics import median_low
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import DataError
from training.scoring import PPM
from training.specs import EXACT_SHAPLEY

Integers = npt.NDArray[Any]
Value = Callable[[frozenset[int]], Integers]  # one integer for each held-out sample

_SLICE = 1 << 12  # samples whose squares are added up in 64 bits at a time


@dataclass(frozen=True)
class Gain:
    """`total` ÷ `unit` samples more are right with the update than without it; `squares` is the
    sum over the `samples` held-out ones of the square of each one's part, in units²."""

    total: int
    squares: int
    unit: int
    samples: int

    @classmethod
    def of(cls, parts: Integers, unit: int = 1) -> Gain:
        """From each sample's part, in units."""
        wide = parts.astype(np.int64)
        slices = (wide[at : at + _SLICE] for at in range(0, len(wide), _SLICE))
        return cls(int(wide.sum()), sum(int(one @ one) for one in slices), unit, len(wide))

    @property
    def worth(self) -> Fraction:
        return Fraction(self.total, self.unit)

    def beyond_chance(self, errors: float) -> bool:
        """Whether the gain is positive by more than `errors` standard errors of the sum."""
        variance = self.squares - Fraction(self.total**2, self.samples)
        return self.total > 0 and self.total**2 > Fraction(errors) ** 2 * variance


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


def marginal_gain(own: Sequence[Integers], before: Integers) -> list[Gain]:
    """Each update alone against the global model it started from."""
    return [Gain.of(_difference(right, before)) for right in own]


def leave_one_out(count: int, value: Value) -> list[Gain]:
    """v(all) - v(all without i)."""
    everyone = frozenset(range(count))
    together = value(everyone)
    return [Gain.of(_difference(together, value(everyone - {index}))) for index in range(count)]


def shapley(count: int, value: Value) -> list[Gain]:
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
    gains = []
    for index in range(count):
        parts = np.zeros(len(values[0]), dtype=np.int64)  # n! · the share of each sample
        for mask, without in enumerate(values):
            if not mask >> index & 1:
                others = mask.bit_count()
                times = factorial(others) * factorial(count - others - 1)
                parts += times * _difference(values[mask | 1 << index], without)
        gains.append(Gain.of(parts, factorial(count)))
    return gains


def shapley_sampled(
    count: int, value: Value, permutations: int, tolerance: Fraction, rng: np.random.Generator
) -> list[Gain]:
    """Truncated Monte Carlo: Ghorbani and Zou 2019 (arXiv 1904.02868), algorithm 1.

    An order is cut short once its value is within `tolerance` (in samples) of everyone's; those
    left gain nothing in it. `value` should remember what it has computed. The standard error is
    that of the held-out samples, not of the orders.
    """
    together, before = value(frozenset(range(count))), value(frozenset())
    parts = np.zeros((count, len(before)), dtype=np.int64)
    for _ in range(permutations):
        coalition: frozenset[int] = frozenset()
        reached = before
        for index in rng.permutation(count).tolist():
            if abs(int(_difference(together, reached).sum())) <= tolerance:
                break
            coalition |= {index}
            now = value(coalition)
            parts[index] += _difference(now, reached)
            reached = now
    return [Gain.of(each, permutations) for each in parts]


def payable(gains: Sequence[Gain], own: Sequence[int], total: int, errors: float) -> list[int]:
    """Scores in ppm of the `total` held-out samples: worth ÷ total, rounded down, for gains
    `beyond_chance`; nothing for harm or luck.

    When no gain is (a model that has stopped improving), each update gets what its `own` model
    has right beyond half of the best one's instead. That still pays nothing to a model that does
    not work, but it cannot tell a free-rider or a copy from honest work.
    """
    scores = [int(gain.worth * PPM // total) if gain.beyond_chance(errors) else 0 for gain in gains]
    if any(scores) or not own:
        return scores
    best = max(own)
    return [max(0, 2 * correct - best) * PPM // total for correct in own]


def _difference(left: Integers, right: Integers) -> npt.NDArray[np.int64]:
    return left.astype(np.int64) - right.astype(np.int64)


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
