"""Scores by contribution: textbook games, their axioms, and what they cost."""

from fractions import Fraction
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.contribution import (
    Cost,
    Gain,
    Integers,
    cost,
    leave_one_out,
    marginal_gain,
    payable,
    shapley,
    shapley_sampled,
)
from training.errors import DataError, SpecError
from training.specs import SCORINGS, TaskConfig


def one(value: int) -> Integers:
    """A game with a number for a value: one "sample" that has it all."""
    return np.array([value])


def worths(gains: list[Gain]) -> list[Fraction]:
    return [gain.worth for gain in gains]


def gloves(coalition: frozenset[int]) -> Integers:
    """A left glove (0) and two right ones (1, 2): a pair is worth 60."""
    return one(60 if 0 in coalition and coalition & {1, 2} else 0)


def table(count: int, values: list[int]) -> dict[frozenset[int], Integers]:
    return {
        frozenset(i for i in range(count) if mask >> i & 1): one(values[mask])
        for mask in range(1 << count)
    }


games = st.integers(1, 5).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.integers(0, 400), min_size=1 << n, max_size=1 << n))
)


def test_shapley_of_the_glove_game() -> None:
    assert worths(shapley(3, gloves)) == [40, 10, 10]
    assert worths(leave_one_out(3, gloves)) == [60, 0, 0]
    assert worths(marginal_gain([one(70), one(50), one(20)], one(50))) == [20, 0, -30]


@given(games)
def test_shapley_is_the_mean_over_all_orders(game: tuple[int, list[int]]) -> None:
    count, values = game
    value = table(count, values)
    by_order = [Fraction(0)] * count
    orders = list(permutations(range(count)))
    for order in orders:
        for at, index in enumerate(order):
            gain = value[frozenset(order[: at + 1])] - value[frozenset(order[:at])]
            by_order[index] += Fraction(int(gain[0]), len(orders))
    shares = worths(shapley(count, value.__getitem__))
    assert shares == by_order
    assert sum(shares) == values[-1] - values[0]


@settings(deadline=None)
@given(games, st.integers(0, 2**32))
def test_sampled_shapley_shares_out_everything(game: tuple[int, list[int]], seed: int) -> None:
    count, values = game
    value = table(count, values).__getitem__
    rng = np.random.default_rng(seed)
    shares = worths(shapley_sampled(count, value, 5, Fraction(-1), rng))  # never cut short
    assert sum(shares) == values[-1] - values[0]
    again = shapley_sampled(count, value, 5, Fraction(-1), np.random.default_rng(seed))
    assert shares == worths(again)


def test_sampled_shapley_comes_near_and_stops_early() -> None:
    asked: list[frozenset[int]] = []

    def value(coalition: frozenset[int]) -> Integers:
        asked.append(coalition)
        return gloves(coalition)

    shares = worths(shapley_sampled(3, value, 2000, Fraction(0), np.random.default_rng(1)))
    assert [float(share) for share in shares] == pytest.approx([40, 10, 10], abs=2)
    for before, after in pairwise(asked[2:]):  # a pair is already worth as much as all three
        assert after != frozenset({0, 1, 2}) or before == frozenset({1, 2})
    flat = shapley_sampled(3, lambda _: one(7), 10, Fraction(0), np.random.default_rng(1))
    assert worths(flat) == [0, 0, 0]


def test_exact_shapley_is_for_ten() -> None:
    assert worths(shapley(10, lambda s: one(len(s)))) == [1] * 10
    with pytest.raises(DataError, match="Use shapley_sampled"):
        shapley(11, lambda s: one(len(s)))
    with pytest.raises(SpecError, match="at most 10 participants"):
        TaskConfig(scoring="shapley", participants=11)
    TaskConfig(scoring="shapley_sampled", participants=11)


def gain(better: int, worse: int, samples: int) -> Gain:
    """So many samples turned right, so many turned wrong, the rest as before."""
    parts = np.zeros(samples, np.int8)
    parts[:better], parts[better : better + worse] = 1, -1
    return Gain.of(parts)


def test_a_gain_counts_beyond_its_standard_errors_by_hand() -> None:
    """9 better and 2 worse of 400: 7, with variance 11 - 49⁄400, so 2.1 standard errors. 8 and 2
    are 6, 1.9 of them. Without any that got worse, 4 of 400 are 4 ÷ √(4 - 16⁄400) = 2.01."""
    assert gain(9, 2, 400).beyond_chance(2.0)
    assert not gain(8, 2, 400).beyond_chance(2.0)
    assert gain(8, 2, 400).beyond_chance(1.5)
    assert gain(4, 0, 400).beyond_chance(2.0)
    assert not gain(3, 0, 400).beyond_chance(2.0)
    assert not gain(5, 5, 400).beyond_chance(0.0)
    assert not gain(2, 9, 400).beyond_chance(0.0)
    assert gain(400, 0, 400).beyond_chance(10.0)  # all of them: no doubt is left


def test_squares_add_up_beyond_64_bits() -> None:
    parts = np.full(1 << 20, 3_628_800)  # 10! of exact Shapley on a million samples
    assert Gain.of(parts).squares == (1 << 20) * 3_628_800**2 > 2**63


def test_luck_is_seldom_paid() -> None:
    """Coin tosses on 360 samples: of 2,000 worthless updates about 2.3 % pass two errors."""
    rng = np.random.default_rng(5)
    tosses = rng.choice([-1, 0, 1], size=(2000, 360), p=[0.05, 0.9, 0.05])
    gains = [Gain.of(parts) for parts in tosses]
    passed = [gain for gain in gains if gain.beyond_chance(2.0)]
    assert 10 < len(passed) < 90
    assert sum(gain.worth > 0 for gain in gains) > 800  # all of whom were paid before


def test_payable_never_pays_harm_or_luck_and_falls_back_to_accuracy() -> None:
    """9 of 400 samples are 22,500 ppm; a third is 833 (a unit of 3); harm is nothing."""
    thirds = Gain(total=1, squares=1, unit=3, samples=400)
    harm = gain(0, 20, 400)
    assert payable([gain(9, 0, 400), thirds, harm], [0, 0, 0], 400, 0.0) == [22_500, 833, 0]
    assert payable([gain(9, 0, 400), thirds, harm], [0, 0, 0], 400, 2.0) == [22_500, 0, 0]
    # Nobody gained: what each has right beyond half of the best one's 390, doubled.
    luck = [gain(1, 0, 400), gain(0, 1, 400), gain(0, 0, 400)]
    assert payable(luck, [390, 380, 150], 400, 2.0) == [975_000, 925_000, 0]
    assert payable(luck[1:], [300, 300], 400, 0.0) == [750_000, 750_000]
    assert payable(luck[:2], [0, 0], 400, 2.0) == [0, 0]
    assert payable([], [], 400, 2.0) == []


@pytest.mark.parametrize(
    ("scoring", "averages", "evaluations"),
    [
        ("accuracy", 0, 8),
        ("marginal_gain", 0, 9),
        ("leave_one_out", 9, 17),
        ("shapley", 255, 264),
        ("shapley_sampled", 161, 170),
    ],
)
def test_cost_of_eight_updates(scoring: str, averages: int, evaluations: int) -> None:
    params = SCORINGS[scoring].check_params("scoring_params", {})
    estimate = cost(scoring, 8, params)
    assert estimate == Cost(averages, evaluations)
    assert estimate.seconds(2.0, 0.5) == 2 * averages + evaluations / 2


def test_every_scoring_has_a_cost() -> None:
    for name, choice in SCORINGS.items():
        assert cost(name, 3, choice.check_params("p", {})).evaluations >= 3
    with pytest.raises(DataError, match="scoring 'vibes'"):
        cost("vibes", 3, {})


def test_parameters_of_a_scoring_are_in_the_configuration_only_where_there_are_any() -> None:
    assert "scoring_params" not in TaskConfig().to_dict()
    sampled = TaskConfig(scoring="shapley_sampled", scoring_params={"permutations": 7})
    assert sampled.to_dict()["scoring_params"] == {"permutations": 7, "tolerance": 0.002}
    assert TaskConfig.from_dict(sampled.to_dict()) == sampled
    strict = TaskConfig(scoring="leave_one_out", scoring_params={"errors": 4})
    assert strict.to_dict()["scoring_params"] == {"errors": 4.0}
    assert TaskConfig.from_dict(strict.to_dict()) == strict
    assert "scoring_params" not in TaskConfig(scoring="leave_one_out").to_dict()
    with pytest.raises(SpecError) as caught:
        TaskConfig(scoring="accuracy", scoring_params={"permutations": 7})
    assert caught.value.field == "scoring_params.permutations"
