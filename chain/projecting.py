"""What following asks of whoever makes tables of the events, and what one step reports."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chain.events import DecodedEvent
from chain.models import Network

Replay = Callable[[Collection[int]], Iterable[DecodedEvent]]


class Projection(Protocol):
    """What someone makes of the events. `apply` and `revert` run inside sync's transaction."""

    def apply(self, network: Network, events: Sequence[DecodedEvent]) -> None:
        """Fold new events, in canonical order. Their Log rows exist already."""

    def revert(self, network: Network, orphaned: Sequence[DecodedEvent], replay: Replay) -> None:
        """Refold what the orphaned events touched. Their blocks and logs are deleted already.

        `replay(task_ids)` yields the stored events of those tasks in canonical order;
        `replay(())` those that belong to no task.
        """

    def committed(
        self,
        network: Network,
        events: Sequence[DecodedEvent],
        orphaned: Sequence[DecodedEvent],
        outgoing: Sequence[int],
    ) -> None:
        """After the commit: publish and wake. `outgoing`: ids of rows whose status changed."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What one step did. `caught_up`: nothing more to fetch at this head."""

    block_number: int
    head_number: int
    blocks: int = 0
    events: int = 0
    orphaned_blocks: int = 0
    caught_up: bool = True
