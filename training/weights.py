"""Model weights as bytes: safetensors in one canonical form, so one model has one hash.

Format (https://huggingface.co/docs/safetensors): 8 bytes little-endian header length, a JSON
header, the raw tensors. Canonical here: float32 only, names sorted, tensors packed in that order
without gaps, no metadata, header padded with spaces to 8 bytes. Decoding refuses anything else,
so two different byte strings are never the same model. Never pickle.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from training.canonical import Buffer
from training.errors import BlobCorrupt, UpdateRejected

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]
Weights = Mapping[str, Float32]


MAX_HEADER_BYTES = 1 << 20  # some 10,000 tensors; refuses to parse a header made to hurt
_NAME = re.compile(r"[A-Za-z0-9_./:-]{1,200}")
_LAYOUTS = 16  # headers of models that are remembered, each of MAX_HEADER_BYTES at most
_CHUNK = 1 << 16  # elements: 512 KiB of float64, stays in the cache


def encode(weights: Weights) -> bytes:
    """Canonical bytes of float32 tensors; ValueError for another dtype or an odd name."""
    for name, tensor in weights.items():
        if tensor.dtype != np.float32:
            raise ValueError(f"tensor {name!r} is {tensor.dtype}, but weights are float32")
        if not _NAME.fullmatch(name) or name == "__metadata__":
            raise ValueError(f"tensor name {name!r} must match {_NAME.pattern}")
    names = sorted(weights)
    parts: list[Any] = [_header(tuple((name, weights[name].shape) for name in names))]
    parts += [np.ascontiguousarray(weights[name], dtype="<f4").data for name in names]
    return b"".join(parts)


def encoded_size(weights: Weights) -> int:
    """Bytes that `encode` would give; every update of one model has exactly this size."""
    names = sorted(weights)
    header = _header(tuple((name, weights[name].shape) for name in names))
    return len(header) + sum(4 * weights[name].size for name in names)


def decode(data: Buffer) -> dict[str, Float32]:
    """Read-only views into `data` (no copy), sorted by name; BlobCorrupt unless canonical."""
    entries, start = _entries(data)
    for name, dtype, _shape in entries:
        if dtype != "F32":
            raise BlobCorrupt(f"tensor {name!r} is {dtype}, but weights are F32")
    return _views(data, entries, start)


def check_update(
    data: Buffer, reference: Weights, norm_bound: float
) -> tuple[dict[str, Float32], float]:
    """The tensors of an update and its L2 distance from `reference`, the round's global model.

    Raises UpdateRejected with the reason size, format, keys, dtype, shape, finite or norm.
    Checks run cheapest first, so that a hostile blob costs little.
    """
    limit = encoded_size(reference)
    if len(data) > limit:
        raise UpdateRejected("size", f"{len(data)} bytes, but this model takes {limit}")
    try:
        entries, start = _entries(data)
        given = {name: (dtype, shape) for name, dtype, shape in entries}
        _check_layout(given, reference)
        tensors = _views(data, entries, start)
    except BlobCorrupt as error:
        raise UpdateRejected("format", str(error)) from error
    for name, tensor in tensors.items():
        if not _all_finite(tensor):
            raise UpdateRejected("finite", f"tensor {name!r} holds NaN or infinity")
    norm = distance(tensors, reference)
    if not norm <= norm_bound:
        raise UpdateRejected(
            "norm", f"{norm:.6g} from the global model (L2), but the limit is {norm_bound:g}"
        )
    return tensors, norm


def distance(left: Weights, right: Weights) -> float:
    """L2 norm of the difference, accumulated in float64."""
    total = 0.0
    for name in sorted(left):
        a, b = left[name].reshape(-1), right[name].reshape(-1)
        for at in range(0, a.size, _CHUNK):
            difference = a[at : at + _CHUNK].astype(np.float64) - b[at : at + _CHUNK]
            total += float(np.sum(difference * difference))
    return math.sqrt(total)


def _check_layout(given: Mapping[str, tuple[str, tuple[int, ...]]], reference: Weights) -> None:
    if given.keys() != reference.keys():
        missing = sorted(reference.keys() - given.keys())
        extra = sorted(given.keys() - reference.keys())
        raise UpdateRejected(
            "keys", f"missing tensors {missing[:5]}, unexpected tensors {extra[:5]}"
        )
    for name in sorted(given):
        dtype, shape = given[name]
        if dtype != "F32":
            raise UpdateRejected("dtype", f"tensor {name!r} is {dtype}, but weights are F32")
        if shape != reference[name].shape:
            raise UpdateRejected(
                "shape",
                f"tensor {name!r} is {list(shape)}, but the model has "
                f"{list(reference[name].shape)}",
            )


def _all_finite(tensor: Float32) -> bool:
    flat = tensor.reshape(-1)
    return all(
        bool(np.isfinite(flat[at : at + _CHUNK]).all()) for at in range(0, flat.size, _CHUNK)
    )


@lru_cache(maxsize=_LAYOUTS)
def _header(entries: tuple[tuple[str, tuple[int, ...]], ...]) -> bytes:
    table: dict[str, Any] = {}
    offset = 0
    for name, shape in entries:
        end = offset + 4 * math.prod(shape)
        table[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors start aligned, so views need no copy
    return len(text).to_bytes(8, "little") + text


_Entry = tuple[str, str, tuple[int, ...]]  # name, dtype, shape


def _entries(data: Buffer) -> tuple[tuple[_Entry, ...], int]:
    """(name, dtype, shape) of each tensor as the header claims, and where the tensors start."""
    size = len(data)
    if size < 8:
        raise BlobCorrupt(f"{size} bytes, but a safetensors file has at least 8")
    header_bytes = int.from_bytes(bytes(data[:8]), "little")
    if header_bytes > min(MAX_HEADER_BYTES, size - 8):
        raise BlobCorrupt(
            f"header of {header_bytes} bytes, but at most {min(MAX_HEADER_BYTES, size - 8)} fit"
        )
    return _parsed(bytes(data[8 : 8 + header_bytes])), 8 + header_bytes


@lru_cache(maxsize=_LAYOUTS)
def _parsed(header: bytes) -> tuple[_Entry, ...]:
    try:
        table = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise BlobCorrupt(f"header is not JSON: {error}") from error
    if not isinstance(table, dict):
        raise BlobCorrupt("header is not a JSON object")
    entries = []
    for name, entry in table.items():
        if not _NAME.fullmatch(name) or name == "__metadata__" or not isinstance(entry, dict):
            raise BlobCorrupt(f"header entry {name[:40]!r} is not a tensor")
        dtype, shape = entry.get("dtype"), entry.get("shape")
        if not isinstance(dtype, str) or not isinstance(shape, list):
            raise BlobCorrupt(f"tensor {name!r} has no dtype or no shape")
        if not all(type(side) is int and 0 <= side < 2**32 for side in shape):
            raise BlobCorrupt(f"tensor {name!r} has an impossible shape")
        entries.append((name, dtype, tuple(shape)))
    return tuple(entries)


def _views(data: Buffer, entries: tuple[_Entry, ...], start: int) -> dict[str, Float32]:
    canonical = _header(tuple(sorted((name, shape) for name, _dtype, shape in entries)))
    if bytes(data[:start]) != canonical:
        raise BlobCorrupt("header is not in canonical form (sorted names, packed, no metadata)")
    sizes = [math.prod(shape) for _name, _dtype, shape in entries]
    expected = start + 4 * sum(sizes)
    if len(data) != expected:
        raise BlobCorrupt(f"{len(data)} bytes, but the header promises {expected}")
    everything = np.frombuffer(data, dtype="<f4", offset=start)
    everything.flags.writeable = False
    views: dict[str, Float32] = {}
    at = 0
    for (name, _dtype, shape), size in zip(entries, sizes, strict=True):
        views[name] = everything[at : at + size].reshape(shape)
        at += size
    return views
