"""From the JSON of the API to frozen dataclasses, by their type hints.

Fields that this version does not know are left out, so a newer console can be read.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from bcfl_client.errors import ClientError

T = TypeVar("T")


def read(kind: type[T], data: Any) -> T:
    """`data` as a `kind`. Raises ClientError when a field is missing or is something else."""
    try:
        return _read(kind, data)
    except (TypeError, ValueError, KeyError) as error:
        raise ClientError(
            f"The console's answer is no {kind.__name__}: {error}. Is it older than this client?"
        ) from error


def _read(kind: Any, data: Any) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if data is None:
            return None
        return _read(next(a for a in get_args(kind) if a is not type(None)), data)
    if origin in (tuple, Sequence):
        inner = get_args(kind)[0]
        return tuple(_read(inner, item) for item in data)
    if kind is Any or origin is not None:
        return data
    if kind is int:
        return int(data)  # sums of money come as text
    if kind is float:
        return float(data)
    if kind is datetime:
        return datetime.fromisoformat(data)
    if is_dataclass(kind):
        return _dataclass(kind, data)
    return data


def _dataclass(kind: Any, data: Mapping[str, Any]) -> Any:
    values = {}
    for name, (hint, required) in _hints(kind).items():
        if name in data:
            values[name] = _read(hint, data[name])
        elif required:
            raise KeyError(f"{name} is missing")
    return kind(**values)


@lru_cache(maxsize=64)
def _hints(kind: Any) -> dict[str, tuple[Any, bool]]:
    hints = get_type_hints(kind)
    return {
        f.name: (hints[f.name], f.default is MISSING and f.default_factory is MISSING)
        for f in fields(kind)
    }
