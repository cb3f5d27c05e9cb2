"""Aggregation rules that survive some participants who lie. Pure.

None of them counts samples: a liar reports as many as it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from training import kernels
from training.updates import ServerState, Update, opened
from training.weights import Float32, Weights


def median(params: Mapping[str, Any], state: ServerState, updates: Iterable[Update]) -> ServerState:
    """Coordinate-wise median, Yin et al. 2018 (arXiv 1803.01498), algorithm 1, option I."""

    def middle(rows: list[Float32]) -> Float32:
        return kernels.ranked_mean(rows, (len(rows) - 1) // 2, len(rows) // 2 + 1)

    return ServerState(_by_coordinate(updates, state.weights, middle))


def trimmed_mean(
    params: Mapping[str, Any], state: ServerState, updates: Iterable[Update]
) -> ServerState:
    """Coordinate-wise trimmed mean, Yin et al. 2018 (arXiv 1803.01498), algorithm 1, option II."""

    def inner_mean(rows: list[Float32]) -> Float32:
        cut = share_of(params["trim"], len(rows))
        return kernels.ranked_mean(rows, cut, len(rows) - cut)

    return ServerState(_by_coordinate(updates, state.weights, inner_mean))


def score_median(
    params: Mapping[str, Any], state: ServerState, updates: Iterable[Update]
) -> ServerState:
    """Coordinate-wise median in which an update counts as often as its score says."""
    ordered = list(updates)
    weights = np.array([update.score for update in ordered], dtype=np.int64)
    if not weights.any():
        weights[:] = 1
    return ServerState(
        _by_coordinate(ordered, state.weights, lambda rows: kernels.weighted_median(rows, weights))
    )


def krum(params: Mapping[str, Any], state: ServerState, updates: Iterable[Update]) -> ServerState:
    """The one update nearest to its neighbours: Blanchard et al. 2017 (arXiv 1703.02757)."""
    found = opened(updates)
    best = krum_order(found, params["liars"])[0]
    return ServerState({name: found[best][name].copy() for name in sorted(state.weights)})


def multi_krum(
    params: Mapping[str, Any], state: ServerState, updates: Iterable[Update]
) -> ServerState:
    """The plain mean of the n - f updates that Krum ranks first: Blanchard et al. 2017, section 4.

    They are added up in address order, so a tie in rank changes no bit of the sum.
    """
    found = opened(updates)
    keep = len(found) - share_of(params["liars"], len(found))
    kept = sorted(krum_order(found, params["liars"])[:keep])
    chosen = [found[index] for index in kept]

    def mean(rows: list[Float32]) -> Float32:
        sums = np.zeros(rows[0].size, dtype=np.float64)
        for row in rows:
            sums += row
        return (sums / len(rows)).astype(np.float32)

    return ServerState(_by_tensor(chosen, state.weights, mean))


def krum_order(opened: list[Weights], liars: float) -> list[int]:
    """Indices from the most to the least trusted; ties go to the earlier one.

    The rank is the sum of the squared distances to the n - f - 2 nearest others (at least one),
    with f = `liars` of the n updates, rounded down. The proof needs n ≥ 2f + 3.
    """
    count = len(opened)
    near = max(1, count - share_of(liars, count) - 2)
    squares = np.zeros((count, count))
    for name in sorted(opened[0]):
        squares += kernels.square_distances([kernels.flat(one[name]) for one in opened])
    ranks = []
    for index in range(count):
        others = np.sort(np.delete(squares[index], index))
        total = 0.0
        for value in others[:near]:  # nearest first
            total += float(value)
        ranks.append(total)
    return sorted(range(count), key=lambda index: (ranks[index], index))


def share_of(share: float, count: int) -> int:
    """`share` of `count`, rounded down; 0.29 of 100 is 29, although 0.29 · 100 is 28.999..."""
    return int(share * count + 1e-9)


def _by_coordinate(
    updates: Iterable[Update], like: Weights, combine: Callable[[list[Float32]], Float32]
) -> dict[str, Float32]:
    return _by_tensor(opened(updates), like, combine)


def _by_tensor(
    opened: list[Weights], like: Weights, combine: Callable[[list[Float32]], Float32]
) -> dict[str, Float32]:
    """`combine` of the flat rows of all updates, tensor by tensor."""
    result: dict[str, npt.NDArray[np.float32]] = {}
    for name in sorted(like):
        rows = [kernels.flat(weights[name]) for weights in opened]
        result[name] = combine(rows).reshape(like[name].shape)
    return result
