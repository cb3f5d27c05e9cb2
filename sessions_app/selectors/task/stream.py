"""Contract events in the order in which we learnt of them: what a stream can be resumed from.

An event's number is the key of its log, which only grows. After a reorg the orphaned events are
gone and their successors have higher numbers. Nobody has to be told in time: a reader that says
up to where it has read learns from the table alone which of those events no longer stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Max, QuerySet

from sessions_app.models import TaskEvent
from sessions_app.selectors.people.people import names_of
from sessions_app.selectors.task.events import addresses_in, event_line

LARGEST = 2**63 - 1


@dataclass(frozen=True)
class StreamedEvent:
    """`text` is the event in a sentence; `args` are its decoded arguments."""

    seq: int
    task: int
    name: str
    text: str
    round: int | None
    actor: str
    args: dict[str, Any]
    tx_hash: str
    block: int
    log_index: int
    time: int  # unix seconds of the block


@dataclass(frozen=True)
class Stretch:
    """What follows number `after`.

    `standing`: the highest number up to `after` that still stands. Below `after`, a reorg has
    taken back every event that the reader got with a number above `standing`.
    """

    after: int
    standing: int
    events: Sequence[StreamedEvent]

    @property
    def seq(self) -> int:
        """Where to go on."""
        return self.events[-1].seq if self.events else self.standing


def events_after(after: int, *, task: int | None = None, limit: int = 200) -> Stretch:
    """Three queries. `task` is our number; None: every task."""
    after = min(after, LARGEST)
    events: QuerySet[TaskEvent] = TaskEvent.objects.order_by("pk")
    if task is not None:
        events = events.filter(task_id=task)
    standing = events.filter(pk__lte=after).aggregate(last=Max("pk"))["last"] or 0
    rows = list(events.filter(pk__gt=after).select_related("log")[:limit])
    names = names_of(set().union(*(addresses_in(row.log.args) for row in rows)) if rows else ())
    return Stretch(
        after=after,
        standing=standing,
        events=[
            StreamedEvent(
                seq=row.pk,
                task=row.task_id,
                name=row.name,
                text=event_line(row.name, row.log.args, names)[1],
                round=row.round_number,
                actor=row.actor,
                args=row.log.args,
                tx_hash=row.tx_hash,
                block=row.block_number,
                log_index=row.log_index,
                time=row.block_time,
            )
            for row in rows
        ],
    )
