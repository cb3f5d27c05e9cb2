"""The inner loops of aggregation, compiled by numba.

Plain IEEE arithmetic in the order the source has it: numba's default has neither fast-math nor
fused multiply-add, so every processor gives the same bits. Threads split elements, never a sum.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

from training.weights import Float32

THREADS = int(os.environ.get("BCFL_AGGREGATE_THREADS", "0")) or (os.cpu_count() or 1)
PIECE = 1 << 16  # elements a thread takes at a time, and the grain of sums over elements
GROUP = 8  # updates read together: the running sum is loaded and stored once for all of them

_TILE = 1 << 10  # elements of float64 sums that stay in the first-level cache
_TILE_BYTES = 1 << 18  # rows × columns that stay in the second-level cache
_LANES = 8  # partial sums of a distance


Item = TypeVar("Item")
Result = TypeVar("Result")


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder to keep compiled code in: compile in every process
        return numba.njit(nogil=True)(function)


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    """One set for all calls: to start threads takes as long as to hash a small update. What runs
    on them never calls `pieces` or `side_by_side` itself."""
    return ThreadPoolExecutor(THREADS)


os.register_at_fork(after_in_child=_threads.cache_clear)  # threads do not survive a fork


def pieces(size: int, work: Callable[[int, int], None], grain: int = PIECE) -> None:
    """`work(start, stop)` for every piece of `size` elements, on all threads."""
    starts = range(0, size, grain)
    if len(starts) == 1 or THREADS == 1:
        for start in starts:
            work(start, min(start + grain, size))
        return
    for _ in _threads().map(lambda start: work(start, min(start + grain, size)), starts):
        pass


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`work` of every item, in their order, on all threads: for what lets others run, such as
    hashing a file."""
    if len(items) == 1 or THREADS == 1:
        return [work(item) for item in items]
    return list(_threads().map(work, items))


def flat(tensor: Float32) -> Float32:
    """One read-only row: the one array type the kernels are compiled for."""
    row = np.require(tensor, np.float32, ["C", "A"]).reshape(-1).view()
    row.flags.writeable = False
    return row


@_compiled
def add_weighted(into, rows, weights, start, stop):  # type: ignore[no-untyped-def]
    """into[start:stop] += Σ weights[k] · rows[k][start:stop], k ascending, in float64."""
    for at in range(start, stop, _TILE):
        end = min(at + _TILE, stop)
        sums = into[at:end]
        for k in range(len(rows)):
            row = rows[k][at:end]
            weight = weights[k]
            for i in range(end - at):
                sums[i] += np.float64(row[i]) * weight


@_compiled
def _ranked_mean(slab, exchanges, low, high, tile, out):  # type: ignore[no-untyped-def]
    """out[i] = mean in float64 of the ascending values low ... high - 1 of column i."""
    count, width = slab.shape
    rows = np.empty((count, tile), dtype=np.float32)
    sums = np.empty(tile, dtype=np.float64)
    for at in range(0, width, tile):
        size = min(tile, width - at)
        for k in range(count):
            for i in range(size):
                rows[k, i] = slab[k, at + i] + np.float32(0.0)  # one zero, not two
        for e in range(len(exchanges)):
            upper = rows[exchanges[e, 0]]
            lower = rows[exchanges[e, 1]]
            for i in range(size):
                a, b = upper[i], lower[i]
                upper[i] = a if a < b else b
                lower[i] = b if a < b else a
        for i in range(size):
            sums[i] = 0.0
        for k in range(low, high):
            for i in range(size):
                sums[i] += np.float64(rows[k, i])
        for i in range(size):
            out[at + i] = np.float32(sums[i] / (high - low))


@lru_cache(maxsize=64)
def _network(count: int, low: int, high: int) -> npt.NDArray[np.int32]:
    """Compare-exchanges that bring the values of rank low ... high - 1 into place.

    Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2 M), without the
    exchanges that reach none of these ranks.
    """
    exchanges: list[tuple[int, int]] = []
    top = 1 << max(0, (count - 1).bit_length() - 1)
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            exchanges += [(i, i + d) for i in range(count - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    live = set(range(low, high))
    kept = []
    for upper, lower in reversed(exchanges):
        if upper in live or lower in live:
            live |= {upper, lower}
            kept.append((upper, lower))
    return np.array(kept[::-1], dtype=np.int32).reshape(-1, 2)


def ranked_mean(rows: list[Float32], low: int, high: int) -> Float32:
    """Of each coordinate of flat `rows`: the mean of its ascending values low ... high - 1."""
    count, size = len(rows), rows[0].size
    out = np.empty(size, dtype=np.float32)
    exchanges = _network(count, low, high)
    tile = max(16, min(1024, _TILE_BYTES // (4 * count)) // 16 * 16)
    grain = max(tile, (1 << 22) // (4 * count) // tile * tile)  # slabs of 4 MiB

    def work(start: int, stop: int) -> None:
        slab = np.stack([row[start:stop] for row in rows])
        _ranked_mean(slab, exchanges, low, high, tile, out[start:stop])

    pieces(size, work, grain)
    return out


@_compiled
def _weighted_median(slab, weights, out):  # type: ignore[no-untyped-def]
    """out[i] = the value of column i where half of the total weight is reached."""
    count, width = slab.shape
    total = weights.sum()
    column = np.empty(count, dtype=np.float32)
    for i in range(width):
        for k in range(count):
            column[k] = slab[k, i] + np.float32(0.0)
        order = np.argsort(column, kind="mergesort")
        reached = np.int64(0)
        for k in range(count):
            reached += weights[order[k]]
            if 2 * reached >= total:
                value = np.float64(column[order[k]])
                if 2 * reached == total:  # then a positive weight is still to come
                    after = k + 1
                    while weights[order[after]] == 0:
                        after += 1
                    value = (value + np.float64(column[order[after]])) / 2.0
                out[i] = np.float32(value)
                break


def weighted_median(rows: list[Float32], weights: npt.NDArray[np.int64]) -> Float32:
    """Of each coordinate of flat `rows`: the median by non-negative integer `weights`, some of
    them positive; where exactly half lies below, the mean of the two values around."""
    out = np.empty(rows[0].size, dtype=np.float32)
    grain = max(16, (1 << 22) // (4 * len(rows)))

    def work(start: int, stop: int) -> None:
        slab = np.stack([row[start:stop] for row in rows])
        _weighted_median(slab, weights, out[start:stop])

    pieces(out.size, work, grain)
    return out


@_compiled
def _square_distances(slab, out):  # type: ignore[no-untyped-def]
    """out[a, b] = Σ (slab[a] - slab[b])² for a < b, in float64 and a fixed order."""
    count, width = slab.shape
    lanes = np.empty(_LANES, dtype=np.float64)
    whole = width - width % _LANES
    for a in range(count):
        for b in range(a + 1, count):
            left, right = slab[a], slab[b]
            lanes[:] = 0.0
            for at in range(0, whole, _LANES):
                for lane in range(_LANES):
                    gap = np.float64(left[at + lane]) - np.float64(right[at + lane])
                    lanes[lane] += gap * gap
            total = 0.0
            for lane in range(_LANES):
                total += lanes[lane]
            for at in range(whole, width):
                gap = np.float64(left[at]) - np.float64(right[at])
                total += gap * gap
            out[a, b] += total


def square_distances(rows: list[Float32]) -> npt.NDArray[np.float64]:
    """(n, n) squared L2 distances of flat `rows`, symmetric."""
    count, size = len(rows), rows[0].size
    grain = 1 << 13
    parts = np.zeros((-(-size // grain), count, count))

    def work(start: int, stop: int) -> None:
        slab = np.stack([row[start:stop] for row in rows])
        _square_distances(slab, parts[start // grain])

    pieces(size, work, grain)
    total = np.zeros((count, count))
    for part in parts:  # first to last element, whichever thread was faster
        total += part
    return total + total.T
