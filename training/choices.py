"""What a task may choose from: one table per kind of choice.

The web form, the command line and the checks in `training.specs` all read these tables, so
an option is offered exactly when it works. Pure: no Django, Celery, web3 or TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from training.errors import SpecError

ParameterKind = Literal["int", "float", "ints", "choice"]


@dataclass(frozen=True)
class Parameter:
    """One number (or list, or word) that belongs to a choice, with its bounds (inclusive)."""

    name: str
    label: str
    help: str
    kind: ParameterKind
    default: Any
    minimum: float | None = None
    maximum: float | None = None
    max_items: int = 0  # kind "ints": how many at most
    options: tuple[str, ...] = ()  # kind "choice"
    unit: str = ""

    @property
    def limit(self) -> str:
        """The bounds in words, as error messages and form hints show them."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.options)
        number = "a number" if self.kind == "float" else "a whole number"
        between = f"{number} from {_plain(self.minimum)} to {_plain(self.maximum)}"
        if self.kind == "ints":
            return f"a list of 1 to {self.max_items} values, each {between}"
        return between

    def check(self, field: str, value: Any) -> Any:
        """`value` in its one canonical type, so that 1 and 1.0 hash alike; SpecError if bad."""
        if self.kind == "choice":
            if not isinstance(value, str) or value not in self.options:
                raise self._error(field, value)
            return value
        if self.kind == "ints":
            if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= self.max_items:
                raise self._error(field, value)
            return [self._number(field, item) for item in value]
        return self._number(field, value)

    def _number(self, field: str, value: Any) -> int | float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._error(field, value)
        if not math.isfinite(value):
            raise self._error(field, value)
        number: int | float
        if self.kind == "float":
            number = float(value) + 0.0  # -0.0 and 0.0 are one configuration
        elif float(value).is_integer():
            number = int(value)
        else:
            raise self._error(field, value)
        if (self.minimum is not None and number < self.minimum) or (
            self.maximum is not None and number > self.maximum
        ):
            raise self._error(field, value)
        return number

    def _error(self, field: str, value: Any) -> SpecError:
        return SpecError(
            field, value, self.limit, f"Leave it out to use the default, {self.default!r}."
        )


@dataclass(frozen=True)
class Choice:
    """One row of a table: a name for configurations, a label and a sentence for people."""

    name: str
    label: str
    help: str
    parameters: tuple[Parameter, ...] = ()

    def check_params(self, field: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """`params` completed with defaults, each checked; unknown names are refused."""
        if not isinstance(params, Mapping):
            raise SpecError(field, params, "an object of named parameters", "Use {} for defaults.")
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in params:
            if name not in known:
                limit = "one of " + ", ".join(known) if known else f"absent: {self.name} takes none"
                raise SpecError(f"{field}.{name}", params[name], limit, "Remove it.")
        return {
            name: parameter.check(f"{field}.{name}", params.get(name, parameter.default))
            for name, parameter in known.items()
        }


@dataclass(frozen=True)
class DatasetChoice(Choice):
    """A data set: what a form needs to know before loading it."""

    samples: int = 0
    classes: int = 0
    input_shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class ModelChoice(Choice):
    """A model; `image_only` ones need an input of height × width (× channels)."""

    image_only: bool = False


def _plain(number: float | None) -> str:
    if number is None:
        return "any"
    return str(int(number)) if float(number).is_integer() else repr(number)


def _table(*choices: Any) -> dict[str, Any]:
    return {choice.name: choice for choice in choices}


DATASETS: dict[str, DatasetChoice] = _table(
    DatasetChoice(
        "digits",
        "Handwritten digits",
        "1,797 handwritten digits of 8 × 8 grey pixels, ten classes (UCI, with scikit-learn).",
        samples=1797,
        classes=10,
        input_shape=(8, 8),
    ),
    DatasetChoice(
        "breast_cancer",
        "Breast cancer (Wisconsin)",
        "569 tumours described by 30 measurements, benign or malignant (UCI, with scikit-learn).",
        samples=569,
        classes=2,
        input_shape=(30,),
    ),
)

PARTITIONS: dict[str, Choice] = _table(
    Choice("iid", "Even and mixed", "Everyone gets the same amount, drawn at random."),
    Choice(
        "dirichlet",
        "Uneven classes (Dirichlet)",
        "Each class is split by a Dirichlet(α) draw: the smaller α, the more one-sided the shares.",
        (
            Parameter(
                "alpha",
                "Evenness α",
                "0.1 is very uneven, 1 mild, 100 nearly even.",
                "float",
                0.5,
                0.01,
                1000.0,
            ),
        ),
    ),
    Choice(
        "shards",
        "A few classes each (shards)",
        "Samples sorted by class and dealt in equal shards, as in McMahan et al. 2017.",
        (
            Parameter(
                "shards_per_participant",
                "Shards each",
                "2 gives most participants two classes.",
                "int",
                2,
                1,
                100,
            ),
        ),
    ),
    Choice(
        "quantity",
        "Uneven amounts",
        "Everyone has all classes, but amounts follow a Dirichlet(α) draw.",
        (
            Parameter(
                "alpha",
                "Evenness α",
                "0.1 is very uneven, 1 mild, 100 nearly even.",
                "float",
                0.5,
                0.01,
                1000.0,
            ),
        ),
    ),
)

MODELS: dict[str, ModelChoice] = _table(
    ModelChoice(
        "logistic",
        "Logistic regression",
        "One linear layer: the smallest model, quick and hard to beat on tabular data.",
    ),
    ModelChoice(
        "mlp",
        "Multi-layer perceptron",
        "Fully connected layers with ReLU: a good first choice.",
        (
            Parameter(
                "hidden",
                "Hidden layers",
                "Units of each hidden layer, first to last.",
                "ints",
                [64],
                1,
                4096,
                max_items=8,
                unit="units",
            ),
        ),
    ),
    ModelChoice(
        "cnn",
        "Small convolutional network",
        "LeNet-like: blocks of convolution and pooling, then one dense layer. For images.",
        (
            Parameter(
                "filters",
                "Filters",
                "Filters of each convolution block; every block halves the picture.",
                "ints",
                [8, 16],
                1,
                256,
                max_items=4,
                unit="filters",
            ),
            Parameter("kernel", "Kernel", "Side of the filters.", "int", 3, 1, 7, unit="pixels"),
            Parameter(
                "dense", "Dense layer", "Units before the output.", "int", 64, 1, 4096, unit="units"
            ),
        ),
        image_only=True,
    ),
)

# The norm bound belongs to every algorithm: it is what keeps one huge update from deciding all.
_NORM_BOUND = Parameter(
    "norm_bound",
    "Largest update",
    "Updates further than this (L2) from the global model are rejected.",
    "float",
    100.0,
    0.001,
    1e6,
)

ALGORITHMS: dict[str, Choice] = _table(
    Choice(
        "fedavg",
        "FedAvg",
        "Averages the participants' models, weighted by their samples (McMahan et al. 2017).",
        (_NORM_BOUND,),
    ),
    Choice(
        "fedsgd",
        "FedSGD",
        "One plain gradient step on all of a participant's samples per round, then averaged: "
        "local epochs, batch size and optimizer are not used (McMahan et al. 2017).",
        (_NORM_BOUND,),
    ),
    Choice(
        "fedprox",
        "FedProx",
        "FedAvg whose local training is held near the global model; for uneven data "
        "(Li et al. 2020).",
        (
            Parameter(
                "mu",
                "Pull μ",
                "Strength of the pull to the global model; 0 is FedAvg.",
                "float",
                0.01,
                0.0,
                10.0,
            ),
            _NORM_BOUND,
        ),
    ),
    Choice(
        "median",
        "Coordinate median",
        "Takes the middle value of each weight, so fewer than half can lie; samples do not "
        "count (Yin et al. 2018).",
        (_NORM_BOUND,),
    ),
    Choice(
        "trimmed_mean",
        "Trimmed mean",
        "Drops the highest and lowest values of each weight, then averages; samples do not "
        "count (Yin et al. 2018).",
        (
            Parameter(
                "trim",
                "Trim",
                "Share of the updates dropped at each end, rounded down.",
                "float",
                0.2,
                0.0,
                0.49,
            ),
            _NORM_BOUND,
        ),
    ),
)

OPTIMIZERS: dict[str, Choice] = _table(
    Choice("adam", "Adam", "Adapts the step per weight; needs little tuning."),
    Choice("sgd", "SGD", "Plain gradient steps, with momentum if wanted."),
)

SCORINGS: dict[str, Choice] = _table(
    Choice(
        "accuracy",
        "Accuracy",
        "Each update is scored by its own accuracy on the held-out samples; one evaluation each.",
    ),
)

REWARD_MODES: dict[str, Choice] = _table(
    Choice("score", "By score", "The round's reward is split in proportion to the scores."),
    Choice("samples", "By samples", "Split in proportion to the samples each trained on."),
    Choice("equal", "Equally", "Everyone whose update was accepted earns the same."),
)

HOLDOUT = Parameter(
    "holdout",
    "Held out",
    "Share of the samples nobody trains on, kept to measure accuracy.",
    "float",
    0.2,
    0.05,
    0.5,
)

LOCAL_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "epochs",
        "Local epochs",
        "Passes over a participant's own samples per round.",
        "int",
        5,
        1,
        100,
    ),
    Parameter(
        "batch_size", "Batch size", "Samples per gradient step.", "int", 16, 1, 4096, unit="samples"
    ),
    Parameter("learning_rate", "Learning rate", "Length of a step.", "float", 0.005, 1e-6, 10.0),
    Parameter(
        "optimizer",
        "Optimizer",
        "How a gradient becomes a step; its state starts fresh in every round.",
        "choice",
        "adam",
        options=tuple(OPTIMIZERS),
    ),
    Parameter("momentum", "Momentum", "For SGD only; Adam ignores it.", "float", 0.0, 0.0, 0.999),
)

TASK_PARAMETERS: tuple[Parameter, ...] = (
    Parameter("participants", "Participants", "Shares the data is split into.", "int", 5, 1, 1000),
    Parameter("rounds", "Rounds", "Server rounds until the task completes.", "int", 5, 1, 1000),
    Parameter(
        "seed",
        "Seed",
        "Everything random follows from it: the same seed gives the same model hashes.",
        "int",
        1,
        0,
        2**53 - 1,
    ),
)
