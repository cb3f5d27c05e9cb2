"""The live socket of a page.

It says *what* changed and up to which number, and brings the changed parts along, rendered once for
all who watch (``task_parts``). Bursts leave as one message, at most ten a second. A beat every
second lets the page notice within two that nobody is there, and every fifth compares the numbers
with the database, so that even a message that the channel layer lost is made good.

The page says on connecting which number it shows (``?since=``) and gets everything after it. A
hidden page is told the numbers only, and asks for the rest when it is looked at again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from sessions_app.models import Task, User
from sessions_app.publish import ALL_PARTS, CHAIN_GROUP, Part, person_group, task_group
from sessions_app.selectors.chrome import chain_status
from sessions_app.task_parts import PARTS, Kind, Rendered, kind_of

logger = logging.getLogger(__name__)

SPACING = 0.1  # seconds between messages
BLOCKS_SPACING = 0.5  # seconds for block numbers alone to gather; parts never wait for it
BEAT = 1.0  # seconds
CHECK_EVERY = 5  # beats
LONGEST_QUESTION = 200  # bytes; a page asks for little
SIGN_IN_AGAIN = 4401  # close codes of ours (4000 to 4999 are free for applications)
NO_SUCH_TASK = 4404
TROUBLE = 1011  # RFC 6455: an unexpected condition at the server
_BEAT_TEXT = json.dumps({"type": "beat"})


class LiveConsumer(AsyncWebsocketConsumer):
    """``hello`` on connect, then ``changed`` and ``beat``.

    * hello / beat with numbers: ``{type, seq, block, head, state, label}``
    * changed: ``{type, first, seq, at, parts, html, series, block, head, state}``: the changes
      numbered ``first`` to ``seq``, committed from ``at`` (unix seconds) on, touched ``parts``.
      ``html`` holds element id → its new content, ``series`` the newest rounds of the charts. A
      page whose number is below ``first - 1`` has missed some.
    * From the page: ``{type: "since", seq}`` asks for everything after a number, ``{type: "look"}``
      for the sentence as of now, ``{type: "hidden"}`` for numbers only until the next ``since``.
    """

    task_id: int | None = None
    _gone = SIGN_IN_AGAIN  # the code to close with when `_state` finds that it must end
    _kind: Kind = ()

    async def connect(self) -> None:
        self.groups_joined: list[str] = []
        self._jobs: list[asyncio.Task[None]] = []
        self._pending: dict[str, Any] = {}
        self._wake = asyncio.Event()
        self._blocks: asyncio.TimerHandle | None = None
        self._told = 0  # the highest number of the task that this page was told
        self._sent: dict[str, int] = {}  # element id → hash of what it shows
        self._hidden = False
        self._chain_state = ""
        await self.accept()
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            await self.close(SIGN_IN_AGAIN)
            return
        self.task_id = self.scope["url_route"]["kwargs"].get("task_id")
        await self._join(CHAIN_GROUP)
        await self._join(person_group(user.pk))
        if self.task_id is not None:
            await self._join(task_group(self.task_id))
            PARTS.watch(self.task_id)
        # Joined first, read second: a change in between is told twice, never missed.
        state = await self._state()
        if state is None:
            await self.close(self._gone)
            return
        self._told = state.get("seq", 0)
        self._chain_state = state["state"]
        await self._send({"type": "hello", **state})
        self._replay(parse_qs(self.scope.get("query_string", b"").decode()).get("since", [""])[0])
        self._jobs = [
            asyncio.create_task(self._or_close(self._beats())),
            asyncio.create_task(self._or_close(self._flushes())),
        ]

    async def disconnect(self, code: int) -> None:
        for job in self._jobs:
            job.cancel()
        for job in self._jobs:
            with suppress(asyncio.CancelledError):
                await job
        if self._blocks is not None:
            self._blocks.cancel()
        if self.groups_joined and self.task_id is not None:
            PARTS.unwatch(self.task_id)
        for group in self.groups_joined:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """What a page asks. Anything else is passed over: it is nobody's page of ours."""
        if not text_data or len(text_data) > LONGEST_QUESTION or self.task_id is None:
            return
        try:
            asked = json.loads(text_data)
        except ValueError:
            return
        kind = asked.get("type") if isinstance(asked, dict) else None
        if kind == "hidden":
            self._hidden = True
        elif kind == "look":
            self._want(("now",))
        elif kind == "since":
            self._hidden = False
            self._replay(str(asked.get("seq", "")))

    async def live_changed(self, message: dict[str, Any]) -> None:
        """From ``publish.task_changed``."""
        pending = self._pending
        pending["first"] = min(pending.get("first", message["seq"]), message["seq"])
        pending["seq"] = max(pending.get("seq", 0), message["seq"])
        if "at" in message:
            pending["at"] = min(pending.get("at", message["at"]), message["at"])
        self._want(message["parts"])

    async def live_chain(self, message: dict[str, Any]) -> None:
        """From ``publish.chain_changed``."""
        self._pending |= {name: message[name] for name in ("block", "head", "state")}
        if message["state"] != self._chain_state:
            self._chain_state = message["state"]
            self._want(("now",))  # a chain in trouble is a fault of every task
            self._wake.set()
        elif self._blocks is None:
            self._blocks = asyncio.get_running_loop().call_later(BLOCKS_SPACING, self._wake.set)

    async def live_person(self, message: dict[str, Any]) -> None:
        """From ``publish.person_changed``: the page fetches its bell."""
        self._pending["person"] = True
        self._wake.set()

    # --- inside -----------------------------------------------------------------------------

    async def _or_close(self, work: Coroutine[Any, Any, None]) -> None:
        """A page whose socket goes silent would look live: it must connect again instead."""
        try:
            await work
        except Exception:
            logger.exception("the live socket of task %s ends", self.task_id)
            await self.close(TROUBLE)

    def _want(self, parts: Iterable[Part]) -> None:
        if self.task_id is None:
            return
        self._pending["parts"] = {*self._pending.get("parts", ()), *parts}
        self._wake.set()

    def _replay(self, since: str) -> None:
        """Everything after a number, if there is anything."""
        if self.task_id is None or not since.isdigit() or int(since) >= self._told:
            return
        self._sent.clear()  # what the page shows is what it had at that number
        first = min(self._pending.get("first", self._told), int(since) + 1)
        self._pending |= {"first": first, "seq": max(self._pending.get("seq", 0), self._told)}
        self._want(ALL_PARTS)

    async def _join(self, group: str) -> None:
        await self.channel_layer.group_add(group, self.channel_name)
        self.groups_joined.append(group)

    async def _send(self, message: dict[str, Any]) -> None:
        await self.send(json.dumps(message, separators=(",", ":")))

    async def _flushes(self) -> None:
        """Sends what has gathered at once, then rests for ``SPACING``."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._blocks is not None:
                self._blocks.cancel()
                self._blocks = None
            pending, self._pending = self._pending, {}
            if not pending:
                continue
            self._told = max(self._told, pending.get("seq", 0))
            parts = pending.get("parts")
            if parts is not None:
                pending["parts"] = [name for name in ALL_PARTS if name in parts]
            if parts and not self._hidden:
                try:
                    pending |= self._news(await self._rendered(pending["parts"]))
                except Task.DoesNotExist:
                    await self.close(NO_SUCH_TASK)
                    return
            await self._send({"type": "changed", **pending})
            await asyncio.sleep(SPACING)

    async def _rendered(self, parts: list[Part]) -> Rendered:
        assert self.task_id is not None
        return await PARTS.get(
            self.task_id, self._told, parts, viewer=self.scope["user"], kind=self._kind
        )

    def _news(self, rendered: Rendered) -> dict[str, Any]:
        """What differs from what this page shows."""
        html = {}
        for element, text in rendered.html.items():
            mark = hash(text)
            if self._sent.get(element) != mark:
                self._sent[element] = mark
                html[element] = text
        return {"html": html} | ({"series": rendered.series} if rendered.series else {})

    async def _beats(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(BEAT)
            count += 1
            if count % CHECK_EVERY:
                await self.send(_BEAT_TEXT)
                continue
            state = await self._state()
            if state is None:
                await self.close(self._gone)
                return
            if state.get("seq", 0) > max(self._told, self._pending.get("seq", 0)):
                since, self._told = self._told, state["seq"]
                self._replay(str(since))  # a message was lost
            if state["state"] != self._chain_state:
                self._chain_state = state["state"]
                self._want(("now",))
            await self._send({"type": "beat", **state})

    @database_sync_to_async
    def _state(self) -> dict[str, Any] | None:
        """The numbers as the database has them. None when the page must not go on: the task is
        gone, or the person may no longer sign in."""
        self._gone = SIGN_IN_AGAIN
        user = User.objects.select_related("account").filter(pk=self.scope["user"].pk).first()
        if user is None or not user.is_active:
            return None
        status = chain_status()
        state: dict[str, Any] = {
            "block": status.block,
            "head": status.head,
            "state": status.state,
            "label": status.label,
            "message": status.message,
            "time": time.time(),
        }
        if self.task_id is not None:
            task = Task.objects.filter(pk=self.task_id).first()
            if task is None:
                self._gone = NO_SUCH_TASK
                return None
            self.scope["user"] = user
            self._kind = kind_of(task, user)
            state["seq"] = task.live_seq
        return state
