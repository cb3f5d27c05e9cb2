"""Where two versions of a chain part. Pure: who reads the hashes is the caller's matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Hashes = Callable[[Sequence[int]], Mapping[int, str]]


def common_ancestor(ours: Hashes, theirs: Hashes, top: int, floor: int) -> int | None:
    """The highest block in floor..top that both have with the same hash; None when none is.

    `ours` and `theirs` give the hashes they have for the heights asked. Since a block's hash
    fixes all blocks before it, agreement at a height means agreement below; so the search looks
    at windows going down, each twice as wide as the last, and stops at the first agreement.
    """
    width = 4
    while top >= floor:
        heights = range(max(floor, top - width + 1), top + 1)
        mine, remote = ours(heights), theirs(heights)
        for height in reversed(heights):
            if height in mine and mine[height] == remote.get(height):
                return height
        top = heights[0] - 1
        width *= 2
    return None


def unlinked(parent_hash: str, blocks: Sequence[tuple[int, str, str]]) -> int | None:
    """The height of the first block whose parent is not the one before it; None when linked.

    `blocks`: (number, hash, parent hash) in order. An empty `parent_hash` accepts any first.
    """
    for number, block_hash, parent in blocks:
        if parent_hash and parent != parent_hash:
            return number
        parent_hash = block_hash
    return None
