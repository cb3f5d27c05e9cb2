"""Contract events: a page at a time, or as Server-Sent Events that can be resumed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.http import HttpRequest, StreamingHttpResponse
from ninja import Field, Query, Schema

from sessions_app.api.base import Address, Hash, area, read_key, user_of
from sessions_app.api.problems import ApiError
from sessions_app.api.tasks import find_task
from sessions_app.models import Task
from sessions_app.publish import CHAIN_GROUP, task_group
from sessions_app.selectors.chrome import chain_status
from sessions_app.selectors.task.stream import StreamedEvent, Stretch, events_after

router = area("Events")
LOOK_EVERY = 5.0  # seconds between looks at the table, whether or not a message came
SPACING = 0.1  # at most ten looks a second
# Then the stream ends and the client resumes it: a token that was revoked has ended by then.
LASTS = 900.0
AT_ONCE = 200


class EventOut(Schema):
    seq: int = Field(description="Resume from here. Grows; has gaps.")
    task: int
    name: str = Field(description="As in the contract's ABI: RoundFinalized, RewardClaimed, …")
    text: str
    round: int | None
    actor: Address
    args: dict[str, Any]
    tx_hash: Hash
    block: int
    log_index: int
    time: datetime


class EventsOut(Schema):
    """`standing` below the `after` asked for: a reorg has taken back what you got above it."""

    items: list[EventOut]
    next: str = Field(description="Ask with `after` = this for what comes later.")
    standing: int


class EventsQuery(Schema):
    task: int | None = Field(None, ge=1, le=2**53, description="One task; null: every task.")
    after: str = Field("", max_length=20, description="`seq` of the last event you have.")
    limit: int = Field(AT_ONCE, ge=1, le=AT_ONCE, description="Of a page; the stream has none.")


@router.get(
    "",
    response=EventsOut,
    summary="Events, oldest first, and their stream",
    openapi_extra={
        "responses": {
            200: {
                "content": {
                    "text/event-stream": {
                        "schema": {"type": "string"},
                    }
                }
            }
        },
        "parameters": [
            {
                "name": "Last-Event-ID",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "pattern": "^[0-9]{0,18}$"},
                "description": "As a browser's EventSource sends it; goes before `after`.",
            }
        ],
    },
)
def events_list(request: HttpRequest, query: Query[EventsQuery]) -> Any:
    """With `Accept: text/event-stream` it goes on for as long as you listen.

    Messages of the stream: `event` (an event as here; its `id` is `seq`), `retracted` (`{"above":
    seq}`: a reorg has taken back the events above it that you got), `task` (`{"task", "live_seq",
    "phase", "stage"}`: something a page may show has changed, training progress for one; without
    an id), `chain` (`{"block", "head", "state"}`). Reconnect with Last-Event-ID and nothing is
    missed: what is sent is read from the database, messages between processes only hasten it.
    """
    user_of(request)
    given = request.headers.get("Last-Event-ID", "") or query.after
    after = read_key(given) or 0
    task = find_task(query.task) if query.task is not None else None
    if "text/event-stream" not in request.headers.get("Accept", ""):
        found = events_after(after, task=task.pk if task else None, limit=query.limit)
        return {
            "items": [_json(event) for event in found.events],
            "next": str(found.seq),
            "standing": found.standing,
        }
    if get_channel_layer() is None:
        raise ApiError(503, "chain-away", "Live messages are off (REDIS_URL).")
    answer = StreamingHttpResponse(
        _stream(after, task.pk if task else None), content_type="text/event-stream"
    )
    answer["Cache-Control"] = "no-cache, no-transform"
    answer["X-Accel-Buffering"] = "no"
    return answer


def _json(event: StreamedEvent) -> dict[str, Any]:
    when = datetime.fromtimestamp(event.time, UTC).isoformat().replace("+00:00", "Z")
    return {**asdict(event), "time": when}


class Reader:
    """Where one listener is. `look` says, as SSE text, what has changed since the last look."""

    def __init__(self, after: int, task: int | None) -> None:
        self.after = after
        self.task = task
        self.live: dict[str, Any] | None = None
        self.chain: dict[str, Any] | None = None

    def look(self) -> str:
        """Reads the database alone. Empty when nothing changed."""
        parts = [*self._chain(), *self._live()]
        while True:
            found: Stretch = events_after(self.after, task=self.task, limit=AT_ONCE)
            if found.standing < self.after:
                # Told once. With its own number when nothing follows, so that who reconnects
                # starts from where the events still stand.
                number = None if found.events else found.standing
                parts.append(_message("retracted", {"above": found.standing}, seq=number))
            parts += [_message("event", _json(event), seq=event.seq) for event in found.events]
            self.after = found.seq
            if len(found.events) < AT_ONCE:
                return "".join(parts)

    def _live(self) -> list[str]:
        if self.task is None:
            return []
        rows = Task.objects.filter(pk=self.task).values("live_seq", "phase", "stage")
        row = rows.first()
        now = {"task": self.task, **row} if row else {"task": self.task, "deleted": True}
        changed, self.live = now != self.live, now
        return [_message("task", now)] if changed else []

    def _chain(self) -> list[str]:
        status = chain_status()
        now = {"block": status.block, "head": status.head, "state": status.state}
        changed, self.chain = now != self.chain, now
        return [_message("chain", now)] if changed else []


def _message(kind: str, data: dict[str, Any], seq: int | None = None) -> str:
    number = "" if seq is None else f"id: {seq}\n"
    return f"{number}event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


async def _stream(after: int, task: int | None) -> AsyncIterator[str]:
    layer = get_channel_layer()
    assert layer is not None
    reader = Reader(after, task)
    groups = [CHAIN_GROUP, *([task_group(task)] if task is not None else [])]
    channel = await layer.new_channel()
    news = asyncio.Event()
    listening = asyncio.create_task(_listen(layer, channel, news))
    ends = time.monotonic() + LASTS
    try:
        # Joined first, read second: what happens in between is seen twice, never missed.
        for group in groups:
            await layer.group_add(group, channel)
        yield "retry: 1000\n\n"
        while time.monotonic() < ends:
            news.clear()
            text = await sync_to_async(reader.look)()
            yield text or ": still here\n\n"
            await asyncio.sleep(SPACING)
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), LOOK_EVERY)
    finally:
        for group in groups:
            await layer.group_discard(group, channel)
        # The layer takes the end of `receive` for the end of the channel, so it runs throughout.
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def _listen(layer: Any, channel: str, news: asyncio.Event) -> None:
    while True:
        await layer.receive(channel)
        news.set()
