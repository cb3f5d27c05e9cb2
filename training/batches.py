"""Which samples a local training takes in which step. Pure NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.specs import LocalSpec

# The least sizes that a share is padded to: the small tasks that people start with all fit the
# function that a worker compiles when it starts, so their first round does not wait for another.
LEAST_ROWS = 512
LEAST_STEPS = 256


@dataclass(frozen=True)
class FullBatch:
    """A LocalSpec whose batch is larger than one may configure."""

    learning_rate: float
    batch_size: int = 2**31
    epochs: int = 1
    optimizer: str = "sgd"
    momentum: float = 0.0


def schedule(
    samples: int, padded: int, spec: LocalSpec | FullBatch, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int32], int]:
    """(steps padded, batch) sample indices, -1 for none, and the steps in an epoch.

    A fresh permutation per epoch; the last batch of an epoch may be short.
    """
    batch = min(spec.batch_size, padded)
    per_epoch = -(-samples // batch)
    order = np.full((spec.epochs, per_epoch * batch), -1, dtype=np.int32)
    for epoch in order:
        epoch[:samples] = rng.permutation(samples)
    order = order.reshape(spec.epochs * per_epoch, batch)
    return pad(order, bucket(len(order), LEAST_STEPS)), per_epoch


def bucket(count: int, least: int) -> int:
    """The next power of two: so many shapes compile, and no more."""
    return max(least, 1 << (count - 1).bit_length())


def pad(array: Any, rows: int) -> Any:
    if len(array) == rows:
        return np.ascontiguousarray(array)
    filled = np.zeros((rows, *array.shape[1:]), dtype=array.dtype)
    filled[: len(array)] = array
    return filled
