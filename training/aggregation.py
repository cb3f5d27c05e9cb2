"""Client updates to the next global model, the same bits on any machine.

An algorithm is an `init`/`apply` pair over an immutable `ServerState` (as in fedjax). The result
is the bits of a float64 sum in one fixed order: participants by address, one tensor element at a
time, no BLAS and no pairwise reduction, so it does not depend on the machine or on who asks.

Pure: no Django, Celery, web3 or TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from training.errors import DataError
from training.specs import AlgorithmSpec
from training.weights import Float32, Weights

_CHUNK = 1 << 14  # elements: sum, product and input together stay in a 512 KiB cache

_COLUMN_CHUNK = 1 << 12  # coordinates sorted at a time: 50 updates fill 800 KiB


@dataclass(frozen=True, eq=False)
class Update:
    """One checked client update. `load` opens the tensors when their turn comes, so an
    aggregation holds one update at a time."""

    participant: str
    samples: int
    load: Callable[[], Weights]


@dataclass(frozen=True, eq=False)
class ServerState:
    """The global model and what the server's optimiser remembers between rounds (if anything)."""

    weights: Weights
    memory: Weights = field(default_factory=dict)


@dataclass(frozen=True)
class Algorithm:
    """`init(params, weights)` makes the state before round 1; `apply(params, state, updates)`
    the state after a round, from updates in canonical order."""

    name: str
    init: Callable[[Mapping[str, Any], Weights], ServerState]
    apply: Callable[[Mapping[str, Any], ServerState, Iterable[Update]], ServerState]


def aggregate(spec: AlgorithmSpec, state: ServerState, updates: Iterable[Update]) -> ServerState:
    """The state after a round. The order of `updates` does not matter.

    DataError for no update, two of one participant, or samples below 1.
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
    return ALGORITHMS[spec.name].apply(spec.params, state, ordered)


def initial_state(spec: AlgorithmSpec, weights: Weights) -> ServerState:
    """The state before the first round."""
    return ALGORITHMS[spec.name].init(spec.params, weights)


def weighted_mean(updates: Iterable[Update], like: Weights) -> dict[str, Float32]:
    """Σ samples·weights ÷ Σ samples as float32; memory of two models, however many updates.

    A float32 times a sample count below 2^29 is exact in float64, so only the sums round, far
    below the float32 that comes out.
    """
    names = sorted(like)
    sums = {name: np.zeros(like[name].size, dtype=np.float64) for name in names}
    product = np.empty(_CHUNK, dtype=np.float64)
    total = 0
    for update in updates:
        total += update.samples
        weights = update.load()
        for name in names:
            for into, part in _chunks(sums[name], weights[name]):
                scaled = product[: part.size]
                np.multiply(part, float(update.samples), out=scaled, dtype=np.float64)
                np.add(into, scaled, out=into)
    for name in names:
        np.divide(sums[name], float(total), out=sums[name])
    return {name: sums[name].astype(np.float32).reshape(like[name].shape) for name in names}


def _chunks(into: Any, tensor: Float32) -> Iterator[tuple[Any, Any]]:
    flat = tensor.reshape(-1)
    for at in range(0, flat.size, _CHUNK):
        yield into[at : at + _CHUNK], flat[at : at + _CHUNK]


def _stateless(params: Mapping[str, Any], weights: Weights) -> ServerState:
    return ServerState(weights)


def _fedavg(
    params: Mapping[str, Any], state: ServerState, updates: Iterable[Update]
) -> ServerState:
    """McMahan et al. 2017 (arXiv 1602.05629), algorithm 1, server side."""
    return ServerState(weighted_mean(updates, state.weights))


def _median(
    params: Mapping[str, Any], state: ServerState, updates: Iterable[Update]
) -> ServerState:
    """Coordinate-wise median, Yin et al. 2018 (arXiv 1803.01498), algorithm 1, option I."""

    def middle(column: Any) -> Any:
        count = len(column)
        low, high = column[(count - 1) // 2], column[count // 2]
        return (low.astype(np.float64) + high) / 2.0

    return ServerState(_by_coordinate(updates, state.weights, middle))


def _trimmed_mean(
    params: Mapping[str, Any], state: ServerState, updates: Iterable[Update]
) -> ServerState:
    """Coordinate-wise trimmed mean, Yin et al. 2018 (arXiv 1803.01498), algorithm 1, option II."""

    def inner_mean(column: Any) -> Any:
        cut = int(params["trim"] * len(column) + 1e-9)  # 0.29 · 100 is 28.999...
        kept = column[cut : len(column) - cut]
        total = np.zeros(column.shape[1], dtype=np.float64)
        for row in kept:  # lowest to highest, whatever the machine
            total += row
        return total / len(kept)

    return ServerState(_by_coordinate(updates, state.weights, inner_mean))


def _by_coordinate(
    updates: Iterable[Update], like: Weights, combine: Callable[[Any], Any]
) -> dict[str, Float32]:
    """`combine` of the ascending values of each coordinate, (updates, chunk) → (chunk,)."""
    opened = [update.load() for update in updates]
    result: dict[str, Float32] = {}
    for name in sorted(like):
        out = np.empty(like[name].size, dtype=np.float32)
        rows = [weights[name].reshape(-1) for weights in opened]
        for at in range(0, out.size, _COLUMN_CHUNK):
            # + 0.0: a sort may put -0.0 and 0.0 either way round, so there is only one zero
            column = np.stack([row[at : at + _COLUMN_CHUNK] for row in rows]) + np.float32(0.0)
            column.sort(axis=0)
            out[at : at + _COLUMN_CHUNK] = combine(column)
        result[name] = out.reshape(like[name].shape)
    return result


# FedSGD and FedProx differ from FedAvg in what participants do (training.local), not here.
ALGORITHMS: dict[str, Algorithm] = {
    "fedavg": Algorithm("fedavg", _stateless, _fedavg),
    "fedsgd": Algorithm("fedsgd", _stateless, _fedavg),
    "fedprox": Algorithm("fedprox", _stateless, _fedavg),
    "median": Algorithm("median", _stateless, _median),
    "trimmed_mean": Algorithm("trimmed_mean", _stateless, _trimmed_mean),
}
