"""Which blocks to fetch next. Pure.

The size of a range follows what the node answers (too large, or fine) and how much was in it,
never the clock: a slow answer says nothing about how many blocks the node is willing to serve.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

WEIGHT = 2_000  # transactions in one step: bounds memory and how long others wait to write


@dataclass(frozen=True, slots=True)
class RangeSize:
    """Blocks per request: `current`, never beyond `largest`, never below 1."""

    current: int
    largest: int

    def after_success(self, weight: int = 0) -> RangeSize:
        """A little more next time: a quarter, at least one block. When there were more than
        WEIGHT transactions (`weight`), fewer blocks in proportion."""
        if weight > WEIGHT:
            return replace(self, current=max(self.current * WEIGHT // weight, 1))
        grown = self.current + max(self.current // 4, 1)
        return replace(self, current=min(grown, self.largest))

    def after_refusal(self, asked: int, suggestion: tuple[int, int] | None) -> RangeSize:
        """What the node suggested if that is smaller than what was asked, else half."""
        if suggestion is not None:
            width = suggestion[1] - suggestion[0] + 1
            if 1 <= width < asked:
                return replace(self, current=width)
        return replace(self, current=max(min(asked, self.current) // 2, 1))


def next_range(done: int, target: int, start: int, size: int) -> tuple[int, int] | None:
    """(first, last) of the next blocks after `done` up to `target`; None when there are none.

    `done` is -1 before the first block, and then the range begins at `start`.
    """
    first = done + 1 if done >= 0 else start
    if first > target:
        return None
    return first, min(target, first + size - 1)


def split(first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    """first..last in consecutive parts of at most `size` blocks."""
    while first <= last:
        yield first, min(first + size - 1, last)
        first += size
