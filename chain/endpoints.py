"""Which of several nodes to ask: the first that has not failed lately."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

WAIT_SECONDS = 1.0  # after the first failure; doubled with each further one
WAIT_SECONDS_MAX = 60.0


class Endpoints:
    """Addresses in the order of preference. Safe to share by threads."""

    def __init__(self, urls: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        if not urls:
            raise ValueError("CHAIN_RPC_URL names no node.")
        self.urls = tuple(urls)
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = dict.fromkeys(self.urls, 0)
        self._again_at = dict.fromkeys(self.urls, 0.0)

    def pick(self) -> str:
        """The first that may be asked now; when none may, the one whose wait ends first."""
        with self._lock:
            now = self._clock()
            free = [url for url in self.urls if self._again_at[url] <= now]
            return free[0] if free else min(self.urls, key=self._again_at.__getitem__)

    def failed(self, url: str) -> None:
        with self._lock:
            wait = min(WAIT_SECONDS * 2 ** min(self._failures[url], 10), WAIT_SECONDS_MAX)
            self._failures[url] += 1
            self._again_at[url] = self._clock() + wait

    def answered(self, url: str) -> None:
        with self._lock:
            self._failures[url], self._again_at[url] = 0, 0.0


def split_urls(setting: str) -> list[str]:
    """The addresses of a comma-separated CHAIN_RPC_URL."""
    return [part.strip() for part in setting.split(",") if part.strip()]
