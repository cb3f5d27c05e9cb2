"""The columns of private data as people write them, one a line, and back. Pure.

    age: whole number from 0 to 120, center 50, scale 20
    size: number from 0
    side: left | right

A name alone is a number. What these lines cannot say (a colon in a name) is JSON, as in
docs/three-hospitals.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from training.canonical import keccak_hex
from training.errors import SpecError
from training.parameters import plain
from training.schema import DataSchema, Feature

EXAMPLE = "age: whole number from 0 to 120, center 50, scale 20"
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_LINE = re.compile(
    rf"(?P<kind>number|whole number|integer)(?:\s+from\s+(?P<minimum>{_NUMBER}))?"
    rf"(?:\s+to\s+(?P<maximum>{_NUMBER}))?(?:\s*,\s*center\s+(?P<center>{_NUMBER}))?"
    rf"(?:\s*,\s*scale\s+(?P<scale>{_NUMBER}))?"
)


def columns_read(text: str) -> list[Feature]:
    """Raises ValueError, whose text names the line and what may stand there."""
    if text.lstrip().startswith("["):
        return _from_json(text)
    features = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            features.append(_column(number, line.strip()))
    return features


def columns_text(features: Iterable[Feature]) -> str:
    """Lines where they say it all, JSON otherwise."""
    features = tuple(features)
    text = "\n".join(map(_line, features))
    try:
        told = tuple(columns_read(text)) == features
    except ValueError:
        told = False
    return text if told else json.dumps([_plain(feature) for feature in features], indent=1)


def names_read(text: str) -> list[str]:
    """Names one a line, or on one line parted by commas."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) == 1:
        lines = [part.strip() for part in lines[0].split(",")]
    return [line for line in lines if line]


def names_text(names: Sequence[str]) -> str:
    return "\n".join(names) if any("," in name for name in names) else ", ".join(names)


def fits(features: Iterable[Feature], label: str, classes: Sequence[str]) -> str:
    """A mark of everything that the held-out samples were read with: other columns, ranges or
    classes need them read again. The scaling does not: it is applied later."""
    columns = [
        {name: value for name, value in _plain(f).items() if name not in ("center", "scale")}
        for f in features
    ]
    told = json.dumps([columns, label, list(classes)], sort_keys=True)
    return keccak_hex(told.encode())


def schema_fields(schema: DataSchema, *, file: str = "") -> dict[str, str]:
    """A schema as the wizard's fields show it. ``file``: where the held-out samples came from."""
    held_out = {
        "hash": schema.evaluation,
        "samples": schema.evaluation_samples,
        "file": file,
        "fits": fits(schema.features, schema.label, schema.classes),
    }
    return {
        "private__columns": columns_text(schema.features),
        "private__label": schema.label,
        "private__classes": names_text(schema.classes),
        "private__held_out": json.dumps(held_out),
    }


def held_out(text: str) -> dict[str, Any] | None:
    """What a draft says of its held-out samples: hash, samples, file, fits."""
    try:
        told = json.loads(text)
    except ValueError:
        return None
    names = {"hash": str, "samples": int, "file": str, "fits": str}
    fine = isinstance(told, dict) and all(isinstance(told.get(n), k) for n, k in names.items())
    return told if fine else None


def _column(number: int, line: str) -> Feature:
    name, colon, rest = (part.strip() for part in line.partition(":"))
    try:
        if not colon:
            return Feature(name)
        if "|" in rest:
            values = tuple(part.strip() for part in rest.split("|") if part.strip())
            return Feature(name, kind="category", categories=values)
        found = _LINE.fullmatch(rest)
        if found is None:
            raise ValueError(
                f"Line {number}, “{line[:60]}”: after the name stands a number, a whole number, or "
                f"the values parted by |. Write it like “{EXAMPLE}” or “side: left | right”."
            )
        given: dict[str, Any] = {
            key: float(value)
            for key, value in found.groupdict().items()
            if value is not None and key != "kind"
        }
        kind = "number" if found["kind"] == "number" else "integer"
        return Feature(name, kind=kind, **given)
    except SpecError as error:
        raise ValueError(f"Line {number}, “{line[:60]}”: {error}") from None


def _from_json(text: str) -> list[Feature]:
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"Line {error.lineno}, column {error.colno}: {error.msg}. Columns that begin with [ "
            "are read as JSON."
        ) from None
    except RecursionError:
        raise ValueError("The JSON is nested too deeply. Columns are a flat list.") from None
    features = []
    for number, item in enumerate(given, start=1):
        if not isinstance(item, Mapping) or item.keys() - Feature.__dataclass_fields__.keys():
            raise ValueError(
                f"Column {number} is no JSON object of {', '.join(Feature.__dataclass_fields__)}."
            )
        try:
            features.append(Feature(**item))
        except (SpecError, TypeError) as error:
            raise ValueError(f"Column {number}: {error}") from None
    return features


def _line(feature: Feature) -> str:
    if feature.categories:
        values = " | ".join(feature.categories)
        return f"{feature.name}: {values}" + (" |" if len(feature.categories) == 1 else "")
    text = f"{feature.name}: " + ("whole number" if feature.kind == "integer" else "number")
    if feature.minimum is not None:
        text += f" from {plain(feature.minimum)}"
    if feature.maximum is not None:
        text += f" to {plain(feature.maximum)}"
    if feature.center != 0:
        text += f", center {plain(feature.center)}"
    return text if feature.scale == 1 else f"{text}, scale {plain(feature.scale)}"


def _plain(feature: Feature) -> dict[str, Any]:
    told: dict[str, Any] = {"name": feature.name, "kind": feature.kind}
    for name in ("minimum", "maximum"):
        if getattr(feature, name) is not None:
            told[name] = getattr(feature, name)
    if feature.categories:
        return told | {"categories": list(feature.categories)}
    return told | {"center": feature.center, "scale": feature.scale}
