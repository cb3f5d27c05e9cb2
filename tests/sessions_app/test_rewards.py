"""What a round pays, worked out by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sessions_app.rewards import combined_scores, reward_root, round_rewards

A, B, C = ("0x" + digit * 40 for digit in "123")


def pay(mode: str, scores: list[list[int]], samples: dict[str, int], reward: int) -> list[int]:
    lines = round_rewards(
        mode=mode,
        reward=reward,
        addresses=[A, B, C],
        score_sheets=scores,
        samples=samples,
        earned_before={A: 5},
    )
    assert [line.address for line in lines] == [A, B, C]
    assert [line.cumulative - line.amount for line in lines] == [5, 0, 0]
    return [line.amount for line in lines]


def test_by_score_the_rest_goes_to_the_largest_remainder() -> None:
    # 100 × 3/7, 2/7, 2/7 = 42.86, 28.57, 28.57: floors 42 + 28 + 28, the 2 left over to A and B.
    assert pay("score", [[3, 2, 2]], {A: 1, B: 1, C: 1}, 100) == [43, 29, 28]


def test_by_samples_a_score_of_zero_earns_nothing() -> None:
    assert pay("samples", [[1, 0, 1]], {A: 30, B: 900, C: 10}, 100) == [75, 0, 25]


def test_equal_counts_only_those_who_submitted() -> None:
    assert pay("equal", [[9, 9, 9]], {A: 1, C: 1}, 101) == [51, 0, 50]


def test_when_nobody_scored_those_who_submitted_share() -> None:
    assert pay("score", [[0, 0, 0]], {B: 1, C: 1}, 9) == [0, 5, 4]


def test_one_liar_of_three_cannot_move_the_median_beyond_an_honest_score() -> None:
    assert combined_scores([[90, 50], [91, 49], [0, 10**6]], 2) == [90, 50]


def test_two_evaluators_agree_on_the_lower() -> None:
    assert combined_scores([[4, 9], [6, 1]], 2) == [4, 1]


def test_a_short_sheet_scores_the_missing_zero() -> None:
    assert combined_scores([[7]], 3) == [7, 0, 0]


def test_the_root_of_nothing_is_zero() -> None:
    assert reward_root(1, {A: 0}) == "0x" + "0" * 64


@given(
    scores=st.lists(st.integers(0, 10**6), min_size=3, max_size=3),
    reward=st.integers(0, 2**96 - 1),
    mode=st.sampled_from(["equal", "samples", "score"]),
)
def test_every_wei_is_paid(scores: list[int], reward: int, mode: str) -> None:
    assert sum(pay(mode, [scores], {A: 3, B: 2, C: 10}, reward)) == reward
