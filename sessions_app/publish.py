"""The one place that knows how messages to viewers and to the orchestrator look.

A message says what changed and carries a sequence number; the page asks the server for the rest.
So a lost message costs nothing: the next one, or a reconnect, shows the gap. The same holds for
the orchestrator: a lost wake-up is made good by its periodic tick.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Literal

from asgiref.sync import async_to_sync
from celery import current_app
from channels.layers import get_channel_layer
from django.db import transaction
from django.db.models import F

from sessions_app.models import Task

VERSION = 1
CHAIN_GROUP = "chain"

Part = Literal[
    "head", "now", "kpis", "charts", "participants", "feed", "rounds", "cost", "artefacts"
]
ALL_PARTS: tuple[Part, ...] = (
    "head",
    "now",
    "kpis",
    "charts",
    "participants",
    "feed",
    "rounds",
    "cost",
    "artefacts",
)
# Who says that one part changed need not know which others show the same numbers.
_ALONG: dict[Part, tuple[Part, ...]] = {
    "feed": ("rounds", "artefacts"),
    "kpis": ("head", "cost"),
    "rounds": ("artefacts",),
}


def task_group(task_id: int) -> str:
    return f"task.{task_id}"


def task_changed(task_id: int, parts: Iterable[Part] = ALL_PARTS) -> None:
    """Count the change and, once it is committed, tell the viewers of the task.

    ``at`` in the message is the time of the commit, unix seconds: how late a viewer is.
    """
    parts = tuple(parts)
    Task.objects.filter(pk=task_id).update(live_seq=F("live_seq") + 1)
    seq = Task.objects.values_list("live_seq", flat=True).get(pk=task_id)
    message = {
        "type": "live.changed",
        "version": VERSION,
        "task": task_id,
        "seq": seq,
        "parts": with_along(parts),
    }
    transaction.on_commit(lambda: _send(task_group(task_id), message | {"at": time.time()}))


def with_along(parts: Iterable[Part]) -> list[Part]:
    """The parts and those that show the same numbers, in the order of the page."""
    wanted = {*parts, *(also for part in parts for also in _ALONG.get(part, ()))}
    return [part for part in ALL_PARTS if part in wanted]


def person_group(user_id: int) -> str:
    return f"person.{user_id}"


def person_changed(user_id: int) -> None:
    """Tell a person's open pages that their notifications have changed."""
    message = {"type": "live.person", "version": VERSION}
    transaction.on_commit(lambda: _send(person_group(user_id), message))


def chain_changed(*, chain_id: int, block_number: int, head_number: int, state: str) -> None:
    """Tell every page where the follower is."""
    message = {
        "type": "live.chain",
        "version": VERSION,
        "chain_id": chain_id,
        "block": block_number,
        "head": head_number,
        "state": state,
    }
    transaction.on_commit(lambda: _send(CHAIN_GROUP, message))


def task_wake(task_id: int) -> None:
    """Ask the orchestrator, once this transaction is committed, to look at the task."""
    transaction.on_commit(
        lambda: current_app.send_task("sessions_app.tasks.advance_task", args=(task_id,))
    )


def _send(group: str, message: dict[str, object]) -> None:
    layer = get_channel_layer()
    if layer is None:
        raise RuntimeError("CHANNEL_LAYERS has no default layer; set REDIS_URL.")
    async_to_sync(layer.group_send)(group, message)
