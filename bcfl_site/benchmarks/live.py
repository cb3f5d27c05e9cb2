"""From a mined block to the message at a page's socket, or to the screen, on a whole console."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import threading
import time
from argparse import ArgumentParser
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from bcfl_site.benchmarks import columns
from bcfl_site.benchmarks.live_page import TaskPage
from bcfl_site.benchmarks.percentiles import percentiles

if TYPE_CHECKING:
    from bcfl_site.embedded.stack import Stack
    from chain.client import ChainClient

HELP = "Milliseconds from a mined block to the database and to the message at a page's socket."
FLT = 10**18
PAUSE = (0.15, 0.45)  # seconds between blocks: a page is sent at most ten messages a second
PATIENCE = 10.0
POLL = 0.001
SIGN_IN = """
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from sessions_app.models import User
user = User.objects.create_user("benchmark", role="admin")
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print("session", session.session_key)
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument(
        "--browser", action="store_true", help="also until Chromium has painted the change"
    )


def run(options: dict[str, Any]) -> dict[str, Any]:
    """{"database": {"p50", "p95", "p99"}, "message": ..., "pixel": ...} in milliseconds after the
    node was told to mine; "pixel" with a browser alone."""
    from bcfl_site.embedded.stack import Stack
    from chain.client import ChainClient

    with Stack(web=True, settings={"TRAINING_PROCESSES": "1"}) as stack:
        client = ChainClient(f"http://127.0.0.1:{stack.places.chain_port}")
        told = _Told(stack, client)
        with ExitStack() as ending:
            ending.callback(told.close)
            if options["browser"]:
                told.page = ending.enter_context(TaskPage(told.url, told.session))
            samples = [told.block() for _ in range(options["blocks"] + 5)][5:]  # 5 warm it up
    names = ("database", "message", "pixel") if options["browser"] else ("database", "message")
    return {
        "blocks": len(samples),
        **{name: percentiles([sample[name] for sample in samples]) for name in names},
        "load_of_the_machine": round(os.getloadavg()[0], 1),
    }


def table(report: dict[str, Any]) -> str:
    rows = [
        [name, *(f"{report[name][p]:.0f}" for p in ("p50", "p95", "p99"))]
        for name in ("database", "message", "pixel")
        if name in report
    ]
    head = f"{report['blocks']} blocks, one event each; load {report['load_of_the_machine']}\n\n"
    return head + columns(["ms after mining", "p50", "p95", "p99"], rows)


class _Told:
    """A task on the stack's chain, a page's socket on it, and a clock."""

    def __init__(self, stack: Stack, client: ChainClient) -> None:
        from websockets.sync.client import connect
        from websockets.typing import Origin

        self._client, self._random = client, random.Random(1)  # noqa: S311 (no secret)
        record = json.loads((stack.home / "deployments" / "31337.json").read_text())
        self._addresses = {n: c["address"] for n, c in record["contracts"].items()}
        self._database = stack.home / "db.sqlite3"
        accounts = client.rpc("eth_accounts")
        self._treasury, self._operator = accounts[0], accounts[100]
        client.rpc("anvil_autoImpersonateAccount", True)
        self._create(accounts[101])
        task = self._await_task()
        words = stack.manage("shell", "-c", SIGN_IN).split()
        self.session = words[words.index("session") + 1]
        self.url = f"{stack.url}/tasks/{task}/"
        self.page: TaskPage | None = None
        port = stack.places.web_port
        self._socket = connect(
            f"ws://127.0.0.1:{port}/ws/tasks/{task}/",
            origin=Origin(stack.url),
            additional_headers={"Cookie": f"sessionid={self.session}"},
            proxy=None,
        )
        self._sequence = self._until("hello", -1)
        client.rpc("evm_setAutomine", False)

    def close(self) -> None:
        self._socket.close()

    def block(self) -> dict[str, float]:
        """Mine a block with one event of the task: ms until it is stored, told, painted."""
        self._send(self._operator, "FLCoordinator", "topUp", 1, 1)
        height = self._client.head().number + 1
        stored: list[float] = []
        watching = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(height, stored, watching))
        watcher.start()
        watching.wait(PATIENCE)
        started, begun = time.perf_counter(), time.time()
        self._client.rpc("evm_mine")
        self._sequence = self._until("changed", self._sequence)
        told = time.perf_counter()
        watcher.join()
        if not stored:
            raise RuntimeError(f"Block {height} was not stored within {PATIENCE:g} s.")
        sample = {"database": (stored[0] - started) * 1e3, "message": (told - started) * 1e3}
        if self.page is not None:
            sample["pixel"] = (self.page.painted() - begun) * 1e3
        time.sleep(self._random.uniform(*PAUSE))
        return sample

    def _watch(self, height: int, stored: list[float], watching: threading.Event) -> None:
        database = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)
        deadline = time.perf_counter() + PATIENCE
        try:
            while time.perf_counter() < deadline:
                ((reached,),) = database.execute("SELECT block_number FROM chain_synccursor")
                if reached >= height:
                    stored.append(time.perf_counter())
                    return
                watching.set()
                time.sleep(POLL)
        finally:
            database.close()

    def _until(self, kind: str, after: int) -> int:
        """The number of the next message of this kind beyond `after`."""
        deadline = time.perf_counter() + PATIENCE
        while True:
            message = json.loads(self._socket.recv(timeout=deadline - time.perf_counter()))
            if message["type"] == kind and message.get("seq", -1) > after:
                return int(message["seq"])

    def _create(self, evaluator: str) -> None:
        coordinator = self._addresses["FLCoordinator"]
        self._send(self._treasury, "FLToken", "transfer", self._operator, 100 * FLT)
        self._send(self._operator, "FLToken", "approve", coordinator, 100 * FLT)
        params = {
            "configHash": (1).to_bytes(32, "big"),
            "modelHash": (2).to_bytes(32, "big"),
            "pool": FLT,
            "stake": FLT,
            "rounds": 1,
            "minParticipants": 1,
            "maxParticipants": 1,
            "quorum": 1,
            "rewardMode": 0,
            **{f"{n}Seconds": 86_400 for n in ("join", "update", "score", "aggregate")},
            "evaluators": [evaluator],
        }
        self._send(self._operator, "FLCoordinator", "createTask", params)

    def _send(self, sender: str, contract: str, function: str, *args: Any) -> None:
        from chain.artifacts import load
        from chain.calls import encode_call

        data = "0x" + encode_call(load(contract).abi, function, args).hex()
        request = {"from": sender, "to": self._addresses[contract], "data": data, "gas": "0xf4240"}
        self._client.rpc("eth_sendTransaction", request)

    def _await_task(self) -> int:
        """The row that the follower made of our task."""
        deadline = time.perf_counter() + PATIENCE
        database = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)
        try:
            while time.perf_counter() < deadline:
                found = database.execute(
                    "SELECT id FROM sessions_app_task WHERE onchain_id = 1"
                ).fetchone()
                if found:
                    return int(found[0])
                time.sleep(0.05)
        finally:
            database.close()
        raise RuntimeError("The follower did not store the task.")
