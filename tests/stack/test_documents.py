"""The programs of README.md and docs/api.md, run as they stand there against a whole console."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bcfl_client import Client
from bcfl_site.embedded.binaries import ROOT
from bcfl_site.embedded.stack import Stack
from tests.client.test_documents import blocks

# The operator of `make up`, with tokens for the pools.
TOKEN = """
from sessions_app.models import User
from sessions_app.services import demo
from sessions_app.services.tokens import token_create
demo.seed()
mara = User.objects.select_related("account").get(username="mara")
demo.wait_for_tokens(mara.account.address, demo.DEMO_POOL, seconds=120)
print(token_create(user=mara, name="documents", scope="write")[1])
"""
PLACE, SECRET = "http://127.0.0.1:8000", "bcfl_…"
SECONDS = 240


@dataclass
class Documents:
    stack: Stack
    token: str
    home: Path

    def run(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BCFL_")}
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.home,
            env={**environment, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(self.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def here(self, text: str) -> str:
        """A document's text with this console's address and a token that works."""
        assert PLACE in text
        assert SECRET in text
        return text.replace(PLACE, self.stack.url).replace(SECRET, self.token)


@pytest.fixture(scope="module")
def documents(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Documents:
    token = stack.manage("shell", "-c", TOKEN).split()[-1]
    return Documents(stack, token, tmp_path_factory.mktemp("documents"))


def ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    return out


def test_the_examples_run(documents: Documents) -> None:
    """At the same time: three tasks of three rounds train in the time of one and a bit."""
    (readme,) = [c for c in blocks("README.md", "python") if "bcfl_client" in c]
    (api,) = [c for c in blocks("docs/api.md", "python") if "bcfl_client" in c]
    # The one thing a reader fills in beyond place and token: an address, the first that earned.
    api = api.replace('"0x…"', "next(console.rewards(task.id)).address") + "\nprint(reward)\n"
    programs = [documents.run("-c", documents.here(code)) for code in (readme, api)]
    shell = _shell(documents)
    accuracy, told = (ended(program) for program in programs)
    with Client(documents.stack.url, documents.token) as console:
        mine = [task for task in console.tasks() if task.title == "Retina"]
        assert len(mine) == 3
        for task in mine:
            found = console.task(task.id)
            assert found.state == "completed", (found.now, accuracy, told, shell)
    assert 0.5 < float(accuracy) <= 1
    assert "name='TaskCompleted'" in told
    assert "Reward(task=" in told
    assert "proof=('0x" in told
    assert "Task completed" in shell["task watch"]
    assert "claim" in shell["claim"]
    assert "points" in shell["api get"]
    assert (documents.home / "transfers.csv").read_text().count("\n") > 10


def _shell(documents: Documents) -> dict[str, str]:
    """The commands of docs/api.md, in their order; the number of the task is the one made."""
    (block,) = [b for b in blocks("docs/api.md", "") if b.startswith("bcfl login")]
    number, said = "7", {}
    for line in documents.here(block).splitlines():
        name, *arguments = shlex.split(line)
        assert name == "bcfl"
        places = {"7": number, "/tasks/7/series": f"/tasks/{number}/series"}
        arguments = [places.get(argument, argument) for argument in arguments]
        if arguments[:2] == ["task", "create"]:
            arguments.append("--json")
        out = ended(documents.run("-m", "bcfl_client.command", *arguments))
        said[arguments[0] if arguments[0] == "claim" else " ".join(arguments[:2])] = out
        if arguments[:2] == ["task", "create"]:
            number = out.split('"id": ')[1].split(",")[0]
    return said
