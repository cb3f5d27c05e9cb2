"""The logs bloom of a block header (Yellow Paper 4.3.1). Pure.

A bloom never hides a log: an address that logged is always in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from eth_utils.crypto import keccak


@lru_cache(maxsize=65_536)
def bits(item: str) -> int:
    """The three bits of an address or topic (0x-hex), as a mask of 2048 bits."""
    digest = keccak(bytes.fromhex(item[2:]))
    mask = 0
    for i in (0, 2, 4):
        mask |= 1 << (int.from_bytes(digest[i : i + 2], "big") & 2047)
    return mask


def of_logs(logs: Iterable[tuple[str, Iterable[str]]]) -> int:
    """The bloom of (address, topics) pairs."""
    bloom = 0
    for address, topics in logs:
        bloom |= bits(address)
        for topic in topics:
            bloom |= bits(topic)
    return bloom


def may_contain(bloom: int, item: str) -> bool:
    """False: certainly not in it. True: perhaps."""
    mask = bits(item)
    return bloom & mask == mask
