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


ALGORITHMS: dict[str, Algorithm] = {
    "fedavg": Algorithm("fedavg", _stateless, _fedavg),
}
