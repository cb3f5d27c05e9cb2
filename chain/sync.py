"""Follow the chain into the database (being written)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from chain.events import DecodedEvent
from chain.models import Network

Replay = Callable[[Collection[int]], Iterable[DecodedEvent]]


class Projection(Protocol):
    def apply(self, network: Network, events: Sequence[DecodedEvent]) -> None: ...

    def revert(
        self, network: Network, orphaned: Sequence[DecodedEvent], replay: Replay
    ) -> None: ...

    def committed(
        self,
        network: Network,
        events: Sequence[DecodedEvent],
        orphaned: Sequence[DecodedEvent],
        outgoing: Sequence[int],
    ) -> None: ...
