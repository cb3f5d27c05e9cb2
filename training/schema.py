"""What private data must look like: columns, ranges, categories, label, fixed scaling. Pure.

The schema is part of a task's configuration, so its hash is on chain. The scaling constants are
the operator's: nobody's statistics enter the model through them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from training.canonical import check_hash, check_range, known, set_field
from training.errors import SpecError

KINDS = ("number", "integer", "category")
MAX_FEATURES = 10_000
MAX_CATEGORIES = 1_000
_NAME = re.compile(r"[^\x00-\x1f]{1,120}")


@dataclass(frozen=True)
class Feature:
    """One column. A number or integer lies in minimum ... maximum and enters the model as
    (value - center) ÷ scale; a category enters as one input for each of `categories`, 1 or 0."""

    name: str
    kind: str = "number"
    minimum: float | None = None
    maximum: float | None = None
    center: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"dataset.schema.features.{self.name}"
        _check_name("dataset.schema.features.name", self.name)
        if self.kind not in KINDS:
            raise SpecError(f"{where}.kind", self.kind, "one of " + ", ".join(KINDS), "Choose one.")
        for name in ("minimum", "maximum", "center", "scale"):
            value = getattr(self, name)
            if value is None and name in ("minimum", "maximum"):
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise SpecError(f"{where}.{name}", value, "a number", "Write it without quotes.")
            if not math.isfinite(value):
                raise SpecError(f"{where}.{name}", value, "a finite number", "Correct it.")
            set_field(self, name, float(value) + 0.0)
        if self.scale <= 0:
            raise SpecError(f"{where}.scale", self.scale, "above 0", "Use 1 for no scaling.")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise SpecError(
                f"{where}.minimum", self.minimum, f"at most {self.maximum:g}", "Swap the two."
            )
        set_field(self, "categories", _names(f"{where}.categories", self.categories))
        if (self.kind == "category") != bool(self.categories):
            raise SpecError(
                f"{where}.categories",
                list(self.categories),
                "given for kind category and absent for others",
                "List every value that may stand in the column.",
            )

    @property
    def width(self) -> int:
        """Inputs of the model that this column takes."""
        return len(self.categories) or 1

    @property
    def expected(self) -> str:
        """What may stand in a cell, for messages."""
        if self.categories:
            shown = ", ".join(self.categories[:8])
            return f"one of {shown}" + (", …" if len(self.categories) > 8 else "")
        what = "a whole number" if self.kind == "integer" else "a number"
        if self.minimum is not None and self.maximum is not None:
            return f"{what} from {self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"{what} of at least {self.minimum:g}"
        return what if self.maximum is None else f"{what} of at most {self.maximum:g}"


@dataclass(frozen=True)
class DataSchema:
    """The columns of everybody's file, and the held-out set that all evaluators measure on.

    `evaluation` is the hash of a blob that evaluators and members may read: the samples x
    float32 (n, width) as they stand in the data and y float32 (n,), see `training.private`.
    """

    features: tuple[Feature, ...]
    label: str
    classes: tuple[str, ...]
    evaluation: str
    evaluation_samples: int

    def __post_init__(self) -> None:
        if not isinstance(self.features, (list, tuple)) or not self.features:
            raise SpecError(
                "dataset.schema.features", self.features, "a list of columns", "Name at least one."
            )
        set_field(self, "features", tuple(_feature(item) for item in self.features))
        check_range("dataset.schema.features (number)", self.width, 1, MAX_FEATURES)
        _check_name("dataset.schema.label", self.label)
        set_field(self, "classes", _names("dataset.schema.classes", self.classes))
        check_range("dataset.schema.classes (number)", len(self.classes), 2, 1000)
        names = [feature.name for feature in self.features]
        twice = sorted(
            {name for name in [*names, self.label] if [*names, self.label].count(name) > 1}
        )
        if twice:
            raise SpecError(
                "dataset.schema.features", twice[0], "named once", "Rename or remove the column."
            )
        check_hash("dataset.schema.evaluation", self.evaluation)
        check_range("dataset.schema.evaluation_samples", self.evaluation_samples, 2, 2_000_000)

    @property
    def width(self) -> int:
        """Inputs of the model: one for a number, one for each value of a category."""
        return sum(feature.width for feature in self.features)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        values = known(cls, "dataset.schema.", data)
        for item in fields(cls):
            if item.name not in values:
                raise SpecError(
                    f"dataset.schema.{item.name}", None, "given", "See docs/three-hospitals.md."
                )
        return cls(**values)


def _feature(item: Any) -> Feature:
    if isinstance(item, Feature):
        return item
    return Feature(**known(Feature, "dataset.schema.features.", item))


def _check_name(field: str, value: Any) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value != value.strip():
        raise SpecError(field, value, "a text of 1 to 120 characters", "Use the column's name.")


def _names(field: str, values: Any) -> tuple[str, ...]:
    if not isinstance(values, (list, tuple)) or len(values) > MAX_CATEGORIES:
        raise SpecError(field, values, f"a list of at most {MAX_CATEGORIES} names", "List them.")
    for value in values:
        _check_name(field, value)
    if len(set(values)) != len(values):
        raise SpecError(field, list(values), "names that differ", "Remove the second one.")
    return tuple(values)
