"""Follow the chain into the database until stopped. `chain.steps` has what one step does."""

from __future__ import annotations

import logging
import threading
import time

from django.conf import settings
from django.db import close_old_connections

from chain.errors import (
    ChainBehindDatabase,
    ChainError,
    CursorMoved,
    InconsistentAnswer,
    NodeTimeout,
    NodeUnavailable,
    ReorgTooDeep,
    RetryableError,
    WrongChain,
)
from chain.heads import HeadListener
from chain.models import SyncState
from chain.projecting import Projection, Replay, SyncReport
from chain.steps import Stepper

logger = logging.getLogger(__name__)

LISTENING_POLL_SECONDS = 1.0  # with a head subscription polling is only the safety net
RETRY_SECONDS = 1.0
RETRY_SECONDS_MAX = 10.0
SLICE_SECONDS = 0.25  # of waiting, between two looks at what else there is to do

__all__ = ["Follower", "Projection", "Replay", "SyncReport"]

STATES: dict[type[Exception], SyncState] = {
    WrongChain: SyncState.WRONG_CHAIN,
    ChainBehindDatabase: SyncState.BEHIND,
    ReorgTooDeep: SyncState.DEEP_REORG,
    NodeUnavailable: SyncState.UNREACHABLE,
    NodeTimeout: SyncState.UNREACHABLE,
    InconsistentAnswer: SyncState.INCONSISTENT,
}


class Follower(Stepper):
    """Steps, again and again: at every new head the node tells of, and by polling."""

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set. Errors become the cursor's state and message, and are
        tried again: what an error needs (a node, a resync) may come from outside."""
        wake = threading.Event()
        listener = HeadListener(self.client.websocket_url, wake)
        listener.start()
        pause = RETRY_SECONDS
        doubted = False
        try:
            while not stop.is_set():
                wake.clear()
                try:
                    report = self.sync_once()
                    pause, doubted = RETRY_SECONDS, False
                    if report.caught_up:
                        self._wait(wake, stop, listener)
                except CursorMoved as error:
                    logger.warning("%s", error)
                    stop.wait(pause)
                except Exception as error:
                    if isinstance(error, InconsistentAnswer) and not doubted:
                        doubted = True  # a reorg while we read looks like this, once
                        continue
                    # A bug in the projection must show on the page, not end the only follower.
                    self._verified = False
                    self._failed(error)
                    self._pause(stop, pause)
                    pause = min(pause * 2, RETRY_SECONDS_MAX)
                    close_old_connections()
        finally:
            listener.stop()

    def _wait(self, wake: threading.Event, stop: threading.Event, listener: HeadListener) -> None:
        poll = float(settings.CHAIN_POLL_SECONDS)
        if listener.connected.is_set():
            poll = max(poll, LISTENING_POLL_SECONDS)
        deadline = time.monotonic() + poll
        # In slices, so that stopping never waits for a long poll interval.
        while not stop.is_set() and not wake.is_set() and time.monotonic() < deadline:
            wake.wait(min(SLICE_SECONDS, max(deadline - time.monotonic(), 0)))
            self._beat()

    def _pause(self, stop: threading.Event, seconds: float) -> None:
        """Who waits before trying again is not silent."""
        deadline = time.monotonic() + seconds
        while not stop.wait(min(SLICE_SECONDS, max(deadline - time.monotonic(), 0))):
            if time.monotonic() >= deadline:
                return
            self._beat()

    def _failed(self, error: Exception) -> None:
        """In a transaction of its own: the one that failed is rolled back already."""
        state = next((s for kind, s in STATES.items() if isinstance(error, kind)), SyncState.HALTED)
        if isinstance(error, ChainError):
            message = str(error)
            level = logging.WARNING if isinstance(error, RetryableError) else logging.ERROR
            logger.log(level, "sync: %s", message)
        else:
            message = f"{type(error).__name__}: {error}. The follower's log has the details."
            logger.error("sync failed", exc_info=error)
        self._show(state=state, message=message)
