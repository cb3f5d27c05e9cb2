"""Answers of a global model to single rows, with the model kept ready between requests.

Knows TensorFlow only through `training.local`, imported when the first question arrives.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from training import data, files
from training.blobs import BlobStore
from training.canonical import canonical_json
from training.errors import InputRefused
from training.inputs import MAX_ROWS, check_rows
from training.specs import DatasetSpec, TaskConfig

WARM_MODELS = 8  # per worker child; beyond them the least recently asked one goes
_LEAST_ROWS = 16  # compiled sizes: 16, 32 ... 256 rows
_WARNINGS = 5  # at most so many in one answer
_PIXELS = (0.0, 1.0)

Float32 = npt.NDArray[np.float32]

__all__ = ["MAX_ROWS", "describe", "holdout_sample", "predict_rows", "softmax", "warm_up"]


def predict_rows(
    config: Mapping[str, Any], model_ref: str, rows: Any, blobs: BlobStore
) -> dict[str, Any]:
    """What the model says of `rows` (see training.inputs), each as it stands in the data.

    {"classes": [name], "predictions": [{"class", "index", "probabilities": [per class]}],
     "model_hash", "latency_ms" (checking, reading and computing), "warm" (was it ready before?),
     "warnings": [numbers far from all that it was trained on]}
    Raises InputRefused, BlobMissing, and BlobCorrupt when the stored bytes are not what
    `model_ref` names.
    """
    started = time.perf_counter()
    spec = TaskConfig.from_dict(config)
    dataset = data.load(spec.dataset)
    shape = dataset.x.shape[1:]
    flat = check_rows(
        _spelled(rows, spec.dataset),
        shape,
        names=feature_names(spec.dataset),
        bounds=_bounds(spec.dataset),
    )
    x = np.array(flat, dtype=np.float32).reshape(len(flat), *shape)
    logits_of, warm = _ready(spec, model_ref, blobs)
    scale = data.scaling(spec.dataset, spec.seed)
    probabilities = softmax(logits_of(x if scale is None else scale.apply(x)))
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
        "warnings": _unfamiliar(spec, x),
    }


def warm_up(config: Mapping[str, Any], model_ref: str, blobs: BlobStore) -> dict[str, Any]:
    """Makes the next prediction a warm one: {"model_hash", "seconds", "warm" (was it already?)}"""
    started = time.perf_counter()
    spec = TaskConfig.from_dict(config)
    logits_of, warm = _ready(spec, model_ref, blobs)
    if not warm:
        logits_of(np.zeros((1, *data.load(spec.dataset).x.shape[1:]), dtype=np.float32))
    seconds = round(time.perf_counter() - started, 3)
    return {"model_hash": model_ref, "seconds": seconds, "warm": warm}


def describe(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the model takes and answers, for forms and callers.

    {"kind": "image" or "table", "shape", "classes": [name], "bounds": [least, largest] or None,
     "seen": [least, largest] of all numbers in training, "holdout": count,
     "features": [{"name", "low", "high", "mean"}] (tables: as seen in training)}
    """
    spec = TaskConfig.from_dict(config)
    dataset = data.load(spec.dataset)
    split = data.split(spec.dataset, spec.seed)
    shape = dataset.x.shape[1:]
    bounds = _bounds(spec.dataset)
    features = []
    low, high, mean = _seen(spec.dataset, spec.seed)
    if len(shape) == 1:
        names = feature_names(spec.dataset)
        features = [
            {"name": name, "low": float(a), "high": float(b), "mean": float(c)}
            for name, a, b, c in zip(names, low, high, mean, strict=True)
        ]
    return {
        "kind": "table" if len(shape) == 1 else "image",
        "shape": list(shape),
        "classes": list(dataset.class_names),
        "bounds": list(bounds) if bounds else None,
        "seen": [float(low.min()), float(high.max())],
        "features": features,
        "holdout": len(split.holdout),
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
        # The shortest decimals that are the same float32: 111.8, not 111.800003.
        "row": [float(str(value)) for value in dataset.x[at].reshape(-1)],
        "label": label,
        "class": dataset.class_names[label],
        "number": number,
        "of": len(held),
    }


_MEASURED = (
    *("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity"),
    *("concave points", "symmetry", "fractal dimension"),
)
# As scikit-learn names the columns of its table (Street, Wolberg & Mangasarian 1993).
_BREAST_CANCER = (
    *(f"mean {one}" for one in _MEASURED),
    *(f"{one} error" for one in _MEASURED),
    *(f"worst {one}" for one in _MEASURED),
)


@lru_cache(maxsize=8)
def feature_names(spec: DatasetSpec) -> tuple[str, ...]:
    """Names of the columns of a table; () for images."""
    dataset = data.load(spec)
    if dataset.x.ndim != 2:
        return ()
    if spec.schema:
        return tuple(
            name
            for feature in spec.schema.features
            for name in (
                [f"{feature.name}={category}" for category in feature.categories] or [feature.name]
            )
        )
    if spec.name == "breast_cancer":
        return _BREAST_CANCER
    if spec.source and spec.source.file.endswith(".csv"):
        return files.csv_columns(files.own_file(spec.source.file))
    return tuple(f"x{number}" for number in range(dataset.x.shape[1]))


def softmax(logits: Float32) -> npt.NDArray[np.float64]:
    """Probabilities (n, classes) in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _spelled(rows: Any, spec: DatasetSpec) -> Any:
    """Named rows with each category of a private table, "smoker": "yes", as its ones and zeros."""
    categories = (
        {f.name: f.categories for f in spec.schema.features if f.categories}
        if (spec.schema)
        else {}
    )
    if not categories or not isinstance(rows, (list, tuple)):
        return rows
    return [_ones(row, categories) if isinstance(row, dict) else row for row in rows]


def _ones(row: dict[str, Any], categories: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    plain = dict(row)
    for name, known in categories.items():
        if name not in plain:
            continue
        value = plain.pop(name)
        if value not in known:
            listed = ", ".join(known[:8])
            raise InputRefused(f"{name} is {str(value)[:40]!r}, but must be one of {listed}.")
        plain |= {f"{name}={category}": float(category == value) for category in known}
    return plain


def _bounds(spec: DatasetSpec) -> tuple[float, float] | None:
    """Of the built-in images, which are 0 to 1 by construction; other data has no fixed limits."""
    return (
        _PIXELS
        if spec.source is None and spec.schema is None and len(spec.input_shape) > 1
        else None
    )


@lru_cache(maxsize=8)
def _seen(spec: DatasetSpec, seed: int) -> tuple[Float32, Float32, Float32]:
    """Least, largest and mean of each number over the training part; of private data, which is
    not here, over what is held out."""
    x = data.load(spec).x
    if not spec.is_private:
        x = x[data.split(spec, seed).training]
    return x.min(axis=0), x.max(axis=0), x.mean(axis=0)


def _unfamiliar(spec: TaskConfig, x: Float32) -> list[str]:
    """Columns of a table outside of what training saw: the answer there is a guess."""
    names = feature_names(spec.dataset)
    if not names:
        return []
    where = "what is held out" if spec.dataset.is_private else "training"
    low, high, _ = _seen(spec.dataset, spec.seed)
    places = np.argwhere((x < low) | (x > high)).tolist()
    told = [
        f"Row {row + 1}: {names[column]} is {x[row, column]:g}, but {where} has "
        f"{low[column]:g} to {high[column]:g}."
        for row, column in places[:_WARNINGS]
    ]
    if len(places) > _WARNINGS:
        told.append(f"{len(places) - _WARNINGS} more numbers lie outside of what {where} has.")
    return told


def _ready(
    spec: TaskConfig, model_ref: str, blobs: BlobStore
) -> tuple[Callable[[Float32], Float32], bool]:
    before = _warm.cache_info().misses
    logits_of = _warm(canonical_json(spec.to_dict()), model_ref, blobs)
    return logits_of, _warm.cache_info().misses == before


@lru_cache(maxsize=WARM_MODELS)
def _warm(config: bytes, model_ref: str, blobs: BlobStore) -> Callable[[Float32], Float32]:
    """The bytes are checked against their hash here; afterwards only memory is read."""
    from training import local

    spec = TaskConfig.from_dict(json.loads(config))
    return local.predictor(spec, blobs.open_weights(model_ref), least=_LEAST_ROWS)
