"""The kinds of choices a task has, and how a value is checked. Pure."""

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
    # Came later: left out of configurations while at its default, so that hashes hold.
    quiet: bool = False

    @property
    def limit(self) -> str:
        """The bounds in words, as error messages and form hints show them."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.options)
        number = "a number" if self.kind == "float" else "a whole number"
        between = f"{number} from {plain(self.minimum)} to {plain(self.maximum)}"
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
    """A data set: what a form needs to know before loading it.

    `test_samples` of the `samples` are a published test part, which is then what is held out.
    `from_files`: needs files that may be absent; `unavailable` says so.
    """

    samples: int = 0
    classes: int = 0
    input_shape: tuple[int, ...] = ()
    test_samples: int = 0
    from_files: bool = False

    def unavailable(self) -> str:
        """Why this data set cannot be used on this machine and what to do; "" when it can."""
        if not self.from_files:
            return ""
        from training import files

        if self.samples:
            return files.images_missing(self.name)
        return "" if files.data_dir() else "BCFL_DATA_DIR is not set. Set it to a folder of files."


@dataclass(frozen=True)
class ModelChoice(Choice):
    """A model; `image_only` ones need an input of height × width (× channels)."""

    image_only: bool = False


def plain(number: float | None) -> str:
    if number is None:
        return "any"
    return str(int(number)) if float(number).is_integer() else repr(number)


def table(*choices: Any) -> dict[str, Any]:
    return {choice.name: choice for choice in choices}
