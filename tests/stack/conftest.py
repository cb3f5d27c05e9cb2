"""A console with outside hospitals: what the tests of the agent share."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent import cli
from agent.contract import Contract, connect
from agent.keys import make_keystore
from bcfl_site.embedded.binaries import ROOT
from bcfl_site.embedded.browser import browser
from bcfl_site.embedded.stack import Stack
from tests.client.test_documents import blocks
from tests.stack import operator_page

TASK = ("run_task", "--dataset", "digits", "--model", "mlp", "--algorithm", "fedavg")
SHORT = (*TASK, "--participants", "4", "--rounds", "3", "--seed", "7", "--wait", "--json")
FLT = 10**18
PASSWORD = "pw"
STAKE = 5
ROUNDS = 4
HOSPITALS = 3


OTHERS = ("careful", "north", "south")  # with tokens, of other tests than the example's


def documented(begins: str) -> list[str]:
    """The words of the command in docs/three-hospitals.md that begins so."""
    for block in blocks("docs/three-hospitals.md", ""):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(begins):
                return shlex.split(line)
    raise AssertionError(f"docs/three-hospitals.md has no command {begins}")


def rows(stack: Stack, query: str, *values: int) -> list[tuple[Any, ...]]:
    """From the console's database, which is not that of this process."""
    database = sqlite3.connect(f"file:{stack.home / 'db.sqlite3'}?mode=ro", uri=True)
    try:
        return database.execute(query, values).fetchall()
    finally:
        database.close()


@dataclass
class Place:
    """A running console, its node, and where files are."""

    stack: Stack
    folder: Path
    rpc: str
    coordinator: str
    addresses: dict[str, str]

    def keystore(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def task(self, *more: str, title: str = "Tumours, three hospitals", quorum: bool = True) -> int:
        """A private task of the operator, by the command of the document. `quorum`: of the three
        outside evaluators; otherwise the console's own."""
        before = self.ids()
        words = documented(".venv/bin/python manage.py run_task")[2:]
        judges = iter([self.addresses[f"evaluator-{number}"] for number in range(3)])
        if not quorum:
            words = words[: words.index("--evaluators")]  # and the outside ones after it
        words = [
            str(self.folder / "operator.csv") if word == "hospitals/operator.csv" else word
            for word in words
        ]
        words = [next(judges) if word == "0x…" else word for word in words]
        self.stack.manage(*words, "--title", title, *more, seconds=120)
        (task,) = self.ids() - before
        # One whose join time is over at once may be cancelled before anybody looks.
        self.wait(task, "open", "cancelled")
        return task

    def task_in_browser(self) -> int:
        """The same, made by the operator in the wizard; by the command where no browser is."""
        if browser() is None:
            return self.task()
        before = self.ids()
        self.stack.manage("seed_demo")
        operator_page.create_task(
            self.stack.url,
            title="Tumours, three hospitals",
            held_out=self.folder / "operator.csv",
            evaluators=[self.addresses[f"evaluator-{number}"] for number in range(3)],
        )
        (task,) = self.ids() - before
        self.wait(task, "open")
        return task

    def ids(self) -> set[int]:
        return {int(row[0]) for row in rows(self.stack, "SELECT id FROM sessions_app_task")}

    def wait(self, task: int, *phases: str, seconds: float = 180) -> None:
        until = time.monotonic() + seconds
        query = f"SELECT phase, failure FROM sessions_app_task WHERE id = {task:d}"
        while (found := rows(self.stack, query)[0])[0] not in phases:
            assert not found[1], found
            assert time.monotonic() < until, (found, phases)
            time.sleep(0.1)

    def round(self, task: int) -> int:
        query = f"SELECT current_round FROM sessions_app_task WHERE id = {task:d}"
        return int(rows(self.stack, query)[0][0])

    def contract(self) -> Contract:
        contract = Contract(connect(self.rpc), self.coordinator, None)
        contract.token = contract.read("token")
        return contract

    def held(self, name: str) -> tuple[int, int]:
        """(wei of tokens, transactions sent)."""
        contract = self.contract()
        address = self.addresses[name]
        found = contract.tokens(address), contract.client.nonce(address)
        contract.client.close()
        return found


@pytest.fixture(scope="session")
def undisturbed(stack: Stack) -> dict[str, Any]:
    """A short task in peace: what the same task must come to after whatever happens to it."""
    loaded: dict[str, Any] = json.loads(stack.manage(*SHORT, seconds=180))
    return loaded


@pytest.fixture(scope="session")
def place(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("hospitals")
    source = ROOT / "examples" / "three_hospitals.py"
    spec = importlib.util.spec_from_file_location("three_hospitals", source)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.write(folder)
    names = [f"{kind}-{n}" for kind in ("hospital", "evaluator") for n in range(3)]
    addresses = {
        name: make_keystore(folder / f"{name}.json", PASSWORD, iterations=1024)
        for name in [*names, "poor", *OTHERS]
    }
    rich = [*names, *OTHERS]
    stack.manage("fund_wallet", *(addresses[name] for name in rich), seconds=90)
    stack.manage("fund_wallet", addresses["poor"], "--tokens", "1", seconds=90)
    deployment = json.loads(next((stack.home / "deployments").glob("*.json")).read_text())
    coordinator = deployment["contracts"]["FLCoordinator"]["address"]
    return Place(stack, folder, stack.places.chain().rpc_url, coordinator, addresses)


@pytest.fixture
def run(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """`bcfl-agent` in this process, which needs no TensorFlow to refuse: exit code and words."""
    monkeypatch.setenv("BLOB_ROOT", str(place.folder / "unused"))  # put back after the test
    monkeypatch.setenv("BCFL_KEY_PASSWORD", PASSWORD)
    monkeypatch.setenv("BCFL_AGENT_HOME", str(place.folder / "homes"))
    monkeypatch.setenv("COLUMNS", "500")

    def agent(command: str, *more: str, task: int, who: str, url: str = "") -> tuple[int, str]:
        capsys.readouterr()
        arguments = [command, url or place.stack.url, "--task", str(task)]
        arguments += ["--keystore", str(place.keystore(who)), "--poll", "0.2", *more]
        code = cli.main(arguments)
        return code, capsys.readouterr().err

    return agent
