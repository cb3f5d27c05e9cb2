"""Rows that people and programs send to a model: checked, and laid flat. Pure.

A row is a flat list of numbers, a list nested as the input's shape, or (for tables) an object
from feature names to numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from training.errors import InputRefused

MAX_ROWS = 256
_FLOAT32_MAX = 3.4028234e38
_SHOWN = 3  # names in one message


def check_rows(
    rows: Any,
    shape: Sequence[int],
    *,
    names: Sequence[str] = (),
    bounds: tuple[float, float] | None = None,
) -> list[list[float]]:
    """Each row flat, with product(shape) finite numbers; InputRefused says which one is not.

    `names` of the features allow rows as objects; `bounds` are the least and the largest number.
    """
    if not isinstance(rows, (list, tuple)) or not 1 <= len(rows) <= MAX_ROWS:
        given = f"{len(rows)} rows" if isinstance(rows, (list, tuple)) else _kind(rows)
        raise InputRefused(f"rows is {given}, but must be a list of 1 to {MAX_ROWS} rows.")
    return [_row(row, f"rows[{at}]", shape, names, bounds) for at, row in enumerate(rows)]


def _row(
    row: Any,
    where: str,
    shape: Sequence[int],
    names: Sequence[str],
    bounds: tuple[float, float] | None,
) -> list[float]:
    features = math.prod(shape)
    if isinstance(row, Mapping):
        return _named(row, where, names, bounds)
    if not isinstance(row, (list, tuple)):
        raise InputRefused(f"{where} is {_kind(row)}, but must be a list of {features} numbers.")
    if len(shape) > 1 and row and isinstance(row[0], (list, tuple)):
        return _nested(row, where, shape, bounds)
    if len(row) != features:
        as_shape = f" ({' × '.join(map(str, shape))})" if len(shape) > 1 else ""
        raise InputRefused(
            f"{where} has {len(row)} numbers, but this model takes {features}{as_shape}."
        )
    return [_number(value, f"{where}[{at}]", bounds) for at, value in enumerate(row)]


def _nested(
    row: Any, where: str, shape: Sequence[int], bounds: tuple[float, float] | None
) -> list[float]:
    if not shape:
        return [_number(row, where, bounds)]
    if not isinstance(row, (list, tuple)) or len(row) != shape[0]:
        given = f"{len(row)} long" if isinstance(row, (list, tuple)) else _kind(row)
        raise InputRefused(f"{where} is {given}, but must be a list of {shape[0]}.")
    flat: list[float] = []
    for at, part in enumerate(row):
        flat += _nested(part, f"{where}[{at}]", shape[1:], bounds)
    return flat


def _named(
    row: Mapping[str, Any],
    where: str,
    names: Sequence[str],
    bounds: tuple[float, float] | None,
) -> list[float]:
    if not names:
        raise InputRefused(
            f"{where} is an object, but the inputs of this model have no names. Send a list."
        )
    unknown = [name for name in row if name not in set(names)]
    missing = [name for name in names if name not in row]
    for wrong, found in (("does not know", unknown), ("also needs", missing)):
        if found:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            listed = ", ".join(repr(name) for name in found[:_SHOWN])
            raise InputRefused(f"{where}: this model {wrong} {listed}{more}.")
    return [_number(row[name], f"{where}[{name!r}]", bounds) for name in names]


def _number(value: Any, where: str, bounds: tuple[float, float] | None) -> float:
    wanted = f"a number from {bounds[0]:g} to {bounds[1]:g}" if bounds else "a finite number"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputRefused(f"{where} is {_kind(value)}, but must be {wanted}.")
    if not -_FLOAT32_MAX <= value <= _FLOAT32_MAX or (
        bounds and not bounds[0] <= value <= bounds[1]
    ):
        raise InputRefused(f"{where} is {value:g}, but must be {wanted}.")
    return float(value)


def _kind(value: Any) -> str:
    kinds = {
        bool: "true or false",
        str: "text",
        type(None): "empty",
        int: "a number",
        float: "a number",
    }
    text = repr(value)
    told = kinds.get(type(value), "an object")
    return f"{told} ({text})" if len(text) <= 40 and value is not None else told
