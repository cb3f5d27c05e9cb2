"""The live socket for programs: an API token in the Authorization header."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer

from bcfl_site.asgi import application
from bcfl_site.embedded.redis import Redis
from sessions_app.live import tokens
from sessions_app.live.room import SIGN_IN_AGAIN
from sessions_app.publish import task_group
from sessions_app.services.tokens import token_create, token_revoke
from tests import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]
WAIT = 10  # seconds


@asynccontextmanager
async def socket(path: str, authorization: str) -> AsyncIterator[ApplicationCommunicator]:
    """Through the whole application, as a program connects: without an Origin."""
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"authorization", authorization.encode())],
        "subprotocols": [],
    }
    communicator = ApplicationCommunicator(application, scope)
    await communicator.send_input({"type": "websocket.connect"})
    assert (await communicator.receive_output(timeout=WAIT))["type"] == "websocket.accept"
    yield communicator
    await communicator.send_input({"type": "websocket.disconnect", "code": 1000})
    await communicator.wait(timeout=WAIT)


@database_sync_to_async
def prepared() -> tuple[int, Any, str]:
    user = factories.user("participant")
    task = factories.draft(factories.user("operator"))
    token, text = token_create(user=user, name="program", scope="read")
    return task.pk, token, text


async def test_a_program_listens_with_its_token(redis_server: Redis) -> None:
    task, _, text = await prepared()
    async with socket(f"/ws/tasks/{task}/", f"Bearer {text}") as there:
        hello = json.loads((await there.receive_output(timeout=WAIT))["text"])
        assert hello["type"] == "hello"
        layer = get_channel_layer()
        assert layer is not None
        news = {"type": "live.changed", "task": task, "seq": hello["seq"] + 1, "parts": ["feed"]}
        await layer.group_send(task_group(task), news)
        while told := json.loads((await there.receive_output(timeout=WAIT))["text"]):
            if told["type"] == "changed":
                break
        assert (told["seq"], told["parts"]) == (hello["seq"] + 1, ["feed"])


@pytest.mark.parametrize("wrong", ["Bearer bcfl_unknown", "Bearer x", "Basic bWFyYTp4"])
async def test_a_wrong_token_is_sent_away(redis_server: Redis, wrong: str) -> None:
    task, _, _ = await prepared()
    async with socket(f"/ws/tasks/{task}/", wrong) as there:
        closed = await there.receive_output(timeout=WAIT)
        assert (closed["type"], closed["code"]) == ("websocket.close", SIGN_IN_AGAIN)


async def test_a_revoked_token_ends_its_socket(
    redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "LOOK_EVERY", 0.2)
    _, token, text = await prepared()
    async with socket("/ws/chain/", f"Bearer {text}") as there:
        assert json.loads((await there.receive_output(timeout=WAIT))["text"])["type"] == "hello"
        await database_sync_to_async(token_revoke)(user=token.user, pk=token.pk)
        while (sent := await there.receive_output(timeout=WAIT))["type"] == "websocket.send":
            pass
        assert (sent["type"], sent["code"]) == ("websocket.close", SIGN_IN_AGAIN)
