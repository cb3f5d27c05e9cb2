"""Scores by contribution: textbook games, their axioms, and what they cost."""

from fractions import Fraction
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.contribution import (
    Cost,
    cost,
    leave_one_out,
    marginal_gain,
    payable,
    shapley,
    shapley_sampled,
)
from training.errors import DataError, SpecError
from training.specs import SCORINGS, TaskConfig


def gloves(coalition: frozenset[int]) -> int:
    """A left glove (0) and two right ones (1, 2): a pair is worth 60."""
    return 60 if 0 in coalition and coalition & {1, 2} else 0


def table(count: int, values: list[int]) -> dict[frozenset[int], int]:
    return {
        frozenset(i for i in range(count) if mask >> i & 1): values[mask]
        for mask in range(1 << count)
    }


games = st.integers(1, 5).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.integers(0, 400), min_size=1 << n, max_size=1 << n))
)


def test_shapley_of_the_glove_game() -> None:
    assert shapley(3, gloves) == [40, 10, 10]
    assert leave_one_out(3, gloves) == [60, 0, 0]
    assert marginal_gain([70, 50, 20], 50) == [20, 0, -30]


@given(games)
def test_shapley_is_the_mean_over_all_orders(game: tuple[int, list[int]]) -> None:
    count, values = game
    value = table(count, values)
    by_order = [Fraction(0)] * count
    orders = list(permutations(range(count)))
    for order in orders:
        for at, index in enumerate(order):
            gain = value[frozenset(order[: at + 1])] - value[frozenset(order[:at])]
            by_order[index] += Fraction(gain, len(orders))
    shares = shapley(count, value.__getitem__)
    assert shares == by_order
    assert sum(shares) == values[-1] - values[0]


@settings(deadline=None)
@given(games, st.integers(0, 2**32))
def test_sampled_shapley_shares_out_everything(game: tuple[int, list[int]], seed: int) -> None:
    count, values = game
    value = table(count, values).__getitem__
    rng = np.random.default_rng(seed)
    shares = shapley_sampled(count, value, 5, Fraction(-1), rng)  # never cut short
    assert sum(shares) == values[-1] - values[0]
    again = shapley_sampled(count, value, 5, Fraction(-1), np.random.default_rng(seed))
    assert shares == again


def test_sampled_shapley_comes_near_and_stops_early() -> None:
    asked: list[frozenset[int]] = []

    def value(coalition: frozenset[int]) -> int:
        asked.append(coalition)
        return gloves(coalition)

    shares = shapley_sampled(3, value, 2000, Fraction(0), np.random.default_rng(1))
    assert [float(share) for share in shares] == pytest.approx([40, 10, 10], abs=2)
    for before, after in pairwise(asked[2:]):  # a pair is already worth as much as all three
        assert after != frozenset({0, 1, 2}) or before == frozenset({1, 2})
    flat = shapley_sampled(3, lambda _: 7, 10, Fraction(0), np.random.default_rng(1))
    assert flat == [0, 0, 0]


def test_exact_shapley_is_for_ten() -> None:
    assert shapley(10, len) == [1] * 10
    with pytest.raises(DataError, match="Use shapley_sampled"):
        shapley(11, len)
    with pytest.raises(SpecError, match="at most 10 participants"):
        TaskConfig(scoring="shapley", participants=11)
    TaskConfig(scoring="shapley_sampled", participants=11)


def test_payable_never_pays_harm_and_falls_back_to_accuracy() -> None:
    """5 of 400 samples are 12,500 ppm; ⅓ of one is 833; harm is nothing."""
    worth = [Fraction(5), Fraction(1, 3), Fraction(-20)]
    assert payable(worth, 400, [0, 0, 0]) == [12_500, 833, 0]
    # Nobody gained: what each is worth alone, beyond the worst.
    assert payable([Fraction(0), Fraction(-1), Fraction(0)], 400, [390, 380, 20]) == [
        925_000,
        900_000,
        0,
    ]
    assert payable([Fraction(0)] * 2, 400, [300, 300]) == [0, 0]
    assert payable([], 400, []) == []


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
    with pytest.raises(SpecError) as caught:
        TaskConfig(scoring="accuracy", scoring_params={"permutations": 7})
    assert caught.value.field == "scoring_params.permutations"
