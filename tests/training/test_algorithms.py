"""Every aggregation rule against numbers worked out by hand, and against liars."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.training.factories import tensors, update
from training import kernels
from training.aggregation import ServerState, aggregate
from training.contribution import blockflow
from training.errors import DataError, SpecError
from training.specs import AlgorithmSpec, TaskConfig
from training.weights import Float32, decode, encode

A, B, C, D = (f"0x{number:040x}" for number in (1, 2, 3, 4))


def scored(*pairs: tuple[float, int]) -> list[Any]:
    from dataclasses import replace

    return [
        replace(update(number, 1, tensors(w=[value])), score=score)
        for number, (value, score) in enumerate(pairs)
    ]


def values(name: str, *numbers: float, **params: Any) -> float:
    updates = [update(number, 1, tensors(w=[value])) for number, value in enumerate(numbers)]
    state = aggregate(AlgorithmSpec(name, params), ServerState(tensors(w=[0])), updates)
    return float(state.weights["w"][0])


def two_rounds(name: str, first: float, second: float, **params: Any) -> list[float]:
    """The weight after each of two rounds of one update; the state passes through its bytes."""
    state = ServerState(tensors(w=[0]))
    seen = []
    for delta in (first, second):
        weights = {"w": state.weights["w"] + np.float32(delta)}
        state = aggregate(AlgorithmSpec(name, params), state, [update(1, 7, weights)])
        state = ServerState(state.weights, decode(encode(state.memory)))
        seen.append(float(state.weights["w"][0]))
    return seen


def test_fedavgm_keeps_half_its_speed() -> None:
    """Δ = 4: v = 4, w = ½·4 = 2. Then Δ = 0: v = ½·4 = 2, w = 2 + ½·2 = 3."""
    assert two_rounds("fedavgm", 4, 0, server_rate=0.5, server_momentum=0.5) == [2.0, 3.0]
    assert two_rounds("fedavgm", 4, 1, server_rate=1, server_momentum=0) == [4.0, 5.0]  # FedAvg


def test_fedadam_by_hand() -> None:
    """τ = 1, so v₀ = 1. Δ = 3: m = ½·3, v = ⅝·1 + ⅜·9 = 4, w = 1.5 ÷ (2 + 1) = ½.
    Δ = 0: m = ¾, v = ⅝·4 = 2.5, w = ½ + ¾ ÷ (√2.5 + 1)."""
    params = {"adaptive_rate": 1, "beta_1": 0.5, "beta_2": 0.625, "tau": 1}
    after = 0.5 + 0.75 / (math.sqrt(2.5) + 1)
    assert two_rounds("fedadam", 3, 0, **params) == [0.5, float(np.float32(after))]


def test_fedyogi_by_hand() -> None:
    """Δ = 2: v = 1 + ¾·4 = 4 (it was below 4), m = 1, w = ⅓. Δ = 1: v = 4 - ¾·1 = 3.25 (it was
    above 1), m = ½·1 + ½·1 = 1, w = ⅓ + 1 ÷ (√3.25 + 1)."""
    params = {"adaptive_rate": 1, "beta_1": 0.5, "beta_2": 0.25, "tau": 1}
    first, second = two_rounds("fedyogi", 2, 1, **params)
    assert first == float(np.float32(1 / 3))
    assert second == pytest.approx(1 / 3 + 1 / (math.sqrt(3.25) + 1), rel=1e-6)


@pytest.mark.parametrize("name", ["fedavgm", "fedadam", "fedyogi"])
def test_state_of_another_model_is_refused(name: str) -> None:
    one = [update(1, 1, tensors(w=[1]))]
    state = aggregate(AlgorithmSpec(name), ServerState(tensors(w=[0])), one)
    wrong = {tensor: value.reshape(1, 1) for tensor, value in state.memory.items()}
    with pytest.raises(DataError, match=r"shape \[1, 1\]"):
        aggregate(AlgorithmSpec(name), ServerState(tensors(w=[0]), wrong), one)
    with pytest.raises(DataError, match="has none for"):
        aggregate(AlgorithmSpec(name), ServerState(tensors(w=[0]), {"x": wrong.popitem()[1]}), one)


def test_server_state_that_overflows_is_refused() -> None:
    far = [update(1, 1, tensors(w=[1e30]))]
    with (
        np.errstate(over="ignore"),
        pytest.raises(DataError, match="second/w overflowed"),
    ):
        aggregate(AlgorithmSpec("fedadam"), ServerState(tensors(w=[0])), far)


def test_krum_takes_the_nearest_to_its_neighbours() -> None:
    """n = 5, f = 1: two neighbours count. 0: 1+4, 1: 1+1, 2: 1+4, 10: 1+64, 11: 1+81."""
    assert values("krum", 0, 1, 2, 10, 11, liars=0.2) == 1.0
    assert values("multi_krum", 0, 1, 2, 10, 11, liars=0.2) == (0 + 1 + 2 + 10) / 4


def test_krum_of_few_updates() -> None:
    assert values("krum", 7) == 7.0
    assert values("krum", 7, 8) == 7.0  # a tie goes to the lower address
    assert values("multi_krum", 7, 8) == 7.5


def test_score_weighted_rules() -> None:
    """(1·1 + 3·5) ÷ 4 = 4. Half of 1+1+5 is reached at 9. Of 2+0+1+3 half is reached exactly at
    2, and the next value that weighs anything is 9: (2 + 9) ÷ 2."""

    def run(name: str, *pairs: tuple[float, int]) -> float:
        start = ServerState(tensors(w=[0]))
        state = aggregate(AlgorithmSpec(name), start, scored(*pairs))
        return float(state.weights["w"][0])

    assert run("score_mean", (1, 1), (5, 3)) == 4.0
    assert run("blockflow", (1, 1), (5, 3)) == 4.0
    assert run("score_median", (1, 1), (2, 1), (9, 5)) == 9.0
    assert run("score_median", (9, 3), (1, 2), (3, 0), (2, 1)) == 5.5
    for name in ("score_mean", "score_median"):  # nobody scored: all count alike
        assert run(name, (1, 0), (5, 0)) == 3.0
    with pytest.raises(DataError, match="scored -1"):
        run("score_mean", (1, -1))


def test_blockflow_by_hand() -> None:
    """Medians .8, .4, .6 → merits 1, ½, ¾. C misjudged A by ½: honesty (½ - ½) ÷ 1 = 0."""
    sheets = {
        A: [800_000, 400_000, 600_000],
        B: [800_000, 400_000, 600_000],
        C: [300_000, 400_000, 600_000],
    }
    assert blockflow(sheets, [A, B, C]) == [1_000_000, 500_000, 0]
    assert blockflow({"": [800_000, 400_000, 600_000]}, [A, B, C]) == [1_000_000, 500_000, 750_000]
    assert blockflow({"": [0, 0]}, [A, B]) == [0, 0]
    # An outside judge has no share to lose, and A's honesty is the yardstick. The lower medians
    # .5, .3 make the merits 1 and .6.
    assert blockflow({A: [500_000, 300_000], "": [500_000, 500_000]}, [A, B]) == [
        1_000_000,
        600_000,
    ]
    with pytest.raises(DataError, match="takes 2 scores"):
        blockflow({A: [1]}, [A, B])
    with pytest.raises(DataError, match="at least one score sheet"):
        blockflow({}, [A])


def test_blockflow_with_an_even_number_of_judges_by_hand() -> None:
    """All four judge all four. Lower medians of the columns: .7, .6, .8, .2 → merits 7⁄8, 6⁄8, 1,
    2⁄8. Furthest from a median: A .1, B .05, C .2, D .3 → (½ - t) ÷ (½ + t) = 4⁄6, 9⁄11, 3⁄7, 2⁄8,
    of B's 9⁄11: 22⁄27, 1, 11⁄21, 11⁄36. The lesser of both: 22⁄27, 6⁄8, 11⁄21, 2⁄8."""
    sheets = {
        A: [700_000, 700_000, 800_000, 200_000],
        B: [750_000, 600_000, 850_000, 200_000],
        C: [900_000, 600_000, 800_000, 200_000],
        D: [700_000, 600_000, 800_000, 500_000],
    }
    assert blockflow(sheets, [A, B, C, D]) == [814_814, 750_000, 523_809, 250_000]


small = hnp.arrays(np.float32, 5, elements=st.floats(-1, 1, width=32))


@settings(deadline=None)
@given(
    liars=st.integers(1, 3),
    spare=st.integers(0, 3),
    data=st.data(),
    name=st.sampled_from(["krum", "multi_krum", "median", "trimmed_mean", "score_median"]),
    lie=st.sampled_from([-1e12, -1e3, 1e3, 1e12]),
)
def test_up_to_the_stated_number_of_liars_change_nothing_much(
    liars: int, spare: int, data: st.DataObject, name: str, lie: float
) -> None:
    """n ≥ 2f + 3 updates, f of them together far away: the result stays among the honest."""
    count = 2 * liars + 3 + spare
    honest = [data.draw(small) for _ in range(count - liars)]
    everyone = [*honest, *[np.full(5, lie, np.float32)] * liars]
    order = data.draw(st.permutations(range(count)))
    updates = [update(number, 1, {"w": everyone[at]}) for number, at in enumerate(order)]
    share = {"krum": "liars", "multi_krum": "liars", "trimmed_mean": "trim"}.get(name)
    params = {share: min(0.49, liars / count + 1e-6)} if share else {}
    state = ServerState({"w": np.zeros(5, np.float32)})
    result = aggregate(AlgorithmSpec(name, params), state, updates).weights["w"]
    assert (result <= np.nextafter(np.max(honest, axis=0), np.float32(np.inf))).all()
    assert (result >= np.nextafter(np.min(honest, axis=0), np.float32(-np.inf))).all()
    if name == "krum":
        assert any(np.array_equal(result, one) for one in honest)
    if name == "multi_krum":
        mean = np.mean([one.astype(np.float64) for one in honest], axis=0)
        assert np.allclose(result, mean, atol=1e-6)


@settings(deadline=None)
@given(
    rows=st.integers(1, 70).flatmap(
        lambda n: hnp.arrays(np.float32, (n, 3), elements=st.floats(-(2.0**99), 2.0**99, width=32))
    )
)
def test_sorting_network_finds_what_sorting_finds(rows: Float32) -> None:
    count = len(rows)
    flat = [kernels.flat(row) for row in rows]
    ordered = np.sort(rows, axis=0).astype(np.float64)
    for low, high in ((0, 1), (count - 1, count), ((count - 1) // 2, count // 2 + 1), (0, count)):
        total = np.zeros(3)
        for row in ordered[low:high]:
            total += row
        expected = (total / (high - low)).astype(np.float32)
        assert np.array_equal(kernels.ranked_mean(flat, low, high), expected)


def test_kernels_give_the_same_bits_on_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    size = 2 * kernels.PIECE + 11
    updates = [
        update(number, number + 1, {"w": rng.normal(size=size).astype(np.float32)})
        for number in range(kernels.GROUP + 3)
    ]
    state = ServerState({"w": np.zeros(size, np.float32)})
    for name in ("fedavg", "median", "multi_krum", "score_median"):
        results = []
        for threads in (1, 2, 3):
            monkeypatch.setattr(kernels, "THREADS", threads)
            results.append(encode(aggregate(AlgorithmSpec(name), state, updates).weights))
        assert len(set(results)) == 1


def test_distances_are_exact_sums() -> None:
    rng = np.random.default_rng(2)
    rows = [kernels.flat(rng.integers(-9, 9, 20_003).astype(np.float32)) for _ in range(4)]
    expected = [[float(((a - b).astype("f8") ** 2).sum()) for b in rows] for a in rows]
    assert kernels.square_distances(rows).tolist() == expected


def test_krum_needs_enough_participants() -> None:
    with pytest.raises(SpecError, match=r"n ≥ 2f \+ 3") as caught:
        TaskConfig(algorithm=AlgorithmSpec("krum", {"liars": 0.4}), participants=5)
    assert caught.value.field == "algorithm.params.liars"
    TaskConfig(algorithm=AlgorithmSpec("multi_krum", {"liars": 0.3}), participants=10)
