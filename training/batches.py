"""Which samples a local training takes in which step. Pure NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.specs import LocalSpec

Indices = npt.NDArray[np.int64]

# Schedules are padded to a power of two of steps, and to no fewer than this many numbers in all:
# a longer training seldom needs a function of its own. 16 KiB.
_LEAST_PLACES = 1 << 12
# What is not in a resident data set is padded to a power of two of rows, at least this many.
LEAST_ROWS = 512


@dataclass(frozen=True)
class FullBatch:
    """A LocalSpec whose batch is larger than one may configure."""

    learning_rate: float
    batch_size: int = 2**31
    epochs: int = 1
    optimizer: str = "sgd"
    momentum: float = 0.0


@dataclass(frozen=True, eq=False)
class Schedule:
    """`order` int32 (steps padded, batch): the samples' places, -1 for none; `steps` of it are
    to do, the last epoch's from step `last_epoch` on."""

    order: npt.NDArray[np.int32]
    steps: int
    last_epoch: int


def schedule(rows: Indices, spec: LocalSpec | FullBatch, rng: np.random.Generator) -> Schedule:
    """For the samples in these places: a fresh permutation per epoch, whose last batch may be
    short."""
    samples = len(rows)
    batch = min(spec.batch_size, bucket(samples, LEAST_ROWS))
    per_epoch = -(-samples // batch)
    steps = spec.epochs * per_epoch
    order = np.full((bucket(steps, _LEAST_PLACES // batch), batch), -1, dtype=np.int32)
    for epoch in order[:steps].reshape(spec.epochs, per_epoch * batch):
        epoch[:samples] = rows[rng.permutation(samples)]
    return Schedule(order, steps, steps - per_epoch)


def stacked(schedules: Sequence[Schedule], width: int) -> npt.NDArray[np.int32]:
    """Their orders as int32 (width, steps padded, batch); they have the same batch."""
    first = schedules[0].order
    if width == 1:
        return first[np.newaxis]
    longest = max(len(one.order) for one in schedules)
    orders = np.full((width, longest, first.shape[1]), -1, dtype=np.int32)
    for into, one in zip(orders, schedules, strict=False):
        into[: len(one.order)] = one.order
    return orders


def bucket(count: int, least: int) -> int:
    """The next power of two that is not below `least`: so many shapes compile, and no more."""
    return 1 << (max(count, least, 1) - 1).bit_length()


def pad(array: Any, rows: int) -> Any:
    if len(array) == rows:
        return np.ascontiguousarray(array)
    filled = np.zeros((rows, *array.shape[1:]), dtype=array.dtype)
    filled[: len(array)] = array
    return filled
