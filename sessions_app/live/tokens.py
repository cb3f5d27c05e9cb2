"""Sockets of programs: an API token in the Authorization header instead of a page's session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from channels.db import database_sync_to_async
from django.contrib.auth.models import AnonymousUser

from sessions_app.live.room import SIGN_IN_AGAIN
from sessions_app.models import User
from sessions_app.services.tokens import PREFIX, token_find

LOOK_EVERY = 60.0  # seconds; a token that was revoked ends its sockets within them

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class TokenSockets:
    """``app`` with the token's user for a socket with an Authorization header, else ``pages``.

    A page cannot set that header, and no browser sends it by itself, so the Origin check that
    guards a session's cookie is not asked of it: programs send no Origin.
    """

    def __init__(self, app: App, pages: App) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        header = dict(scope["headers"]).get(b"authorization")
        if header is None:
            await self._pages(scope, receive, send)
            return
        text = _token_text(header)
        user = await _user(text)
        checked = _Checked(text, receive, send)
        scope = dict(scope) | {"user": user or AnonymousUser()}
        await self._app(scope, checked.receive if user else receive, send)


class _Checked:
    """``receive`` that ends the socket when its token has ended."""

    def __init__(self, text: str, receive: Receive, send: Send) -> None:
        self._text = text
        self._receive = receive
        self._send = send
        self._look_at = time.monotonic() + LOOK_EVERY

    async def receive(self) -> Message:
        while True:
            pause = max(self._look_at - time.monotonic(), 0.0)
            try:
                return await asyncio.wait_for(self._receive(), pause)
            except TimeoutError:
                self._look_at = time.monotonic() + LOOK_EVERY
                if await _user(self._text) is None:
                    await self._send({"type": "websocket.close", "code": SIGN_IN_AGAIN})
                    return {"type": "websocket.disconnect", "code": SIGN_IN_AGAIN}


def _token_text(header: bytes) -> str:
    scheme, _, text = header.decode("latin-1").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


@database_sync_to_async
def _user(text: str) -> User | None:
    token = token_find(text) if text.startswith(PREFIX) else None
    return token.user if token else None
