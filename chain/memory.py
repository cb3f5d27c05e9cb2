"""Python's garbage collector, for a process that folds logs all day."""

from __future__ import annotations

import gc

BETWEEN = 100_000  # new objects before the young ones are looked at; Python's default is 700


def collect_seldom() -> None:
    """Look for cycles seldom. A batch of logs makes hundreds of thousands of objects, hardly any
    of them in cycles, and a backfill spent much of its time on looking through them.
    """
    gc.collect()
    gc.freeze()  # modules and settings stay for good
    gc.set_threshold(BETWEEN, 20, 20)
