"""Many people look at one task while it trains: how late does each see each change?"""

from __future__ import annotations

import asyncio
import json
import os
import time
from argparse import ArgumentParser
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bcfl_site.benchmarks import columns
from bcfl_site.benchmarks.percentiles import percentiles

if TYPE_CHECKING:
    from bcfl_site.embedded.stack import Stack

HELP = "Seconds from a change of a running task to its parts at every one of many viewers."
START = 90.0  # seconds for the task to begin training
LAST = 3.0  # seconds for the last change to reach everybody
PREPARE = """
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from sessions_app.services import tasks as task_services
from sessions_app.models import User
from training.specs import TaskConfig
viewer = User.objects.create_user("benchmark", role="participant")
session = SessionStore()
session[SESSION_KEY] = str(viewer.pk)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = viewer.get_session_auth_hash()
session.save()
owner = User.objects.get(username="mara")
task = task_services.task_create(
    owner=owner, title="Watched", config=TaskConfig(participants=5, rounds=500, seed=1), pool=10**21
)
task_services.task_launch(task=task, by=owner)
print("prepared", session.session_key, task.pk)
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long everybody looks")


def run(options: dict[str, Any]) -> dict[str, Any]:
    """{"seconds": {"p50", "p95", "p99"}, "missed", ...}; late is counted from the commit of the
    oldest change in a message to its arrival with the rendered parts."""
    from bcfl_site.embedded.stack import Stack

    with Stack(web=True, settings={"TRAINING_PROCESSES": "1"}) as stack:
        stack.manage("seed_demo")
        words = stack.manage("shell", "-c", PREPARE).split()
        at = words.index("prepared")
        return asyncio.run(_watch(stack, words[at + 1], int(words[at + 2]), options))


def table(report: dict[str, Any]) -> str:
    late = report["seconds"]
    head = (
        f"{report['viewers']} viewers, {report['changes']} changes in "
        f"{report['looked_for']:.0f} s, {report['missed']} missed; "
        f"load {report['load_of_the_machine']}\n\n"
    )
    rows = [["change to parts", *(f"{late[p]:.3f}" for p in ("p50", "p95", "p99"))]]
    return head + columns(["seconds", "p50", "p95", "p99"], rows)


@dataclass
class _Seen:
    """What one viewer got."""

    last: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    late: list[float] = field(default_factory=list)  # seconds, one a message
    bytes: int = 0
    gaps: int = 0  # messages that did not follow on the one before


async def _watch(stack: Stack, session: str, task: int, options: dict[str, Any]) -> dict[str, Any]:
    from websockets.asyncio.client import connect
    from websockets.typing import Origin

    address = f"ws://127.0.0.1:{stack.places.web_port}/ws/tasks/{task}/"
    stop = asyncio.Event()
    training = asyncio.Event()

    async def look(seen: _Seen) -> None:
        socket = connect(
            address,
            origin=Origin(stack.url),
            additional_headers={"Cookie": f"sessionid={session}"},
            proxy=None,
            open_timeout=60,
        )
        async with socket as live:
            seen.last = json.loads(await live.recv())["seq"]
            seen.ready.set()
            while not stop.is_set():
                try:
                    text = await asyncio.wait_for(live.recv(), 0.5)
                except TimeoutError:
                    continue
                arrived = time.time()
                message = json.loads(text)
                if message["type"] != "changed" or "seq" not in message:
                    continue
                if "html" not in message:
                    raise RuntimeError("A change came without its parts.")
                if "Round " in message["html"].get("part-now", ""):
                    training.set()
                seen.gaps += message["first"] > seen.last + 1
                seen.last = max(seen.last, message["seq"])
                seen.bytes += len(text)
                if "at" in message:
                    seen.late.append(arrived - message["at"])

    scout = asyncio.create_task(look(_Seen()))
    begun = asyncio.create_task(training.wait())
    await asyncio.wait({begun, scout}, timeout=START, return_when=asyncio.FIRST_COMPLETED)
    if not begun.done():
        begun.cancel()
        if scout.done():
            await scout  # tells why nobody may look
        raise RuntimeError(f"The task did not begin to train within {START:g} s.")
    everybody = [_Seen() for _ in range(options["viewers"])]
    looking = [asyncio.create_task(look(seen)) for seen in everybody]
    await asyncio.gather(*(seen.ready.wait() for seen in everybody))
    for seen in everybody:
        seen.late.clear()
        seen.bytes = 0
    started, first = time.monotonic(), max(seen.last for seen in everybody)
    await asyncio.sleep(options["seconds"])
    target = max(seen.last for seen in everybody)
    looked_for = time.monotonic() - started
    late = sorted(value for seen in everybody for value in seen.late)
    sent = sum(seen.bytes for seen in everybody)
    await asyncio.sleep(LAST)
    stop.set()
    await asyncio.gather(scout, *looking)
    missed = sum(seen.gaps for seen in everybody) + sum(seen.last < target for seen in everybody)
    return {
        "viewers": len(everybody),
        "looked_for": round(looked_for, 1),
        "changes": target - first,
        "messages": len(late),
        "missed": missed,
        "seconds": percentiles(late, 3),
        "bytes_a_viewer_and_second": round(sent / len(everybody) / looked_for),
        "cores": os.cpu_count(),
        "load_of_the_machine": round(os.getloadavg()[0], 1),
    }
