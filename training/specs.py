"""Task configurations, the jobs made of them, and their results.

Frozen dataclasses that check themselves. Pure: no Django, Celery, web3 or TensorFlow.

The configuration hash is keccak256 of the canonical JSON: keys sorted, no spaces, UTF-8,
integers and strings plain, floats in Python's shortest `repr`. Everyone who can fetch the
configuration can recompute the hash that the contract holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self, TypeVar

from training.architecture import count_weights
from training.canonical import (
    canonical_json,
    check_range,
    keccak_hex,
    known,
    set_field,
    update_hash,
)
from training.choices import (
    ALGORITHMS,
    DATASETS,
    HOLDOUT,
    LOCAL_PARAMETERS,
    MODELS,
    OPTIMIZERS,
    PARTITIONS,
    PRIVACY,
    REWARD_MODES,
    SCORINGS,
    TASK_PARAMETERS,
    Choice,
    DatasetChoice,
    ModelChoice,
    Parameter,
)
from training.errors import SpecError
from training.jobs import AggregateJob, AggregateResult, TrainJob, TrainResult, UpdateRef
from training.schema import DataSchema, Feature

__all__ = [
    "ALGORITHMS",
    "DATASETS",
    "HOLDOUT",
    "LOCAL_PARAMETERS",
    "MODELS",
    "OPTIMIZERS",
    "PARTITIONS",
    "PRIVACY",
    "REWARD_MODES",
    "SCORINGS",
    "TASK_PARAMETERS",
    "AggregateJob",
    "AggregateResult",
    "AlgorithmSpec",
    "Choice",
    "DataSchema",
    "DatasetChoice",
    "DatasetSpec",
    "Feature",
    "LocalSpec",
    "ModelChoice",
    "ModelSpec",
    "OwnData",
    "Parameter",
    "PrivacySpec",
    "TaskConfig",
    "TrainJob",
    "TrainResult",
    "UpdateRef",
    "canonical_json",
    "keccak_hex",
    "update_hash",
]

CONFIG_VERSION = 1
EXACT_SHAPLEY = 10  # participants: 1,024 models to average and evaluate
_ChoiceT = TypeVar("_ChoiceT", bound=Choice)

_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_. -]{0,120}\.(csv|npz)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SALT = re.compile(r"[0-9A-Za-z_.:-]{0,128}")
_PARTITION_PARAMETERS = {
    parameter.name: parameter for choice in PARTITIONS.values() for parameter in choice.parameters
}
_LOCAL = {parameter.name: parameter for parameter in LOCAL_PARAMETERS}
_TASK = {parameter.name: parameter for parameter in TASK_PARAMETERS}


@dataclass(frozen=True)
class OwnData:
    """One's own CSV or NPZ file, as `training.files.describe` gives it.

    The configuration, and so its hash, says all of it: who has another file notices.
    """

    file: str
    sha256: str
    samples: int
    classes: int
    input_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        prefix = "dataset.source"
        if not isinstance(self.file, str) or not _FILE.fullmatch(self.file):
            raise SpecError(
                f"{prefix}.file",
                self.file,
                "the plain name of a .csv or .npz file",
                "Leave out folders; the file is looked for in BCFL_DATA_DIR.",
            )
        if not isinstance(self.sha256, str) or not _SHA256.fullmatch(self.sha256):
            raise SpecError(
                f"{prefix}.sha256",
                self.sha256,
                "64 lower-case hex digits",
                "Hash the file's bytes.",
            )
        check_range(f"{prefix}.samples", self.samples, 2, 2_000_000)
        check_range(f"{prefix}.classes", self.classes, 2, 1000)
        if not isinstance(self.input_shape, (list, tuple)) or not 1 <= len(self.input_shape) <= 3:
            raise SpecError(
                f"{prefix}.input_shape", self.input_shape, "1 to 3 numbers", "Use x.shape[1:]."
            )
        for side in self.input_shape:
            check_range(f"{prefix}.input_shape", side, 1, 65_536)
        set_field(self, "input_shape", tuple(self.input_shape))


@dataclass(frozen=True)
class DatasetSpec:
    """Which data, how much is held out, and how the rest is dealt to the participants.

    `source` describes one's own file and belongs to the data set `own` alone, `schema` to
    `private`, where everyone brings their own. `holdout` is not used where a published test part
    or the operator's own samples are held out.

    `alpha` matters to the partitions dirichlet and quantity, `shards_per_participant` to shards.
    """

    name: str = "digits"
    partition: str = "iid"
    alpha: float = 0.5
    shards_per_participant: int = 2
    holdout: float = 0.2
    source: OwnData | None = None
    schema: DataSchema | None = None

    def __post_init__(self) -> None:
        _check_choice("dataset.name", self.name, DATASETS)
        _check_choice("dataset.partition", self.partition, PARTITIONS)
        for name in ("alpha", "shards_per_participant"):
            set_field(
                self,
                name,
                _PARTITION_PARAMETERS[name].check(f"dataset.{name}", getattr(self, name)),
            )
        set_field(self, "holdout", HOLDOUT.check("dataset.holdout", self.holdout))
        if (self.name == "own") != isinstance(self.source, OwnData):
            raise SpecError(
                "dataset.source",
                self.source,
                "the description of a file for the data set own, and absent for others",
                "Use training.files.describe(path), or choose another data set.",
            )
        if self.is_private != isinstance(self.schema, DataSchema):
            raise SpecError(
                "dataset.schema",
                self.schema,
                "the description of the columns for the data set private, and absent for others",
                "See docs/three-hospitals.md, or choose another data set.",
            )

    @property
    def is_private(self) -> bool:
        """Everyone trains on a file of their own; only the held-out samples are known."""
        return self.name == "private"

    @property
    def samples(self) -> int:
        if self.schema:
            return self.schema.evaluation_samples
        return self.source.samples if self.source else DATASETS[self.name].samples

    @property
    def classes(self) -> int:
        if self.schema:
            return len(self.schema.classes)
        return self.source.classes if self.source else DATASETS[self.name].classes

    @property
    def input_shape(self) -> tuple[int, ...]:
        if self.schema:
            return (self.schema.width,)
        return self.source.input_shape if self.source else DATASETS[self.name].input_shape

    @property
    def training_samples(self) -> int:
        """About how many are left for the participants (the exact cut is made per class).

        0 for private data: nobody knows how many the participants have.
        """
        if self.schema:
            return 0
        test = DATASETS[self.name].test_samples
        return self.samples - (test or int(self.samples * self.holdout))


@dataclass(frozen=True)
class ModelSpec:
    """An architecture by name; `params` as `MODELS[name].parameters` allow, defaults filled in."""

    name: str = "mlp"
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        choice = _check_choice("model.name", self.name, MODELS)
        set_field(self, "params", choice.check_params("model.params", self.params))


@dataclass(frozen=True)
class AlgorithmSpec:
    """How updates become the next global model; `params` as `ALGORITHMS[name]` allows."""

    name: str = "fedavg"
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        choice = _check_choice("algorithm.name", self.name, ALGORITHMS)
        set_field(self, "params", choice.check_params("algorithm.params", self.params))


@dataclass(frozen=True)
class PrivacySpec:
    """What each participant does to hide its data; `params` as `PRIVACY[name]` allows."""

    name: str = "none"
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        choice = _check_choice("privacy.name", self.name, PRIVACY)
        set_field(self, "params", choice.check_params("privacy.params", self.params))

    @property
    def noisy(self) -> bool:
        return self.name == "gaussian"


@dataclass(frozen=True)
class LocalSpec:
    """What each participant does with its own samples in a round."""

    epochs: int = _LOCAL["epochs"].default
    batch_size: int = _LOCAL["batch_size"].default
    learning_rate: float = _LOCAL["learning_rate"].default
    optimizer: str = _LOCAL["optimizer"].default
    momentum: float = _LOCAL["momentum"].default

    def __post_init__(self) -> None:
        for name, parameter in _LOCAL.items():
            set_field(self, name, parameter.check(f"local.{name}", getattr(self, name)))


@dataclass(frozen=True)
class TaskConfig:
    """All of what a task trains. Its hash is on chain; money and deadlines are not in here.

    `salt` only tells two otherwise equal tasks apart (it changes the hash, never the training);
    `participants` is the number of shares, so the largest number of members.
    """

    dataset: DatasetSpec = field(default_factory=DatasetSpec)
    model: ModelSpec = field(default_factory=ModelSpec)
    algorithm: AlgorithmSpec = field(default_factory=AlgorithmSpec)
    local: LocalSpec = field(default_factory=LocalSpec)
    scoring: str = "accuracy"
    reward_mode: str = "score"
    participants: int = _TASK["participants"].default
    rounds: int = _TASK["rounds"].default
    seed: int = _TASK["seed"].default
    salt: str = ""
    version: int = CONFIG_VERSION
    scoring_params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    privacy: PrivacySpec = field(default_factory=PrivacySpec)

    def __post_init__(self) -> None:
        if self.version != CONFIG_VERSION or isinstance(self.version, bool):
            raise SpecError(
                "version",
                self.version,
                f"{CONFIG_VERSION}",
                "Upgrade, or write it in that version.",
            )
        if not isinstance(self.salt, str) or not _SALT.fullmatch(self.salt):
            raise SpecError(
                "salt",
                self.salt,
                "up to 128 of the characters 0-9 A-Z a-z _ . : -",
                "Hex digits do well.",
            )
        scoring = _check_choice("scoring", self.scoring, SCORINGS)
        params = scoring.check_params("scoring_params", self.scoring_params)
        set_field(self, "scoring_params", params)
        _check_choice("reward_mode", self.reward_mode, REWARD_MODES)
        for name, parameter in _TASK.items():
            set_field(self, name, parameter.check(name, getattr(self, name)))
        self._check_together()

    def _check_together(self) -> None:
        data = self.dataset
        if MODELS[self.model.name].image_only and len(data.input_shape) < 2:
            raise SpecError(
                "model.name",
                self.model.name,
                f"a model for rows of {data.input_shape[0]} numbers, as {data.name} has",
                "Use mlp or logistic, or a data set of images.",
            )
        name = "stages" if self.model.name == "resnet" else "filters"
        blocks = len(self.model.params.get(name, ())) - (self.model.name == "resnet")
        if MODELS[self.model.name].image_only and min(data.input_shape[:2]) >> blocks == 0:
            raise SpecError(
                f"model.params.{name}",
                list(self.model.params[name]),
                f"fewer blocks: {blocks} halvings of {data.input_shape[0]} × "
                f"{data.input_shape[1]} pixels leave nothing",
                "Remove the last block.",
            )
        if self.model.name == "layers":
            count_weights(
                "model.params.layers", self.model.params["layers"], data.input_shape, data.classes
            )
        if data.is_private:
            self._check_rules()
            return
        training_samples = data.training_samples
        if self.participants > training_samples:
            raise SpecError(
                "participants",
                self.participants,
                f"at most {training_samples}, the training samples of {data.name}",
                "Use fewer participants or hold out less.",
            )
        shards = self.participants * self.dataset.shards_per_participant
        if self.dataset.partition == "shards" and shards > training_samples:
            raise SpecError(
                "dataset.shards_per_participant",
                self.dataset.shards_per_participant,
                f"at most {training_samples // self.participants} for {self.participants} "
                f"participants and {training_samples} training samples",
                "Use fewer shards or fewer participants.",
            )
        self._check_rules()

    def _check_rules(self) -> None:
        if self.scoring == "shapley" and self.participants > EXACT_SHAPLEY:
            raise SpecError(
                "scoring",
                self.scoring,
                f"for at most {EXACT_SHAPLEY} participants, and there are {self.participants}",
                "Use shapley_sampled.",
            )
        delta = self.privacy.params.get("delta", 0.0)
        if delta * self.participants >= 1:
            raise SpecError(
                "privacy.params.delta",
                delta,
                f"below 1 ÷ {self.participants} participants",
                "1e-5 suits up to some 10,000.",
            )
        liars = self.algorithm.params.get("liars", 0.0)
        bad = int(liars * self.participants + 1e-9)
        if "liars" in self.algorithm.params and self.participants < 2 * bad + 3:
            raise SpecError(
                "algorithm.params.liars",
                liars,
                f"at most {max(0, (self.participants - 3) // 2)} of {self.participants} "
                f"participants for {self.algorithm.name} (n ≥ 2f + 3)",
                "Use fewer liars, more participants or median.",
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` takes it back.

        What came after the first configurations appears only where it says something, so that
        theirs keep their hashes.
        """
        plain = asdict(self)
        for parameter in SCORINGS[self.scoring].parameters:
            if parameter.quiet and self.scoring_params[parameter.name] == parameter.default:
                del plain["scoring_params"][parameter.name]
        if not plain["scoring_params"]:
            del plain["scoring_params"]
        for name in ("source", "schema"):
            if plain["dataset"][name] is None:
                del plain["dataset"][name]
        if self.privacy.name == "none":
            del plain["privacy"]
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Checks everything; unknown names are refused, absent ones take their defaults."""
        values = known(cls, "", data)
        dataset = values.get("dataset")
        if isinstance(dataset, Mapping) and isinstance(dataset.get("source"), Mapping):
            values["dataset"] = {**dataset, "source": _own_data(dataset["source"])}
        elif isinstance(dataset, Mapping) and isinstance(dataset.get("schema"), Mapping):
            values["dataset"] = {**dataset, "schema": DataSchema.from_dict(dataset["schema"])}
        for name, kind in (
            ("dataset", DatasetSpec),
            ("model", ModelSpec),
            ("algorithm", AlgorithmSpec),
            ("local", LocalSpec),
            ("privacy", PrivacySpec),
        ):
            if name in values and not isinstance(values[name], kind):
                values[name] = kind(**known(kind, f"{name}.", values[name]))
        return cls(**values)

    def canonical_bytes(self) -> bytes:
        return canonical_json(self.to_dict())

    def hash(self) -> str:
        """The contract's configHash."""
        return keccak_hex(self.canonical_bytes())


def _own_data(data: Mapping[str, Any]) -> OwnData:
    values = known(OwnData, "dataset.source.", data)
    for item in fields(OwnData):
        if item.name not in values:
            raise SpecError(
                f"dataset.source.{item.name}", None, "given", "Use training.files.describe(path)."
            )
    return OwnData(**values)


def _check_choice(name: str, value: Any, table: Mapping[str, _ChoiceT]) -> _ChoiceT:
    if not isinstance(value, str) or value not in table:
        raise SpecError(name, value, "one of " + ", ".join(table), "Choose one of these.")
    return table[value]
