"""Integers that add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import DataError
from training.scoring import (
    add_rewards,
    pack_scores,
    ppm,
    rewards,
    round_reward,
    unpack_scores,
)

A, B, C = (f"0x{number:040x}" for number in (1, 2, 3))
addresses = st.integers(0, 2**160 - 1).map(lambda number: f"0x{number:040x}")
wei = st.integers(0, 2**96 - 1)


def test_rewards_by_hand() -> None:
    """100 wei over scores 1:1:1 is 33.3 each: the odd wei goes to the lowest address."""
    assert rewards({A: 7, B: 7, C: 7}, "score", {}, 100) == {A: 34, B: 33, C: 33}
    # 10 · 2/9 = 2.22, 10 · 3/9 = 3.33, 10 · 4/9 = 4.44: the odd wei to the largest remainder.
    assert rewards({A: 2, B: 3, C: 4}, "score", {}, 10) == {A: 2, B: 3, C: 5}
    assert rewards({A: 0, B: 1}, "score", {}, 10) == {A: 0, B: 10}


def test_modes() -> None:
    scores, samples = {A: 900_000, B: 100_000}, {A: 10, B: 30}
    assert rewards(scores, "equal", samples, 8) == {A: 4, B: 4}
    assert rewards(scores, "samples", samples, 8) == {A: 2, B: 6}
    assert rewards(scores, "score", samples, 10) == {A: 9, B: 1}
    with pytest.raises(DataError, match="reward mode 'best'"):
        rewards(scores, "best", samples, 10)


def test_all_zero_scores_share_equally_and_nobody_means_nothing() -> None:
    assert rewards({A: 0, B: 0}, "score", {}, 11) == {A: 6, B: 5}
    assert rewards({}, "score", {}, 11) == {}


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="weighs -1"):
        rewards({A: -1}, "score", {}, 10)
    with pytest.raises(DataError, match="can't be negative"):
        rewards({A: 1}, "score", {}, -10)


@given(st.dictionaries(addresses, st.integers(0, 2**32 - 1), min_size=1, max_size=30), wei)
def test_rewards_sum_exactly_and_are_within_a_wei_of_fair(
    scores: dict[str, int], amount: int
) -> None:
    paid = rewards(scores, "score", {}, amount)
    assert paid.keys() == scores.keys()
    assert sum(paid.values()) == amount
    total = sum(scores.values())
    if total:
        for address, score in scores.items():
            assert abs(paid[address] * total - amount * score) < total


@given(st.dictionaries(addresses, st.integers(0, 1000), min_size=1, max_size=10), wei, st.data())
def test_rewards_do_not_depend_on_the_order(
    scores: dict[str, int], amount: int, data: st.DataObject
) -> None:
    shuffled = dict(data.draw(st.permutations(list(scores.items()))))
    assert rewards(shuffled, "score", {}, amount) == rewards(scores, "score", {}, amount)


@given(wei, st.integers(1, 1000))
def test_round_rewards_sum_to_the_pool(pool: int, rounds: int) -> None:
    each = [round_reward(pool, rounds, number) for number in range(1, rounds + 1)]
    assert sum(each) == pool
    assert each[:-1] == [pool // rounds] * (rounds - 1)


def test_a_round_that_is_not_there() -> None:
    for number in (0, 6):
        with pytest.raises(DataError, match="rounds 1 to 5"):
            round_reward(100, 5, number)


def test_ppm_rounds_halves_up() -> None:
    assert ppm(1, 3) == 333_333
    assert ppm(2, 3) == 666_667
    assert ppm(1, 2_000_000) == 1
    assert ppm(0, 5) == 0
    assert ppm(5, 5) == 1_000_000
    for count, total in ((0, 0), (2, 1), (-1, 1)):
        with pytest.raises(DataError):
            ppm(count, total)


def test_cumulative_rewards() -> None:
    assert add_rewards({A: 5}, {B: 2, A: 1}) == {A: 6, B: 2}


def test_scores_are_packed_as_the_contract_reads_them() -> None:
    packed = pack_scores({C: 1, A: 974_930}, [A, B, C])
    assert packed.hex() == "000ee0520000000000000001"
    assert unpack_scores(packed, [A, B, C]) == {A: 974_930, B: 0, C: 1}


def test_scores_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="not members"):
        pack_scores({A: 1}, [B])
    with pytest.raises(DataError, match="keeps 0 to 4294967295"):
        pack_scores({A: 2**32}, [A])
    with pytest.raises(DataError, match="5 bytes"):
        unpack_scores(b"12345", [A])
