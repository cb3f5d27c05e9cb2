"""Read the next range of blocks while the one before it is being written.

A node works on its answer meanwhile, so a backfill keeps both busy. What is read ahead is only
believed if it still links to the last block written, like anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from chain.errors import ChainError
from chain.fetch import Fetched

Span = tuple[int, int]  # first and last block
Read = Callable[[int, int], Fetched]  # asks the node alone: no database in another thread


class ReadAhead:
    """At most one range at a time."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._next: tuple[Span, Future[Fetched]] | None = None

    def start(self, read: Read, span: Span) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chain-ahead")
        self._next = (span, self._pool.submit(read, *span))

    def take(self, span: Span) -> Fetched | None:
        """What was read of exactly these blocks; None when nothing was, or the node refused:
        then the caller reads for itself and hears why."""
        waiting, self._next = self._next, None
        if waiting is None:
            return None
        known, future = waiting
        if known != span:
            future.cancel()
            return None
        try:
            return future.result()
        except ChainError:
            return None
