"""Canonical bytes, hashes and the small checks that specs and jobs share. Pure."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from eth_hash.auto import keccak

from training.errors import SpecError

Buffer = bytes | bytearray | memoryview | mmap.mmap
MAX_SAMPLES = 2**32 - 1  # the contract keeps samples in 32 bits

_HASH = re.compile(r"0x[0-9a-f]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def canonical_json(value: Any) -> bytes:
    """The one byte string for `value` (JSON types only; NaN and infinity raise ValueError)."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def keccak_hex(data: Buffer) -> str:
    """keccak256 as 0x and 64 lower-case hex digits."""
    return "0x" + keccak(bytes(data)).hex()


def update_hash(participant: str, task_id: int, round: int, content_hash: str) -> str:
    """keccak256(abi.encode(participant, taskId, round, contentHash)), as FLCoordinator has it.

    Binding the sender makes a copied update worthless: the same bytes submitted by somebody
    else hash differently.
    """
    check_address("participant", participant)
    check_hash("content_hash", content_hash)
    check_range("task_id", task_id, 0, 2**256 - 1)
    check_range("round", round, 0, 2**16 - 1)
    return keccak_hex(
        bytes(12)
        + bytes.fromhex(participant[2:])
        + task_id.to_bytes(32, "big")
        + round.to_bytes(32, "big")
        + bytes.fromhex(content_hash[2:])
    )


def set_field(target: Any, name: str, value: Any) -> None:
    object.__setattr__(target, name, value)  # only from __post_init__ of frozen dataclasses


def known(cls: Any, prefix: str, data: Any) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise SpecError(prefix.rstrip(".") or "config", data, "an object", "See TaskConfig.")
    names = [item.name for item in fields(cls)]
    for name in data:
        if name not in names:
            raise SpecError(
                f"{prefix}{name}", data[name], "one of " + ", ".join(names), "Remove it."
            )
    return dict(data)


def check_range(name: str, value: Any, minimum: int, maximum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise SpecError(
            name, value, f"a whole number from {minimum} to {maximum}", "Check who made this job."
        )


def check_hash(name: str, value: Any) -> None:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise SpecError(
            name, value, "0x and 64 lower-case hex digits", "Use keccak256 of the blob's bytes."
        )


def check_address(name: str, value: Any) -> None:
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise SpecError(name, value, "0x and 40 hex digits", "Use an Ethereum address.")
