"""The live socket of a page.

It says *what* changed and up to which number; the page fetches the rest. Bursts leave as one
message, at most ten a second. A beat every second lets the page notice within two that nobody is
there, and every fifth carries the numbers from the database, so that even a message that the
channel layer lost is made good.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from sessions_app.models import Task
from sessions_app.publish import CHAIN_GROUP, task_group
from sessions_app.selectors.chrome import chain_status

SPACING = 0.1  # seconds between messages
BEAT = 1.0  # seconds
CHECK_EVERY = 5  # beats
SIGN_IN_AGAIN = 4401  # close codes of ours (4000 to 4999 are free for applications)
NO_SUCH_TASK = 4404


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """``hello`` on connect, then ``changed`` and ``beat``.

    * hello / beat with numbers: ``{type, seq, block, head, state, label}``
    * changed: ``{type, first, seq, parts, block, head, state}``: the changes numbered ``first``
      to ``seq`` touched ``parts``; a page whose number is below ``first - 1`` has missed some.
    """

    task_id: int | None = None

    async def connect(self) -> None:
        self.groups_joined: list[str] = []
        self._jobs: list[asyncio.Task[None]] = []
        self._pending: dict[str, Any] = {}
        self._wake = asyncio.Event()
        await self.accept()
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            await self.close(SIGN_IN_AGAIN)
            return
        self.task_id = self.scope["url_route"]["kwargs"].get("task_id")
        await self._join(CHAIN_GROUP)
        if self.task_id is not None:
            await self._join(task_group(self.task_id))
        # Joined first, read second: a change in between is told twice, never missed.
        state = await self._state()
        if state is None:
            await self.close(NO_SUCH_TASK)
            return
        await self.send_json({"type": "hello", **state})
        self._jobs = [asyncio.create_task(self._beats()), asyncio.create_task(self._flushes())]

    async def disconnect(self, code: int) -> None:
        for job in self._jobs:
            job.cancel()
        for job in self._jobs:
            with suppress(asyncio.CancelledError):
                await job
        for group in self.groups_joined:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def live_changed(self, message: dict[str, Any]) -> None:
        """From ``publish.task_changed``."""
        pending = self._pending
        pending["parts"] = sorted({*pending.get("parts", ()), *message["parts"]})
        pending["first"] = min(pending.get("first", message["seq"]), message["seq"])
        pending["seq"] = max(pending.get("seq", 0), message["seq"])
        self._wake.set()

    async def live_chain(self, message: dict[str, Any]) -> None:
        """From ``publish.chain_changed``."""
        self._pending |= {name: message[name] for name in ("block", "head", "state")}
        self._wake.set()

    async def _join(self, group: str) -> None:
        await self.channel_layer.group_add(group, self.channel_name)
        self.groups_joined.append(group)

    async def _flushes(self) -> None:
        """Sends what has gathered at once, then rests for ``SPACING``."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            pending, self._pending = self._pending, {}
            if pending:
                await self.send_json({"type": "changed", **pending})
            await asyncio.sleep(SPACING)

    async def _beats(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(BEAT)
            count += 1
            if count % CHECK_EVERY:
                await self.send_json({"type": "beat"})
                continue
            state = await self._state()
            if state is None:
                await self.close(NO_SUCH_TASK)
                return
            await self.send_json({"type": "beat", **state})

    @database_sync_to_async
    def _state(self) -> dict[str, Any] | None:
        """The numbers as the database has them; None when the task is gone."""
        status = chain_status()
        state: dict[str, Any] = {
            "block": status.block,
            "head": status.head,
            "state": status.state,
            "label": status.label,
            "message": status.message,
        }
        if self.task_id is not None:
            seq = Task.objects.filter(pk=self.task_id).values_list("live_seq", flat=True).first()
            if seq is None:
                return None
            state["seq"] = seq
        return state
