"""All open pages of one task in this process: one listener, one clock, one text for everybody.

A hundred people may look at one running task. Each socket is a wire, no more: the room hears of a
change once, has the changed parts rendered once for each kind of viewer (``live.parts``), encodes
the message once, and hands the same text to every wire. Bursts leave as one message, at most ten a
second. A beat every second lets the page notice within two that nobody is there, and asks whether
the chain is still followed; every fifth compares all numbers with the database, so that even a
message that the channel layer lost is made good.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from channels.db import database_sync_to_async
from channels.layers import get_channel_layer

from sessions_app.live.parts import PARTS, Kind, Rendered, kind_of, places_of
from sessions_app.models import Task, User
from sessions_app.publish import ALL_PARTS, CHAIN_GROUP, Part, task_group
from sessions_app.selectors.chrome import chain_status

logger = logging.getLogger(__name__)

SPACING = 0.1  # seconds between messages
BLOCKS_SPACING = 0.5  # seconds for block numbers alone to gather; parts never wait for it
BEAT = 1.0  # seconds
CHECK_EVERY = 5  # beats
LATE = 0.5  # seconds that an overtaken change may take before it counts as lost
MANY = 100  # more than that need not be counted one by one
BACKLOG = 50  # messages that a slow page may be behind; then it must connect again and catch up
SIGN_IN_AGAIN = 4401  # close codes of ours (4000 to 4999 are free for applications)
NO_SUCH_TASK = 4404
TROUBLE = 1011  # RFC 6455: an unexpected condition at the server
TRY_AGAIN = 1013  # IANA's list of close codes: try again later
_BEAT_TEXT = json.dumps({"type": "beat"})


@dataclass(eq=False)
class Wire:
    """One socket. ``since`` is set while the page waits for everything after that number."""

    user: User
    send: Callable[[str], Awaitable[None]]
    close: Callable[[int], Awaitable[None]]
    kind: Kind = ()
    hidden: bool = False
    since: int | None = None
    admitted: bool = False  # the hello comes first
    backlog: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(BACKLOG))
    ending: asyncio.Future[None] | None = None  # closing takes its time; nobody waits for it

    def put(self, text: str) -> None:
        """Queue a message; a page that does not read is let go, and catches up on returning."""
        try:
            self.backlog.put_nowait(text)
        except asyncio.QueueFull:
            self.end(TRY_AGAIN)

    def end(self, code: int) -> None:
        if self.ending is None:
            self.ending = asyncio.ensure_future(self.close(code))

    async def pump(self) -> None:
        while True:
            await self.send(await self.backlog.get())


class Room:
    """The pages of one task, or, without a task, those that show the chain alone."""

    def __init__(self, task_id: int | None) -> None:
        self.task_id = task_id
        self.wires: set[Wire] = set()
        self.told = 0  # the highest number of the task that the pages were told
        self._opened: asyncio.Future[None] | None = None
        self._pending: dict[str, Any] = {}
        self._wake = asyncio.Event()
        self._blocks: asyncio.TimerHandle | None = None
        self._sent: dict[Kind, dict[str, int]] = {}  # element id → hash of what pages show
        self._chain_state = ""
        self._heard = 0  # the highest number that the channel layer brought
        self._missing: set[int] = set()  # numbers that others have overtaken
        self._gap: asyncio.TimerHandle | None = None
        self._jobs: list[asyncio.Task[None]] = []
        self._groups: list[str] = []
        self._channel = ""

    # --- pages come and go ------------------------------------------------------------------

    async def enter(self, wire: Wire, since: str) -> None:
        """Listens first, reads second: a change in between is told twice, never missed."""
        self.wires.add(wire)
        if self._opened is None:
            self._opened = asyncio.ensure_future(self._open())
        await asyncio.shield(self._opened)
        look = await self._look([wire.user])
        if not self._admit(wire, look):
            return
        # What an earlier page was sent says nothing about what this one shows.
        self._sent.clear()
        if not self._jobs:
            self.told = look.state.get("seq", 0)
            self._heard = max(self._heard, self.told)
            self._chain_state = look.state["state"]
            self._jobs = [
                asyncio.create_task(self._or_end(job))
                for job in (self._listen(), self._beats(), self._flushes())
            ]
        wire.put(json.dumps({"type": "hello", **look.state}, separators=(",", ":")))
        wire.admitted = True
        seq = look.state.get("seq", 0)
        self.catch_up(wire, since if since.isdigit() else str(seq), at_least=seq)

    async def leave(self, wire: Wire) -> None:
        """The last one to go turns off the light."""
        self.wires.discard(wire)
        if self.wires:
            return
        if ROOMS.get(self.task_id) is self:
            del ROOMS[self.task_id]
        for job in self._jobs:
            job.cancel()
        for job in self._jobs:
            with suppress(asyncio.CancelledError):
                await job
        for timer in (self._blocks, self._gap):
            if timer is not None:
                timer.cancel()
        if self.task_id is not None:
            PARTS.forget(self.task_id)
        layer = get_channel_layer()
        assert layer is not None
        while self._groups:
            await layer.group_discard(self._groups.pop(), self._channel)

    def catch_up(self, wire: Wire, since: str, *, at_least: int = 0) -> None:
        """Everything after a number, if there is anything."""
        if self.task_id is None or not since.isdigit():
            return
        if int(since) < max(self.told, at_least):
            self._reached(at_least)
            wire.since = int(since)
            self._wake.set()

    def _reached(self, seq: int) -> None:
        """The database is at this number. What no message told is told to all, not to one."""
        if seq > max(self.told, self._pending.get("seq", 0)):
            self._pending["seq"] = self._heard = seq
            self.want(ALL_PARTS)

    def want(self, parts: Iterable[Part]) -> None:
        if self.task_id is None:
            return
        self._pending["parts"] = {*self._pending.get("parts", ()), *parts}
        self._wake.set()

    def _pages(self) -> list[Wire]:
        return [wire for wire in self.wires if wire.admitted]

    # --- what is heard ----------------------------------------------------------------------

    async def _open(self) -> None:
        layer = get_channel_layer()
        assert layer is not None
        self._channel = await layer.new_channel()
        wanted = [CHAIN_GROUP] if self.task_id is None else [CHAIN_GROUP, task_group(self.task_id)]
        for group in wanted:
            await layer.group_add(group, self._channel)
            self._groups.append(group)

    async def _listen(self) -> None:
        layer = get_channel_layer()
        assert layer is not None
        while True:
            message = await layer.receive(self._channel)
            if message["type"] == "live.changed":
                self._heard_change(message)
            elif message["type"] == "live.chain":
                self._heard_chain(message)

    def _heard_change(self, message: dict[str, Any]) -> None:
        """From ``publish.task_changed``.

        Several processes tell of changes, so a number may overtake the one before it. What is
        late arrives by itself; what is lost is noticed after ``LATE`` seconds.
        """
        pending, seq = self._pending, message["seq"]
        if seq > self._heard + 1:
            self._missing |= set(range(max(self._heard + 1, seq - MANY), seq))
            if self._gap is None:
                loop = asyncio.get_running_loop()
                self._gap = loop.call_later(LATE, self._make_good)
        self._missing.discard(seq)
        self._heard = max(self._heard, seq)
        pending["seq"] = max(pending.get("seq", 0), seq)
        if "at" in message:
            pending["at"] = min(pending.get("at", message["at"]), message["at"])
        self.want(message["parts"])

    def _make_good(self) -> None:
        self._gap = None
        if self._missing:
            self._missing.clear()
            self._pending.setdefault("seq", self._heard)
            self.want(ALL_PARTS)

    def _heard_chain(self, message: dict[str, Any]) -> None:
        """From ``publish.chain_changed``."""
        self._pending |= {name: message[name] for name in ("block", "head", "state")}
        if message["state"] != self._chain_state:
            self._chain_state = message["state"]
            self.want(("now",))  # a chain in trouble is a fault of every task
            self._wake.set()
        elif self._blocks is None:
            self._blocks = asyncio.get_running_loop().call_later(BLOCKS_SPACING, self._wake.set)

    # --- what is told -----------------------------------------------------------------------

    async def _flushes(self) -> None:
        """Sends what has gathered at once, and nothing more within ``SPACING``."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._blocks is not None:
                self._blocks.cancel()
                self._blocks = None
            begun = time.monotonic()
            await self._flush()
            await asyncio.sleep(begun + SPACING - time.monotonic())

    async def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        if "seq" in pending:  # from the one after the last that was told, without a gap
            pending["first"] = min(self.told + 1, pending["seq"])
            self.told = pending["seq"] = max(self.told, pending["seq"])
        parts = [name for name in ALL_PARTS if name in pending.get("parts", ())]
        numbers_only: list[Wire] = []
        by_kind: dict[Kind, list[Wire]] = defaultdict(list)
        behind: dict[Kind, list[Wire]] = defaultdict(list)
        for wire in self._pages():
            if wire.hidden or (not parts and wire.since is None):
                numbers_only.append(wire)
            else:
                (by_kind if wire.since is None else behind)[wire.kind].append(wire)
        if pending:
            told = pending | ({"parts": parts} if parts else {})
            text = _changed(told)
            for wire in numbers_only:
                wire.put(text)
            for kind, wires in by_kind.items():
                news = self._news(kind, await self._rendered(parts, wires[0], kind))
                if news["html"] or pending.keys() - {"parts"}:
                    text = _changed(told | news)
                    for wire in wires:
                        wire.put(text)
        for kind, wires in behind.items():
            rendered = await self._rendered(list(ALL_PARTS), wires[0], kind)
            self._sent.pop(kind, None)  # these pages now show something of their own
            for wire in wires:
                since, wire.since = wire.since, None
                assert since is not None
                first = min(self.told, since + 1)
                told = pending | {"first": first, "seq": self.told, "parts": list(ALL_PARTS)}
                wire.put(_changed(told | {"html": rendered.html, "series": rendered.series}))

    async def _rendered(self, parts: list[Part], wire: Wire, kind: Kind) -> Rendered:
        assert self.task_id is not None
        return await PARTS.get(self.task_id, self.told, parts, viewer=wire.user, kind=kind)

    def _news(self, kind: Kind, rendered: Rendered) -> dict[str, Any]:
        """What differs from what the pages of this kind show."""
        sent = self._sent.setdefault(kind, {})
        html = {}
        for element, text in rendered.html.items():
            mark = hash(text)
            if sent.get(element) != mark:
                sent[element] = mark
                html[element] = text
        return {"html": html} | ({"series": rendered.series} if rendered.series else {})

    # --- the clock --------------------------------------------------------------------------

    async def _beats(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(BEAT)
            count += 1
            due = count % CHECK_EVERY == 0 or await self._chain_differs()
            text = await self._check() if due else _BEAT_TEXT
            for wire in self._pages():
                wire.put(text)

    @database_sync_to_async
    def _chain_differs(self) -> bool:
        """One query for all pages: a follower that has ended tells nobody."""
        return chain_status().state != self._chain_state

    async def _check(self) -> str:
        """The numbers as the database has them; pages that must not go on are closed."""
        wires = self._pages()
        look = await self._look([wire.user for wire in wires])
        for wire in wires:
            self._admit(wire, look)
        self._reached(look.state.get("seq", 0))
        if look.state["state"] != self._chain_state:
            self._chain_state = look.state["state"]
            self.want(("now",))
        return json.dumps({"type": "beat", **look.state}, separators=(",", ":"))

    def _admit(self, wire: Wire, look: _Look) -> bool:
        user = look.users.get(wire.user.pk)
        if user is None:
            wire.end(SIGN_IN_AGAIN)
        elif self.task_id is not None and "seq" not in look.state:
            wire.end(NO_SUCH_TASK)
        else:
            wire.user, wire.kind = user, look.kinds.get(user.pk, ())
            return True
        self.wires.discard(wire)
        return False

    @database_sync_to_async
    def _look(self, users: Iterable[User]) -> _Look:
        """The chain, the task and the people, in a handful of queries however many look on."""
        status = chain_status()
        state: dict[str, Any] = {
            "block": status.block,
            "head": status.head,
            "state": status.state,
            "label": status.label,
            "message": status.message,
            "time": time.time(),
        }
        people = User.objects.filter(pk__in={user.pk for user in users}, is_active=True)
        found = {u.pk: u for u in people.select_related("account").prefetch_related("wallets")}
        kinds: dict[int, Kind] = {}
        task = Task.objects.filter(pk=self.task_id).first() if self.task_id is not None else None
        if task is not None:
            state["seq"] = task.live_seq
            places = places_of(task)
            kinds = {pk: kind_of(task, user, places) for pk, user in found.items()}
        return _Look(state, found, kinds)

    async def _or_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Pages whose room goes silent would look live: they must connect again instead."""
        code = TROUBLE
        try:
            await work
        except Task.DoesNotExist:
            code = NO_SUCH_TASK
        except Exception:
            logger.exception("the live room of task %s ends", self.task_id)
        if ROOMS.get(self.task_id) is self:
            del ROOMS[self.task_id]  # who comes now opens another
        for wire in self.wires:
            wire.end(code)


@dataclass(frozen=True)
class _Look:
    """``users`` and ``kinds`` by user id, of those who may still be here."""

    state: dict[str, Any]
    users: dict[int, User]
    kinds: dict[int, Kind]


def _changed(news: dict[str, Any]) -> str:
    return json.dumps({"type": "changed", **news}, separators=(",", ":"))


ROOMS: dict[int | None, Room] = {}


def room_of(task_id: int | None) -> Room:
    return ROOMS.setdefault(task_id, Room(task_id))
