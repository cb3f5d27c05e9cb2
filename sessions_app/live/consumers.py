"""The live socket of a page: a wire into the room of its task (``live.room``)."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncWebsocketConsumer

from sessions_app.live.room import SIGN_IN_AGAIN, Room, Wire, room_of
from sessions_app.publish import person_group

logger = logging.getLogger(__name__)

LONGEST_QUESTION = 200  # bytes; a page asks for little


class LiveConsumer(AsyncWebsocketConsumer):
    """``hello`` on connect, then ``changed`` and ``beat``.

    * hello / beat with numbers: ``{type, seq, block, head, state, label}``
    * changed: ``{type, first, seq, at, parts, html, series, block, head, state}``: the changes
      numbered ``first`` to ``seq``, committed from ``at`` (unix seconds) on, touched ``parts``.
      ``html`` holds element id → its new content, ``series`` the newest rounds of the charts. A
      page whose number is below ``first - 1`` has missed some.
    * From the page: ``?since=`` on connecting, or ``{type: "since", seq}``, asks for everything
      after a number, ``{type: "look"}`` for the sentence as of now, ``{type: "hidden"}`` for
      numbers only until the next ``since``.
    """

    _room: Room | None = None
    _wire: Wire | None = None
    _pump: asyncio.Task[None] | None = None
    _person: str | None = None

    async def connect(self) -> None:
        await self.accept()
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            await self.close(SIGN_IN_AGAIN)
            return
        self._wire = Wire(user, self.send, self.close)
        self._pump = asyncio.create_task(self._wire.pump())
        self._room = room_of(self.scope["url_route"]["kwargs"].get("task_id"))
        since = parse_qs(self.scope.get("query_string", b"").decode()).get("since", [""])[0]
        try:
            await self._room.enter(self._wire, since)
            self._person = person_group(user.pk)
            await self.channel_layer.group_add(self._person, self.channel_name)
        except BaseException:
            await self._end()
            raise

    async def disconnect(self, code: int) -> None:
        await self._end()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """What a page asks. Anything else is passed over: it is nobody's page of ours."""
        if not text_data or len(text_data) > LONGEST_QUESTION or self._room is None:
            return
        try:
            asked = json.loads(text_data)
        except ValueError:
            return
        kind = asked.get("type") if isinstance(asked, dict) else None
        assert self._wire is not None
        if kind == "hidden":
            self._wire.hidden = True
        elif kind == "look":
            self._room.want(("now",))
        elif kind == "since":
            self._wire.hidden = False
            self._room.catch_up(self._wire, str(asked.get("seq", "")))

    async def live_person(self, message: dict[str, Any]) -> None:
        """From ``publish.person_changed``: the page fetches its bell."""
        if self._wire is not None:
            self._wire.put(json.dumps({"type": "changed", "person": True}))

    async def _end(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            (failure,) = await asyncio.gather(self._pump, return_exceptions=True)
            if isinstance(failure, Exception):  # the browser went away while it was written to
                logger.info("a live socket ended: %s", failure)
        if self._person is not None:
            await self.channel_layer.group_discard(self._person, self.channel_name)
        if self._room is not None and self._wire is not None:
            await self._room.leave(self._wire)
