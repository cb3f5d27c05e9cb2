"""What an aggregation takes and gives: client updates and the server's state. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from training import kernels
from training.weights import Weights


@dataclass(frozen=True, eq=False)
class Update:
    """One checked client update. `load` opens the tensors when their turn comes, so an
    aggregation holds few updates at a time.

    `score` is what score-weighted rules weigh by: accuracy on the held-out samples in ppm.
    """

    participant: str
    samples: int
    load: Callable[[], Weights]
    score: int = 1


def opened(updates: Iterable[Update]) -> list[Weights]:
    """Their tensors. Most of the time goes into hashing them, which threads share."""
    return kernels.side_by_side(lambda update: update.load(), list(updates))


@dataclass(frozen=True, eq=False)
class ServerState:
    """The global model and what the server's optimiser remembers between rounds (if anything)."""

    weights: Weights
    memory: Weights = field(default_factory=dict)


Init = Callable[[Mapping[str, Any], Weights], ServerState]
Apply = Callable[[Mapping[str, Any], ServerState, Iterable[Update]], ServerState]


@dataclass(frozen=True)
class Algorithm:
    """`init(params, weights)` makes the state before round 1; `apply(params, state, updates)`
    the state after a round, from updates in canonical order."""

    name: str
    init: Init
    apply: Apply
