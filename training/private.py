"""A participant's own file, checked against the task's schema; nothing of it leaves the machine.

Every problem is named by line, column, what stands there and what was expected.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.canonical import Buffer, keccak_hex
from training.errors import DataError
from training.files import FLOAT32_MAX, MAX_SAMPLES, npz_arrays, read_bytes
from training.schema import DataSchema, Feature
from training.weights import decode, encode

MAX_PROBLEMS = 20
Raw = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Table:
    """`x` float32 (n, width) as it stands in the data, categories as 0 and 1; `y` int32 (n,).
    `ignored`: columns of the file that the schema does not name."""

    x: Raw
    y: Labels
    ignored: tuple[str, ...] = ()


def read(path: Path, schema: DataSchema, label: str = "") -> Table:
    """The samples of a .csv or .npz file; `label` is the label's column where it has another name.

    Raises DataError that lists up to MAX_PROBLEMS problems, one a line.
    """
    if path.suffix == ".csv":
        return _read_csv(path, schema, label or schema.label)
    if path.suffix == ".npz":
        return _read_npz(path, schema)
    raise DataError(f"{path.name} ends in {path.suffix!r}, but only .csv and .npz are read.")


def evaluation_blob(table: Table) -> bytes:
    """The held-out set as one canonical blob."""
    return encode({"x": table.x, "y": table.y.astype(np.float32)})


def evaluation_table(data: Buffer, schema: DataSchema) -> Table:
    """Raises DataError when the blob is not what the schema says."""
    tensors = decode(data)
    x, y = tensors.get("x"), tensors.get("y")
    expected = (schema.evaluation_samples, schema.width)
    if x is None or y is None or x.shape != expected or y.shape != expected[:1]:
        raise DataError(
            f"the held-out set {schema.evaluation} has {_shapes(tensors)}, but the schema says x "
            f"{list(expected)} and y [{expected[0]}]. Tell the task's operator."
        )
    labels = y.astype(np.int32)
    if not np.isfinite(x).all() or (labels != y).any() or (labels < 0).any():
        raise DataError(f"the held-out set {schema.evaluation} holds values that are no samples.")
    if int(labels.max()) >= len(schema.classes):
        raise DataError(
            f"the held-out set has class {int(labels.max())}, but the schema has "
            f"{len(schema.classes)} classes."
        )
    return Table(np.ascontiguousarray(x), labels)


def scaling(schema: DataSchema) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(center, scale) per input of the model."""
    center: list[float] = []
    scale: list[float] = []
    for feature in schema.features:
        plain = bool(feature.categories)
        center += [0.0 if plain else feature.center] * feature.width
        scale += [1.0 if plain else feature.scale] * feature.width
    return np.array(center), np.array(scale)


def describe(path: Path, label: str, classes: Sequence[str] = ()) -> tuple[DataSchema, bytes]:
    """A schema drawn from the operator's own file, and that file as the held-out set.

    Every column but the label becomes a number (its mean and deviation here are the scaling) or,
    with text in it, a category; text that differs in every row names the row and is left out.
    Ranges are left open: others may have other extremes. The result is a start; look at it before
    a task is made of it. Raises DataError.
    """
    lines = _lines(path)
    header = _header(path, lines, label)
    rows = [cells for _, cells in lines]
    at_label = header.index(label)
    found = list(classes) or sorted({row[at_label].strip() for row in rows})
    features = []
    for at, name in enumerate(header):
        if at == at_label:
            continue
        values = [row[at].strip() for row in rows if at < len(row)]
        numbers = [_float(value) for value in values]
        if all(number is not None for number in numbers):
            column = np.array(numbers, dtype=np.float64)
            deviation = float(column.std()) or 1.0
            features.append(
                Feature(
                    name,
                    center=float(f"{column.mean():.6g}"),
                    scale=float(f"{deviation:.6g}"),
                )
            )
        elif len(set(values)) < len(values):
            features.append(Feature(name, kind="category", categories=tuple(sorted(set(values)))))
    draft = DataSchema(tuple(features), label, tuple(found), "0x" + "0" * 64, 2)
    table = read(path, draft)
    blob = evaluation_blob(table)
    return replace(draft, evaluation=keccak_hex(blob), evaluation_samples=len(table.y)), blob


# --- inside ---------------------------------------------------------------------------------


class _Problems:
    def __init__(self, name: str, unit: str = "line") -> None:
        self._name, self._unit = name, unit
        self._found: list[str] = []
        self._more = 0

    def add(self, line: int, column: str, value: str, expected: str) -> None:
        if len(self._found) >= MAX_PROBLEMS:
            self._more += 1
            return
        shown = repr(value[:40]) if value else "empty"
        where = f"{self._name}, {self._unit} {line}, column {column}"
        self._found.append(f"{where}: {shown}, but expected {expected}.")

    def raise_any(self) -> None:
        if self._found:
            more = [f"… and {self._more} more."] if self._more else []
            raise DataError("\n".join([*self._found, *more]))


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name} is not UTF-8 at byte {error.start}. Save it as UTF-8."
        ) from error
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise DataError(f"{path.name}, line {reader.line_num}: {error}.") from error
    if len(lines) < 2:
        raise DataError(f"{path.name} has {len(lines)} lines, but expected column names and rows.")
    if len(lines) - 1 > MAX_SAMPLES:
        raise DataError(f"{path.name}: more than {MAX_SAMPLES} samples.")
    return lines


def _header(path: Path, lines: list[tuple[int, list[str]]], label: str) -> list[str]:
    """Takes the first line off `lines`."""
    header = [name.strip() for name in lines.pop(0)[1]]
    if label not in header:
        raise DataError(
            f"{path.name} has no column {label!r} for the label. Its columns are "
            f"{', '.join(header[:40])}. Say which of them is the label."
        )
    return header


def _read_csv(path: Path, schema: DataSchema, label: str) -> Table:
    lines = _lines(path)
    header = _header(path, lines, label)
    missing = [feature.name for feature in schema.features if feature.name not in header]
    if missing:
        raise DataError(
            f"{path.name} lacks {len(missing)} of the task's {len(schema.features)} columns: "
            f"{', '.join(missing[:10])}. It has {', '.join(header[:40])}."
        )
    at_label = header.index(label)
    places = [header.index(feature.name) for feature in schema.features]
    problems = _Problems(path.name)
    x = np.zeros((len(lines), schema.width), dtype=np.float32)
    y = np.zeros(len(lines), dtype=np.int32)
    for row, (line, cells) in enumerate(lines):
        if len(cells) != len(header):
            raise DataError(
                f"{path.name}, line {line}: {len(cells)} columns, but expected {len(header)}."
            )
        at = 0
        for feature, place in zip(schema.features, places, strict=True):
            value = cells[place].strip()
            if not _put(x[row, at : at + feature.width], feature, value):
                problems.add(line, feature.name, value, feature.expected)
            at += feature.width
        value = cells[at_label].strip()
        found = _class_of(value, schema)
        if found is None:
            problems.add(line, label, value, f"a class: {', '.join(schema.classes[:8])}")
        else:
            y[row] = found
    problems.raise_any()
    used = {*places, at_label}
    ignored = tuple(name for at, name in enumerate(header) if at not in used)
    return Table(x, y, ignored)


def _put(inputs: Raw, feature: Feature, value: str) -> bool:
    """Write a cell into its inputs; False when it does not fit the column."""
    if feature.categories:
        if value not in feature.categories:
            return False
        inputs[feature.categories.index(value)] = 1.0
        return True
    number = _float(value)
    if number is None or (feature.kind == "integer" and not number.is_integer()):
        return False
    if feature.minimum is not None and number < feature.minimum:
        return False
    if feature.maximum is not None and number > feature.maximum:
        return False
    inputs[0] = number
    return True


def _class_of(value: str, schema: DataSchema) -> int | None:
    """By name, or by number where the classes have names that are no numbers."""
    if value in schema.classes:
        return schema.classes.index(value)
    named = not any(name.isdigit() for name in schema.classes)
    if named and value.isdecimal() and int(value) < len(schema.classes):
        return int(value)
    return None


def _float(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) <= FLOAT32_MAX else None


def _read_npz(path: Path, schema: DataSchema) -> Table:
    """x (n, columns) in the schema's order, a category as its position; y (n,) class numbers."""
    arrays = npz_arrays(path)
    if "x" not in arrays or "y" not in arrays:
        raise DataError(f"{path.name} has the arrays {sorted(arrays)[:5]}, but expected x and y.")
    given, labels = arrays["x"], arrays["y"]
    expected = (len(labels), len(schema.features))
    if given.dtype.kind not in "fiub" or given.shape != expected:
        raise DataError(
            f"{path.name}: x is {given.dtype} of shape {list(given.shape)}, but expected numbers "
            f"of shape {list(expected)}: one column for each of the schema's."
        )
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or not 1 <= len(labels) <= MAX_SAMPLES:
        raise DataError(f"{path.name}: y is {labels.dtype}, but expected 1 or more whole numbers.")
    problems = _Problems(path.name, "sample")
    x = np.zeros((len(labels), schema.width), dtype=np.float32)
    for row, values in enumerate(given.tolist()):
        at = 0
        for feature, value in zip(schema.features, values, strict=True):
            text: Any = str(value)
            if feature.categories:
                known = float(value).is_integer() and 0 <= value < feature.width
                text = feature.categories[int(value)] if known else text
            if not _put(x[row, at : at + feature.width], feature, text):
                problems.add(row, feature.name, text, feature.expected)
            at += feature.width
        if not 0 <= labels[row] < len(schema.classes):
            problems.add(row, "y", str(labels[row]), f"0 to {len(schema.classes) - 1}")
    problems.raise_any()
    return Table(x, labels.astype(np.int32))


def _shapes(tensors: Any) -> str:
    return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
