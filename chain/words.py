"""Event arguments that are single words, read straight from the hex. Pure.

Most events carry only integers, addresses and hashes, and reading those from the text a node
sends is some ten times faster than the general decoder. Whatever is not in canonical form gives
None, and the general decoder judges it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

Quick = Callable[[Sequence[str], str], dict[str, Any] | None]
Reader = Callable[[str], Any]  # 64 hex digits to a value; None: not canonical
_WORD = 64
_UINT = re.compile(r"uint(\d+)")


def quick_decoder(
    parameters: Sequence[tuple[str, str, bool]], checksum: Callable[[str], str]
) -> Quick | None:
    """A function from (topics, data), both 0x-hex, to arguments by name.

    `parameters`: (name, type, indexed) as declared. None when a type is not a single word; a
    last parameter of type `bytes` is read too.
    """
    readers: list[tuple[str, bool, int, Reader]] = []  # name, from a topic?, position, reader
    topic, word, tail = 1, 0, ""
    for place, (name, kind, indexed) in enumerate(parameters):
        if kind == "bytes" and not indexed and place == len(parameters) - 1:
            tail = name
            continue
        reader = _reader(kind, checksum)
        if reader is None:
            return None
        readers.append((name, indexed, topic if indexed else 2 + _WORD * word, reader))
        if indexed:
            topic += 1
        else:
            word += 1
    head = 2 + _WORD * word  # characters before the tail

    def decode(topics: Sequence[str], data: str) -> dict[str, Any] | None:
        if len(topics) != topic or (not tail and len(data) != head):
            return None
        values: dict[str, Any] = {}
        for name, indexed, position, reader in readers:
            text = topics[position][2:] if indexed else data[position : position + _WORD]
            value = reader(text) if len(text) == _WORD else None
            if value is None:
                return None
            values[name] = value
        if tail:
            content = _bytes(data, head)
            if content is None:
                return None
            values[tail] = content
        return values

    return decode


def _bytes(data: str, head: int) -> str | None:
    """The one dynamic value, its offset at `head` and itself right behind it."""
    start = head + 2 * _WORD
    if len(data) < start or int(data[head : head + _WORD], 16) * 2 != head + _WORD - 2:
        return None
    end = start + 2 * int(data[head + _WORD : start], 16)
    padded = start + -(-(end - start) // _WORD) * _WORD
    if len(data) != padded or data[end:].strip("0"):
        return None
    return "0x" + data[start:end].lower()


def _reader(kind: str, checksum: Callable[[str], str]) -> Reader | None:
    if kind == "address":
        return lambda text: checksum("0x" + text[24:]) if text.startswith("0" * 24) else None
    if kind == "bytes32":
        return lambda text: "0x" + text.lower()
    if kind == "bool":
        return lambda text: {0: False, 1: True}.get(int(text, 16))
    found = _UINT.fullmatch(kind)
    if found is None:
        return None
    limit = 1 << int(found[1])

    def unsigned(text: str) -> int | None:
        value = int(text, 16)
        return value if value < limit else None

    return unsigned
