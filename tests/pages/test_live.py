"""The socket, over the real channel layer."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from bcfl_site.embedded.redis import Redis
from chain import sender
from chain.errors import ContractReverted
from chain.models import OutgoingTransaction, SyncCursor, SyncState
from sessions_app import publish
from sessions_app.live.parts import PARTS
from sessions_app.live.room import NO_SUCH_TASK, SIGN_IN_AGAIN
from sessions_app.models import Task, TrainingRun, User
from sessions_app.publish import ALL_PARTS, task_group
from sessions_app.rounds import orchestrator
from sessions_app.routing import websocket_urlpatterns
from tests import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]
WAIT = 10  # seconds, for a message that must come


@pytest.fixture(autouse=True)
def _channel_layer(redis_server: Redis) -> None:
    """The real one."""


@asynccontextmanager
async def socket(
    path: str, user: User | AnonymousUser, *, since: int | None = None
) -> AsyncIterator[ApplicationCommunicator]:
    """An open socket. (channels.testing would need daphne, which nothing else here uses.)"""
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": path,
        "query_string": b"" if since is None else f"since={since}".encode(),
        "user": user,
        "headers": [],
        "subprotocols": [],
    }
    communicator = ApplicationCommunicator(URLRouter(websocket_urlpatterns), scope)
    await communicator.send_input({"type": "websocket.connect"})
    opened = await communicator.receive_output(timeout=WAIT)
    assert opened["type"] == "websocket.accept"
    yield communicator
    await communicator.send_input({"type": "websocket.disconnect", "code": 1000})
    await communicator.wait(timeout=WAIT)


async def message(communicator: ApplicationCommunicator, kind: str) -> dict[str, Any]:
    """The next message of a kind; beats in between are passed over."""
    async with asyncio.timeout(2 * WAIT):  # beats come for ever
        while True:
            sent = await communicator.receive_output(timeout=WAIT)
            received: dict[str, Any] = json.loads(sent["text"])
            if received["type"] == kind:
                return received


async def ask(communicator: ApplicationCommunicator, question: dict[str, Any]) -> None:
    text = json.dumps(question)
    await communicator.send_input({"type": "websocket.receive", "text": text})


@database_sync_to_async
def make_task(seq: int = 7) -> tuple[User, int]:
    user = factories.user("operator")
    task = factories.draft(user)
    Task.objects.filter(pk=task.pk).update(live_seq=seq)
    return user, task.pk


async def tell(pk: int, seq: int, *parts: str) -> None:
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(
        task_group(pk), {"type": "live.changed", "task": pk, "seq": seq, "parts": list(parts)}
    )


async def test_hello_says_where_we_are() -> None:
    user, pk = await make_task()
    async with socket(f"/ws/tasks/{pk}/", user) as live:
        hello = await message(live, "hello")
        assert hello["seq"] == 7
        assert hello["state"] == "none"


async def test_a_burst_leaves_as_few_messages() -> None:
    user, pk = await make_task()
    async with socket(f"/ws/tasks/{pk}/", user) as live:
        await message(live, "hello")
        for number in range(8, 28):
            await tell(pk, number, "feed" if number % 2 else "now")
        got: list[dict[str, Any]] = []
        while not got or got[-1]["seq"] < 27:
            got.append(await message(live, "changed"))
        assert got[0]["first"] == 8
        for before, after in itertools.pairwise(got):
            assert after["first"] == before["seq"] + 1  # nothing is skipped
        assert set().union(*(m["parts"] for m in got)) == {"feed", "now"}
        assert len(got) < 20


async def test_a_change_that_overtakes_another_is_no_gap() -> None:
    user, pk = await make_task()
    async with socket(f"/ws/tasks/{pk}/", user) as live:
        await message(live, "hello")
        await tell(pk, 9, "feed")
        early = await message(live, "changed")
        assert (early["first"], early["seq"]) == (8, 9)
        await tell(pk, 8, "kpis")
        late = await message(live, "changed")
        assert (late["first"], late["seq"], late["parts"]) == (8, 9, ["kpis"])


async def test_an_overtaken_change_that_never_comes_is_made_good() -> None:
    user, pk = await make_task()
    async with socket(f"/ws/tasks/{pk}/", user) as live:
        await message(live, "hello")
        await tell(pk, 9, "feed")
        assert (await message(live, "changed"))["parts"] == ["feed"]
        everything = await message(live, "changed")
        assert everything["parts"] == list(ALL_PARTS)


@database_sync_to_async
def refuse_join(task_id: int) -> None:
    """As the sender does when the node says the call would revert."""
    task = Task.objects.get(pk=task_id)
    row = OutgoingTransaction.objects.create(
        network=factories.network(),
        account=factories.account("Eastfield"),
        contract="FLCoordinator",
        function="join",
        idempotency_key="join",
        reference=task.reference,
    )
    sender._fail(row, ContractReverted("StakeMissing", {}, "The stake of 10 FLT is not covered."))


async def test_a_call_refused_before_it_is_sent_is_told_without_a_block() -> None:
    user, pk = await make_task()
    await database_sync_to_async(Task.objects.filter(pk=pk).update)(stage=Task.Stage.FUNDING)
    async with socket(f"/ws/tasks/{pk}/", user) as live:
        await message(live, "hello")
        await refuse_join(pk)
        told = await message(live, "changed")
        faults = told["html"]["part-faults"]
        assert "The stake of 10 FLT is not covered (before it was sent)." in faults


async def test_a_lost_message_is_made_good_by_the_beat() -> None:
    user, pk = await make_task()
    async with socket(f"/ws/tasks/{pk}/", user) as live:
        await message(live, "hello")
        await database_sync_to_async(Task.objects.filter(pk=pk).update)(live_seq=9)
        while "seq" not in (beat := await message(live, "beat")):
            pass
        assert beat["seq"] == 9


async def test_the_chain_reaches_every_page() -> None:
    user, _ = await make_task()
    layer = get_channel_layer()
    assert layer is not None
    async with socket("/ws/chain/", user) as live:
        await message(live, "hello")
        news = {"type": "live.chain", "chain_id": 1, "block": 5, "head": 6, "state": "live"}
        await layer.group_send("chain", news)
        changed = await message(live, "changed")
        assert (changed["block"], changed["head"], changed["state"]) == (5, 6, "live")
        assert "parts" not in changed


@pytest.mark.parametrize(
    ("known", "code"), [(False, SIGN_IN_AGAIN), (True, NO_SUCH_TASK)], ids=["stranger", "gone"]
)
async def test_who_is_turned_away_is_told_why(known: bool, code: int) -> None:
    user, pk = await make_task()
    who: User | AnonymousUser = user if known else AnonymousUser()
    async with socket(f"/ws/tasks/{pk + 1 if known else pk}/", who) as live:
        closed = await live.receive_output(timeout=WAIT)
        assert (closed["type"], closed["code"]) == ("websocket.close", code)


async def test_what_a_new_page_finds_is_told_to_those_before_it() -> None:
    """A message was lost; the page that comes in next must not hide that from the others."""
    user, pk = await make_task()
    async with socket(f"/ws/tasks/{pk}/", user) as first:
        await message(first, "hello")
        await database_sync_to_async(Task.objects.filter(pk=pk).update)(live_seq=9)
        async with socket(f"/ws/tasks/{pk}/", user, since=4) as second:
            assert (await message(second, "hello"))["seq"] == 9
            told = await message(first, "changed")
            assert (told["first"], told["seq"], told["parts"]) == (8, 9, list(ALL_PARTS))
            replay = await message(second, "changed")
            assert (replay["first"], replay["seq"]) == (5, 9)


async def test_a_page_gets_everything_after_its_number() -> None:
    user, pk = await make_task(seq=9)
    async with socket(f"/ws/tasks/{pk}/", user, since=4) as live:
        assert (await message(live, "hello"))["seq"] == 9
        replay = await message(live, "changed")
        assert (replay["first"], replay["seq"]) == (5, 9)
        assert set(replay["html"]) >= {"part-head", "part-now", "part-kpis", "part-cost"}
        assert "Draft." in replay["html"]["part-now"]


async def test_an_unchanged_part_is_not_sent_again() -> None:
    user, pk = await make_task()
    async with socket(f"/ws/tasks/{pk}/", user) as live:
        await message(live, "hello")
        await tell(pk, 8, "now")
        assert "part-now" in (await message(live, "changed"))["html"]
        await tell(pk, 9, "now")
        assert (await message(live, "changed"))["html"] == {}


async def test_a_hidden_page_is_told_numbers_until_it_is_looked_at() -> None:
    user, pk = await make_task()
    async with socket(f"/ws/tasks/{pk}/", user, since=7) as live:
        await message(live, "hello")
        await ask(live, {"type": "hidden"})
        await tell(pk, 8, "now")
        told = await message(live, "changed")
        assert (told["seq"], "html" in told) == (8, False)
        await ask(live, {"type": "since", "seq": 7})
        assert "part-now" in (await message(live, "changed"))["html"]


async def test_many_viewers_cost_one_rendering() -> None:
    user, pk = await make_task()
    async with AsyncExitStack() as stack:
        lives = [
            await stack.enter_async_context(socket(f"/ws/tasks/{pk}/", user)) for _ in range(8)
        ]
        for live in lives:
            await message(live, "hello")
        before = PARTS.rendered
        await database_sync_to_async(Task.objects.filter(pk=pk).update)(live_seq=8)
        await tell(pk, 8, "kpis")
        texts = {(await message(live, "changed"))["html"]["part-kpis"] for live in lives}
        assert len(texts) == 1
        assert PARTS.rendered == before + 1


async def test_nonsense_from_a_page_is_passed_over() -> None:
    user, pk = await make_task()
    async with socket(f"/ws/tasks/{pk}/", user) as live:
        await message(live, "hello")
        for text in ("{", "[1]", "x" * 1000, '{"type": "since", "seq": "x"}'):
            await live.send_input({"type": "websocket.receive", "text": text})
        await tell(pk, 8, "feed")
        assert (await message(live, "changed"))["seq"] == 8


@database_sync_to_async
def running() -> tuple[User, Task]:
    user = factories.user("operator")
    return user, factories.running_task(user, rounds=1).task


async def test_a_chain_that_is_away_is_told_with_its_cause_within_two_seconds() -> None:
    user, task = await running()
    async with socket(f"/ws/tasks/{task.pk}/", user) as live:
        await message(live, "hello")

        @database_sync_to_async
        def lose() -> None:
            cursor = SyncCursor.objects.get()
            SyncCursor.objects.update(
                state=SyncState.UNREACHABLE,
                message="The node at http://127.0.0.1:1 does not answer. Start it.",
                updated_at=timezone.now(),
            )
            publish.chain_changed(
                chain_id=31337,
                block_number=cursor.block_number,
                head_number=cursor.head_number,
                state=SyncState.UNREACHABLE,
            )

        async with asyncio.timeout(2):
            await lose()
            while "part-faults" not in (told := await message(live, "changed")).get("html", {}):
                pass
        assert "does not answer. Start it." in told["html"]["part-faults"]


async def test_a_follower_that_has_ended_is_told_by_the_beat() -> None:
    """It tells nobody itself. Its last sign of life was two seconds ago: two more, and a beat."""
    user, task = await running()
    async with socket(f"/ws/tasks/{task.pk}/", user) as live:
        heard = timezone.now() - timedelta(seconds=2)
        await database_sync_to_async(SyncCursor.objects.update)(
            state=SyncState.LIVE, updated_at=heard
        )
        assert (await message(live, "hello"))["state"] == "live"
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + 4):
            while (told := await message(live, "beat")).get("state") != "silent":
                pass
            assert told["label"] == "Follower silent"
            while "part-faults" not in (told := await message(live, "changed")).get("html", {}):
                pass
        assert "Start it with manage.py follow_chain" in told["html"]["part-faults"]


async def test_work_that_lost_its_worker_is_told_within_two_seconds() -> None:
    user, task = await running()
    async with socket(f"/ws/tasks/{task.pk}/", user) as live:
        await message(live, "hello")

        @database_sync_to_async
        def end_the_lease() -> None:
            TrainingRun.objects.filter(seat__task=task, status=TrainingRun.Status.TRAINING).update(
                lease_until=timezone.now() - timedelta(seconds=1), attempts=1
            )
            orchestrator.task_advance(task.pk)

        async with asyncio.timeout(2):
            await end_the_lease()
            while "part-faults" not in (told := await message(live, "changed")).get("html", {}):
                pass
        assert "Training of Southbank in round 2 is tried again" in told["html"]["part-faults"]
        assert "no sign of life" in told["html"]["part-faults"]
