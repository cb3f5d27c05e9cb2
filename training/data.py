"""Data sets, the held-out part, and who gets which samples.

Everything random is drawn from (seed, purpose), so every process sees the same split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from training import files, private
from training.blobs import BlobStore
from training.errors import DataError
from training.specs import DATASETS, DataSchema, DatasetSpec, OwnData, TaskConfig

Indices = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int32]

# Data sets of pictures in files, with the names of their classes.
IMAGES: dict[str, tuple[str, ...]] = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        *("T-shirt", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}

# First word of every seed, so that no two uses of one task seed draw the same numbers.
PURPOSE_SPLIT = 1
PURPOSE_PARTITION = 2
PURPOSE_INITIAL = 3
PURPOSE_SHUFFLE = 4
PURPOSE_SCORING = 5

FEWEST_SAMPLES = 8  # a share is topped up to this many, or to an even share if that is less


def generator(seed: int, purpose: int, *more: int) -> np.random.Generator:
    """A generator that depends on exactly these numbers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([purpose, seed, *more])))


@dataclass(frozen=True, eq=False)
class Dataset:
    """`x` float32 (n, ...), `y` int32 (n,), both read-only. `standardise`: scale the columns of
    `x` by the mean and deviation of the training part before use."""

    name: str
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int32]
    class_names: tuple[str, ...]
    standardise: bool

    @property
    def classes(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True, eq=False)
class Samples:
    """`x` float32 (n, ...) ready for the model, `y` int32 (n,)."""

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class Split:
    """Indices into the data set, each ascending; together they are all of it."""

    training: Indices
    holdout: Indices


def load(spec: DatasetSpec) -> Dataset:
    """The whole data set, from memory after the first time. Of private data, what is held out."""
    if spec.schema:
        return _load_private(spec.schema)
    return _load(spec.name, spec.source)


@lru_cache(maxsize=4)
def _load_private(schema: DataSchema) -> Dataset:
    held = private.evaluation_table(BlobStore.default().open(schema.evaluation), schema)
    held.x.flags.writeable = False
    held.y.flags.writeable = False
    return Dataset("private", held.x, held.y, schema.classes, True)


@lru_cache(maxsize=4)
def _load(name: str, source: OwnData | None) -> Dataset:
    x, y, class_names, standardise = _own(source) if source else _LOADERS[name]()
    x.flags.writeable = False
    y.flags.writeable = False
    return Dataset(name, x, y, class_names, standardise)


def labels(spec: DatasetSpec) -> Labels:
    """Class of every sample, int32 (n,), read-only. Of pictures in files the labels alone are
    read: who has what can be drawn where nobody trains."""
    return load(spec).y if spec.is_private else _labels(spec.name, spec.source)


@lru_cache(maxsize=8)
def _labels(name: str, source: OwnData | None) -> Labels:
    if name not in IMAGES:
        return _load(name, source).y
    y: Labels = files.image_labels(name).astype(np.int32)
    y.flags.writeable = False
    return y


def class_names(spec: DatasetSpec) -> tuple[str, ...]:
    return IMAGES.get(spec.name) or load(spec).class_names


def _digits() -> tuple[Any, Any, tuple[str, ...], bool]:
    table, _ = files.bundled("digits.csv.gz")
    x = np.ascontiguousarray(table[:, :-1].reshape(-1, 8, 8) / 16.0, dtype=np.float32)  # 0 to 1
    return x, table[:, -1].astype(np.int32), tuple(str(digit) for digit in range(10)), False


def _breast_cancer() -> tuple[Any, Any, tuple[str, ...], bool]:
    table, (_rows, _columns, *names) = files.bundled("breast_cancer.csv", titled=True)
    x = np.ascontiguousarray(table[:, :-1], dtype=np.float32)  # (569, 30)
    return x, table[:, -1].astype(np.int32), tuple(names), True


def _mnist() -> tuple[Any, Any, tuple[str, ...], bool]:
    return *_images("mnist"), IMAGES["mnist"], False


def _fashion_mnist() -> tuple[Any, Any, tuple[str, ...], bool]:
    return *_images("fashion_mnist"), IMAGES["fashion_mnist"], False


def _images(name: str) -> tuple[Any, Any]:
    """The test part comes last: `split` counts on it."""
    x, y, x_test, y_test = files.images(name)
    pixels = np.empty((len(x) + len(x_test), *x.shape[1:]), dtype=np.float32)  # 0 to 1
    np.divide(x, np.float32(255.0), out=pixels[: len(x)])
    np.divide(x_test, np.float32(255.0), out=pixels[len(x) :])
    return pixels, np.concatenate([y, y_test]).astype(np.int32)


def _own(source: OwnData) -> tuple[Any, Any, tuple[str, ...], bool]:
    path = files.own_file(source.file)
    found = files.describe(path)
    expected = {**asdict(source), "input_shape": list(source.input_shape)}
    for name, value in expected.items():
        if found[name] != value:
            raise DataError(
                f"{source.file} has {name} {found[name]}, but the task's configuration says "
                f"{value}. Use the file that the task was made for."
            )
    x, y = files.read_table(path)
    return x, y, tuple(str(label) for label in range(source.classes)), True


_LOADERS: dict[str, Callable[[], tuple[Any, Any, tuple[str, ...], bool]]] = {
    "digits": _digits,
    "breast_cancer": _breast_cancer,
    "mnist": _mnist,
    "fashion_mnist": _fashion_mnist,
}


@lru_cache(maxsize=32)
def split(spec: DatasetSpec, seed: int) -> Split:
    """Holds out the published test part, or the same share of every class (at least one each)."""
    y = labels(spec)
    if spec.is_private:
        return Split(np.arange(0), np.arange(len(y)))
    test = DATASETS[spec.name].test_samples
    if test:
        everyone = np.arange(len(y))
        return Split(everyone[:-test], everyone[-test:])
    rng = generator(seed, PURPOSE_SPLIT)
    held = []
    for label in range(spec.classes):
        members = rng.permutation(np.flatnonzero(y == label))
        held.append(members[: max(1, round(spec.holdout * len(members)))])
    holdout = np.sort(np.concatenate(held))
    training = np.setdiff1d(np.arange(len(y)), holdout, assume_unique=True)
    return Split(training, holdout)


@lru_cache(maxsize=32)
def _partition(spec: DatasetSpec, participants: int, seed: int) -> tuple[Indices, ...]:
    if spec.is_private:
        raise DataError(
            "The data of this task is with its participants: there are no shares to deal. Join "
            "with bcfl-agent and a file of your own."
        )
    training = split(spec, seed).training
    if participants > len(training):
        raise DataError(
            f"{participants} participants, but {spec.name} has {len(training)} training samples. "
            "Use fewer participants or hold out less."
        )
    rng = generator(seed, PURPOSE_PARTITION)
    of_training = labels(spec)[training]
    shares = _PARTITIONS[spec.partition](spec, of_training, participants, rng)
    _top_up(shares, min(FEWEST_SAMPLES, len(training) // participants))
    return tuple(np.sort(training[np.asarray(share, dtype=np.int64)]) for share in shares)


def partition(spec: DatasetSpec, participants: int, seed: int) -> list[Indices]:
    """Ascending indices into the data set for each slot; disjoint, together the training part.

    Every slot has at least FEWEST_SAMPLES samples (or an even share, if that is less): what a
    lopsided draw leaves short is topped up from the largest share.
    """
    return list(_partition(spec, participants, seed))


Shares = list[list[int]]


def _iid(spec: DatasetSpec, labels: Labels, n: int, rng: np.random.Generator) -> Shares:
    return [part.tolist() for part in np.array_split(rng.permutation(len(labels)), n)]


def _dirichlet(spec: DatasetSpec, labels: Labels, n: int, rng: np.random.Generator) -> Shares:
    """Hsu et al. 2019 (arXiv 1909.06335), class by class."""
    shares: Shares = [[] for _ in range(n)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        for slot, part in enumerate(_cut(members, rng.dirichlet(np.full(n, spec.alpha)))):
            shares[slot] += part.tolist()
    return shares


def _shards(spec: DatasetSpec, labels: Labels, n: int, rng: np.random.Generator) -> Shares:
    """McMahan et al. 2017 (arXiv 1602.05629), section 3."""
    by_class = rng.permutation(len(labels))
    by_class = by_class[np.argsort(labels[by_class], kind="stable")]
    shards = np.array_split(by_class, n * spec.shards_per_participant)
    dealt = rng.permutation(len(shards)).reshape(n, spec.shards_per_participant)
    return [np.concatenate([shards[shard] for shard in hand]).tolist() for hand in dealt]


def _quantity(spec: DatasetSpec, labels: Labels, n: int, rng: np.random.Generator) -> Shares:
    order = rng.permutation(len(labels))
    return [part.tolist() for part in _cut(order, rng.dirichlet(np.full(n, spec.alpha)))]


_PARTITIONS: dict[str, Callable[[DatasetSpec, Labels, int, np.random.Generator], Shares]] = {
    "iid": _iid,
    "dirichlet": _dirichlet,
    "shards": _shards,
    "quantity": _quantity,
}


def _cut(items: Indices, proportions: npt.NDArray[np.float64]) -> list[Indices]:
    ends = np.round(np.cumsum(proportions)[:-1] * len(items)).astype(np.int64)
    return np.split(items, ends)


def _top_up(shares: Shares, fewest: int) -> None:
    for share in shares:
        while len(share) < fewest:
            share.append(max(shares, key=len).pop())


def share(config: TaskConfig, slot: int) -> Samples:
    """The samples of one slot, ready for the model; DataError for a slot that is not there."""
    return _take(config.dataset, config.seed, places(config, slot))


def places(config: TaskConfig, slot: int) -> Indices:
    """Where a slot's samples are in `everything`; DataError for a slot that is not there."""
    if not 0 <= slot < config.participants:
        raise DataError(
            f"slot {slot}, but the task has {config.participants} shares (0 to "
            f"{config.participants - 1}). Use the participant's own slot."
        )
    return _partition(config.dataset, config.participants, config.seed)[slot]


def own_share(config: TaskConfig, table: private.Table) -> Samples:
    """A participant's own rows, ready for the model."""
    scale = scaling(config.dataset, config.seed)
    return Samples(table.x if scale is None else scale.apply(table.x), table.y)


def holdout(config: TaskConfig) -> Samples:
    """The held-out samples, ready for the model."""
    return _take(config.dataset, config.seed, split(config.dataset, config.seed).holdout)


def summary(spec: DatasetSpec, participants: int, seed: int) -> dict[str, Any]:
    """Who has what, for a picture: label counts per slot and of the held-out part.

    {"classes": [name], "slots": [{"slot", "samples", "counts": [per class]}],
     "holdout": {"samples", "counts"}}
    """
    y, names = labels(spec), class_names(spec)

    def counts(indices: Indices) -> dict[str, Any]:
        per_class = np.bincount(y[indices], minlength=len(names))
        return {"samples": len(indices), "counts": per_class.tolist()}

    return {
        "classes": list(names),
        "slots": [
            {"slot": slot, **counts(indices)}
            for slot, indices in enumerate(
                () if spec.is_private else partition(spec, participants, seed)
            )
        ],
        "holdout": counts(split(spec, seed).holdout),
    }


def _take(spec: DatasetSpec, seed: int, indices: Indices) -> Samples:
    whole = everything(spec, seed)
    return Samples(whole.x[indices], whole.y[indices])


def everything(spec: DatasetSpec, seed: int) -> Samples:
    """The whole data set, ready for the model. One object for as long as it is in memory."""
    scale = scaling(spec, seed)
    return _as_it_stands(load(spec)) if scale is None else _scaled(spec, seed)


@lru_cache(maxsize=4)
def _as_it_stands(dataset: Dataset) -> Samples:
    return Samples(dataset.x, dataset.y)


@lru_cache(maxsize=8)
def _scaled(spec: DatasetSpec, seed: int) -> Samples:
    dataset, scale = load(spec), scaling(spec, seed)
    assert scale is not None
    return Samples(scale.apply(dataset.x), dataset.y)


@dataclass(frozen=True, eq=False)
class Scaling:
    """`(x - mean) / deviation` per column; float64, the shape of one sample."""

    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]

    def apply(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        scaled: npt.NDArray[np.float32] = ((x - self.mean) / self.deviation).astype(np.float32)
        return scaled


@lru_cache(maxsize=8)
def scaling(spec: DatasetSpec, seed: int) -> Scaling | None:
    """What turns samples as they stand in the file into inputs of the model; None = nothing.

    Column statistics of the training part only: nothing of the held-out part leaks. For private
    data the schema's constants.
    """
    if spec.schema:
        return Scaling(*private.scaling(spec.schema))
    dataset = load(spec)
    if not dataset.standardise:
        return None
    training = dataset.x[split(spec, seed).training].astype(np.float64)
    deviation = training.std(axis=0)
    return Scaling(training.mean(axis=0), np.where(deviation > 0, deviation, 1.0))
