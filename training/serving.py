"""Answers of a global model to single rows, with the model kept ready between requests.

Knows TensorFlow only through `training.local`, imported when the first question arrives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from training import data
from training.blobs import BlobStore
from training.canonical import canonical_json
from training.errors import DataError
from training.specs import TaskConfig

MAX_ROWS = 256
WARM_MODELS = 8  # per worker child; beyond them the least recently asked one goes
_LEAST_ROWS = 16  # compiled sizes: 16, 32 ... 256 rows

Float32 = npt.NDArray[np.float32]


def predict_rows(
    config: Mapping[str, Any], model_ref: str, rows: Float32, blobs: BlobStore
) -> dict[str, Any]:
    """What the model says of `rows` (n, features), n ≤ MAX_ROWS, each as it stands in the data.

    {"classes": [name], "predictions": [{"class", "index", "probabilities": [per class]}],
     "model_hash", "latency_ms" (reading and computing), "warm" (was it ready before?)}
    Raises DataError (shape), BlobMissing, and BlobCorrupt when the stored bytes are not what
    `model_ref` names.
    """
    started = time.perf_counter()
    spec = TaskConfig.from_dict(config)
    dataset = data.load(spec.dataset)
    shape = dataset.x.shape[1:]
    features = int(np.prod(shape))
    if rows.ndim != 2 or not 1 <= len(rows) <= MAX_ROWS or rows.shape[1] != features:
        raise DataError(
            f"{list(rows.shape)} numbers, but this model takes 1 to {MAX_ROWS} rows of {features}."
        )
    loaded = _warm.cache_info().misses
    logits_of = _warm(canonical_json(spec.to_dict()), model_ref, blobs)
    warm = _warm.cache_info().misses == loaded
    x = rows.reshape(len(rows), *shape)
    scale = data.scaling(spec.dataset, spec.seed)
    logits = logits_of(x if scale is None else scale.apply(x))
    probabilities = softmax(logits)
    names = list(dataset.class_names)
    return {
        "classes": names,
        "predictions": [
            {"class": names[best], "index": best, "probabilities": [round(p, 6) for p in row]}
            for best, row in zip(
                probabilities.argmax(axis=1).tolist(), probabilities.tolist(), strict=True
            )
        ],
        "model_hash": model_ref,
        "latency_ms": round(1000 * (time.perf_counter() - started), 3),
        "warm": warm,
    }


def holdout_sample(config: Mapping[str, Any], number: int) -> dict[str, Any]:
    """One held-out sample as it stands in the data; `number` counts round the held-out part.

    {"row": [feature], "label": index, "class": name, "number", "of"}
    """
    spec = TaskConfig.from_dict(config)
    dataset = data.load(spec.dataset)
    held = data.split(spec.dataset, spec.seed).holdout
    number %= len(held)
    at = int(held[number])
    label = int(dataset.y[at])
    return {
        "row": [round(float(value), 6) for value in dataset.x[at].reshape(-1)],
        "label": label,
        "class": dataset.class_names[label],
        "number": number,
        "of": len(held),
    }


def softmax(logits: Float32) -> npt.NDArray[np.float64]:
    """Probabilities (n, classes) in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@lru_cache(maxsize=WARM_MODELS)
def _warm(config: bytes, model_ref: str, blobs: BlobStore) -> Callable[[Float32], Float32]:
    """The bytes are checked against their hash here; afterwards only memory is read."""
    import json

    from training import local

    spec = TaskConfig.from_dict(json.loads(config))
    return local.predictor(spec, blobs.open_weights(model_ref), least=_LEAST_ROWS)
