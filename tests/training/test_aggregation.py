"""Averages by hand, and the same bits whatever the order."""

import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.training.factories import address, tensors, update
from training import kernels
from training.aggregation import ServerState, Update, aggregate, initial_state
from training.errors import DataError
from training.specs import ALGORITHMS, AlgorithmSpec
from training.weights import Float32, encode

START = ServerState(tensors(k=[[0, 0], [0, 0]], b=[0]))


def run(name: str, *updates: Update, **params: Any) -> dict[str, list[Any]]:
    state = aggregate(AlgorithmSpec(name, params), START, updates)
    assert all(tensor.dtype == np.float32 for tensor in state.weights.values())
    return {tensor: value.tolist() for tensor, value in state.weights.items()}


@pytest.mark.parametrize("name", ["fedavg", "fedsgd", "fedprox"])
def test_fedavg_weighs_by_samples(name: str) -> None:
    """(1·[1,2,3,4] + 3·[5,6,7,8]) ÷ 4 = [4,5,6,7]; (1·-8 + 3·0) ÷ 4 = -2."""
    result = run(
        name,
        update(1, 1, tensors(k=[[1, 2], [3, 4]], b=[-8])),
        update(2, 3, tensors(k=[[5, 6], [7, 8]], b=[0])),
    )
    assert result == {"b": [-2.0], "k": [[4.0, 5.0], [6.0, 7.0]]}


def test_fedavg_of_one_update_is_that_update() -> None:
    weights = tensors(k=[[0.1, -0.2], [1e-30, 3e30]], b=[7])
    state = aggregate(AlgorithmSpec(), START, [update(1, 17, weights)])
    assert encode(state.weights) == encode(weights)


def test_fedavg_sums_in_float64() -> None:
    """In float32 the 1 would be lost beside 2^25 and the mean would be 0."""
    big = 2.0**25
    result = run(
        "fedavg",
        update(1, 1, tensors(k=[[big, 0], [0, 0]], b=[0])),
        update(2, 1, tensors(k=[[1, 0], [0, 0]], b=[0])),
        update(3, 1, tensors(k=[[-big, 0], [0, 0]], b=[0])),
    )
    assert result["k"][0][0] == float(np.float32(1 / 3))


def test_median_takes_the_middle_and_ignores_samples() -> None:
    three = [
        update(1, 1000, tensors(k=[[1, 9], [5, 0]], b=[1e30])),
        update(2, 1, tensors(k=[[2, 8], [5, 0]], b=[1])),
        update(3, 1, tensors(k=[[9, 7], [6, 0]], b=[-2])),
    ]
    assert run("median", *three) == {"b": [1.0], "k": [[2.0, 8.0], [5.0, 0.0]]}
    four = [*three, update(4, 1, tensors(k=[[4, 0], [0, 0]], b=[3]))]
    assert run("median", *four) == {"b": [2.0], "k": [[3.0, 7.5], [5.0, 0.0]]}


def test_trimmed_mean_drops_both_ends() -> None:
    """Five updates, trim 0.2: one dropped at each end, (2+3+7) ÷ 3 = 4 and (0+1+2) ÷ 3 = 1."""
    columns = [(1, 1e30), (7, 0), (3, 1), (2, 2), (99, -1e30)]
    five = [
        update(number, 1, tensors(k=[[a, 0], [0, 0]], b=[b]))
        for number, (a, b) in enumerate(columns)
    ]
    assert run("trimmed_mean", *five, trim=0.2) == {"b": [1.0], "k": [[4.0, 0.0], [0.0, 0.0]]}


def test_trimmed_mean_of_nothing_trimmed_is_the_plain_mean() -> None:
    two = [update(1, 1, tensors(k=[[1, 0], [0, 0]], b=[1])), update(2, 9, START.weights)]
    assert run("trimmed_mean", *two, trim=0.49)["k"] == [[0.5, 0.0], [0.0, 0.0]]


# A server optimiser may step beyond the updates: that is its point.
WITHIN = sorted(ALGORITHMS.keys() - {"fedavgm", "fedadam", "fedyogi"})

clients = st.lists(
    st.tuples(
        st.integers(1, 10_000),
        hnp.arrays(np.float32, 7, elements=st.floats(-1e6, 1e6, width=32)),
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(clients=clients, name=st.sampled_from(sorted(ALGORITHMS)), data=st.data())
def test_order_of_arrival_never_changes_a_bit(
    clients: list[tuple[int, Float32]], name: str, data: st.DataObject
) -> None:
    updates = [update(number, n, {"w": w}) for number, (n, w) in enumerate(clients)]
    shuffled = data.draw(st.permutations(updates))
    state = ServerState({"w": np.zeros(7, np.float32)})
    spec = AlgorithmSpec(name)
    assert encode(aggregate(spec, state, updates).weights) == encode(
        aggregate(spec, state, shuffled).weights
    )


@settings(deadline=None)
@given(clients=clients, name=st.sampled_from(WITHIN))
def test_result_stays_between_lowest_and_highest(
    clients: list[tuple[int, Float32]], name: str
) -> None:
    updates = [update(number, n, {"w": w}) for number, (n, w) in enumerate(clients)]
    state = ServerState({"w": np.zeros(7, np.float32)})
    result = aggregate(AlgorithmSpec(name), state, updates).weights["w"]
    stacked = np.stack([w for _, w in clients])
    assert (result >= np.nextafter(stacked.min(axis=0), np.float32(-np.inf))).all()
    assert (result <= np.nextafter(stacked.max(axis=0), np.float32(np.inf))).all()


@settings(deadline=None)
@given(clients=clients, name=st.sampled_from(["median", "trimmed_mean"]))
def test_robust_rules_survive_their_share_of_liars(
    clients: list[tuple[int, Float32]], name: str
) -> None:
    """With fewer liars than the rule trims, the result stays among the honest values."""
    honest = [w for _, w in clients] * 4
    liars = [np.full(7, 1e30, np.float32)] * (len(clients))
    updates = [update(number, 1, {"w": w}) for number, w in enumerate([*honest, *liars])]
    state = ServerState({"w": np.zeros(7, np.float32)})
    params = {"trim": 0.2} if name == "trimmed_mean" else {}
    result = aggregate(AlgorithmSpec(name, params), state, updates).weights["w"]
    assert (result <= np.nextafter(np.max(honest, axis=0), np.float32(np.inf))).all()


@settings(deadline=None)
@given(clients)
def test_agrees_with_numpy_average(clients: list[tuple[int, Float32]]) -> None:
    updates = [update(number, n, {"w": w}) for number, (n, w) in enumerate(clients)]
    state = ServerState({"w": np.zeros(7, np.float32)})
    result = aggregate(AlgorithmSpec(), state, updates).weights["w"]
    expected = np.average(
        np.stack([w.astype(np.float64) for _, w in clients]),
        axis=0,
        weights=[n for n, _ in clients],
    )
    largest = max(float(np.abs(w).max()) for _, w in clients)
    step = float(np.finfo(np.float32).smallest_subnormal)  # float32 has nothing between its steps
    assert np.allclose(result, expected, rtol=1e-6, atol=max(1e-9 * largest, step))


def test_chunks_do_not_show_at_their_borders() -> None:
    rng = np.random.default_rng(5)
    size = 2 * (1 << 14) + 3
    a, b = (rng.normal(size=size).astype(np.float32) for _ in range(2))
    state = ServerState({"w": np.zeros(size, np.float32)})
    mean = aggregate(AlgorithmSpec(), state, [update(1, 2, {"w": a}), update(2, 3, {"w": b})])
    by_hand = ((a.astype(np.float64) * 2 + b.astype(np.float64) * 3) / 5).astype(np.float32)
    assert np.array_equal(mean.weights["w"], by_hand)
    median = aggregate(
        AlgorithmSpec("median"), state, [update(1, 2, {"w": a}), update(2, 3, {"w": b})]
    )
    assert np.array_equal(
        median.weights["w"], np.median(np.stack([a, b]).astype("f8"), 0).astype("f4")
    )


@pytest.mark.parametrize("name", ["fedavg", "fedavgm", "fedadam", "score_mean"])
def test_means_hold_few_updates_at_a_time_in_address_order(name: str) -> None:
    alive: list[weakref.ref[Any]] = []
    opened: list[int] = []

    def opener(number: int) -> Update:
        def load() -> dict[str, Float32]:
            tensor = np.full(3, number, dtype=np.float32)
            assert sum(ref() is not None for ref in alive) < kernels.GROUP
            alive.append(weakref.ref(tensor))
            opened.append(number)
            return {"w": tensor}

        return Update(address(number).upper().replace("X", "x"), 1, load)

    state = ServerState({"w": np.zeros(3, np.float32)})
    numbers = list(range(1, 5 * kernels.GROUP + 4))
    aggregate(AlgorithmSpec(name), state, [opener(number) for number in reversed(numbers)])
    assert opened == numbers


def test_bad_rounds_are_refused() -> None:
    weights = START.weights
    with pytest.raises(DataError, match="no accepted update"):
        aggregate(AlgorithmSpec(), START, [])
    with pytest.raises(DataError, match="two updates"):
        aggregate(AlgorithmSpec(), START, [update(1, 1, weights), update(1, 1, weights)])
    with pytest.raises(DataError, match="reports 0 samples"):
        aggregate(AlgorithmSpec(), START, [update(1, 0, weights)])


def test_initial_state_is_the_model() -> None:
    for name in ALGORITHMS:  # no memory yet is what each of them starts from
        state = initial_state(AlgorithmSpec(name), START.weights)
        assert state.weights is START.weights
        assert state.memory == {}
