"""Client updates to the next global model, the same bits on any machine.

An algorithm is an `init`/`apply` pair over an immutable `ServerState` (as in fedjax). The result
is the bits of a float64 sum in one fixed order: participants by address, one tensor element at a
time, no BLAS and no pairwise reduction, so it does not depend on the machine or on who asks.

Pure: no Django, Celery, web3 or TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from training import kernels, robust, server
from training.errors import DataError
from training.specs import AlgorithmSpec
from training.updates import Algorithm, Apply, ServerState, Update, opened
from training.weights import Float32, Weights

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "ServerState",
    "Update",
    "aggregate",
    "initial_state",
    "weighted_mean",
]


def aggregate(spec: AlgorithmSpec, state: ServerState, updates: Iterable[Update]) -> ServerState:
    """The state after a round. The order of `updates` does not matter.

    DataError for no update, two of one participant, samples below 1, a negative score, or a
    result that overflowed.
    """
    ordered = sorted(updates, key=lambda update: update.participant.lower())
    if not ordered:
        raise DataError("no accepted update to average. Wait for updates, or end the round.")
    for before, after in pairwise(ordered):
        if before.participant.lower() == after.participant.lower():
            raise DataError(f"two updates of {after.participant}, but a round counts one each.")
    for update in ordered:
        if update.samples < 1:
            raise DataError(
                f"{update.participant} reports {update.samples} samples, but at least 1 counts."
            )
        if update.score < 0:
            raise DataError(f"{update.participant} scored {update.score}, but the least is 0.")
    after_round = ALGORITHMS[spec.name].apply(spec.params, state, ordered)
    server.check_memory(after_round.memory)
    return after_round


def initial_state(spec: AlgorithmSpec, weights: Weights) -> ServerState:
    """The state before the first round."""
    return ALGORITHMS[spec.name].init(spec.params, weights)


def weighted_mean(
    updates: Iterable[Update],
    like: Weights,
    weigh: Callable[[Update], int] = lambda update: update.samples,
) -> dict[str, Float32]:
    """Σ weight·tensors ÷ Σ weight as float32, by default weighted by samples."""
    mean = _mean64(updates, like, weigh)
    return {name: mean[name].astype(np.float32).reshape(like[name].shape) for name in mean}


def _mean64(
    updates: Iterable[Update], like: Weights, weigh: Callable[[Update], int]
) -> dict[str, npt.NDArray[np.float64]]:
    """The flat float64 mean; memory of two models and GROUP updates, however many there are.

    A float32 times a weight below 2^29 is exact in float64, so only the sums round, far below
    the float32 that comes out.
    """
    sums = {name: np.zeros(like[name].size, dtype=np.float64) for name in sorted(like)}
    total = 0
    for group in _groups(updates):
        weights = np.array([weigh(update) for update in group], dtype=np.float64)
        total += sum(weigh(update) for update in group)
        tensors = opened(group)
        for name, into in sums.items():
            _add(into, tuple(kernels.flat(one[name]) for one in tensors), weights)
        del tensors  # before the next group is opened
    for into in sums.values():
        np.divide(into, float(total), out=into)
    return sums


def _groups(updates: Iterable[Update]) -> Iterable[list[Update]]:
    """GROUP at a time, the rest one by one: two shapes to compile, not eight."""
    iterator = iter(updates)
    while group := [update for _, update in zip(range(kernels.GROUP), iterator, strict=False)]:
        if len(group) == kernels.GROUP:
            yield group
        else:
            yield from ([update] for update in group)


def _add(into: Any, rows: tuple[Float32, ...], weights: npt.NDArray[np.float64]) -> None:
    # Elements do not depend on each other, so one piece a thread does: fewer hand-overs.
    grain = max(kernels.PIECE, -(-into.size // kernels.THREADS))
    kernels.pieces(
        into.size,
        lambda start, stop: kernels.add_weighted(into, rows, weights, start, stop),
        grain,
    )


def _stateless(params: Mapping[str, Any], weights: Weights) -> ServerState:
    return ServerState(weights)


def _by_samples(update: Update) -> int:
    return update.samples


def _fedavg(
    params: Mapping[str, Any], state: ServerState, updates: Iterable[Update]
) -> ServerState:
    """McMahan et al. 2017 (arXiv 1602.05629), algorithm 1, server side."""
    return ServerState(weighted_mean(updates, state.weights))


def _score_mean(
    params: Mapping[str, Any], state: ServerState, updates: Iterable[Update]
) -> ServerState:
    """The mean weighted by score; equal weights when nobody scored."""
    ordered = list(updates)
    scored = any(update.score for update in ordered)
    return ServerState(
        weighted_mean(ordered, state.weights, lambda one: one.score if scored else 1)
    )


def _fedavgm(
    params: Mapping[str, Any], state: ServerState, updates: Iterable[Update]
) -> ServerState:
    """FedAvg with server momentum: Hsu et al. 2019 (arXiv 1909.06335)."""
    return server.momentum_step(params, state, _mean64(updates, state.weights, _by_samples))


def _adaptive(second_moment: Callable[[float], Callable[[Any, Any], Any]]) -> Apply:
    def apply(
        params: Mapping[str, Any], state: ServerState, updates: Iterable[Update]
    ) -> ServerState:
        mean = _mean64(updates, state.weights, _by_samples)
        return server.adaptive_step(params, state, mean, second_moment)

    return apply


# FedSGD and FedProx differ from FedAvg in what participants do (training.local), and BlockFLow
# from the score-weighted mean in what the scores are (training.round), not here.
ALGORITHMS: dict[str, Algorithm] = {
    name: Algorithm(name, _stateless, apply)
    for name, apply in {
        "fedavg": _fedavg,
        "fedsgd": _fedavg,
        "fedprox": _fedavg,
        "fedavgm": _fedavgm,
        "fedadam": _adaptive(server.adam_second),
        "fedyogi": _adaptive(server.yogi_second),
        "median": robust.median,
        "trimmed_mean": robust.trimmed_mean,
        "krum": robust.krum,
        "multi_krum": robust.multi_krum,
        "score_mean": _score_mean,
        "score_median": robust.score_median,
        "blockflow": _score_mean,
    }.items()
}
