"""The Python client on a real server: the event stream goes on after the server was killed."""

from __future__ import annotations

import queue
import threading

import pytest

from bcfl_client import Client, Event
from sessions_app.models import TaskEvent
from sessions_app.services.tokens import token_create
from tests import factories
from tests.e2e.conftest import Console

pytestmark = pytest.mark.e2e
SECONDS = 60


def test_nothing_is_missed_when_the_server_is_killed(console: Console) -> None:
    operator = factories.user("operator")
    task = factories.running_task(operator, rounds=1).task
    token = token_create(user=operator, name="stream")[1]
    heard: queue.Queue[int] = queue.Queue()
    enough = threading.Event()

    def listen() -> None:
        # The stream has no end of its own: it is left at the first event that nobody waits for.
        with Client(console.url, token) as client:
            for found in client.events():
                if enough.is_set():
                    return
                if isinstance(found, Event):
                    heard.put(found.seq)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    before = list(TaskEvent.objects.order_by("pk").values_list("pk", flat=True))
    assert [heard.get(timeout=SECONDS) for _ in before] == before
    console.kill()
    factories.finished_task(operator, title="While nobody listened")
    console.start()
    missed = list(
        TaskEvent.objects.filter(pk__gt=before[-1]).order_by("pk").values_list("pk", flat=True)
    )
    assert len(missed) > 10
    assert [heard.get(timeout=SECONDS) for _ in missed] == missed
    assert heard.empty()
    with Client(console.url, token) as client:
        assert client.task(task.pk).state == "running"
    enough.set()
    factories.running_task(operator, rounds=1)
    listener.join(SECONDS)
    assert not listener.is_alive()
