"""``bcfl``, the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from bcfl_client import Client
from bcfl_client import command as bcfl
from sessions_app.models import Task, User
from tests import factories
from tests.client.conftest import URL, http


class Shell:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        code = bcfl.main(arguments)
        out, err = self.capsys.readouterr()
        return code, out, err

    def json(self, *arguments: str) -> Any:
        code, out, err = self(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def shell(
    console: Client,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Shell:
    """Logged in as the operator, in a home of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("BCFL_URL", "BCFL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    in_process = http()
    monkeypatch.setattr("bcfl_client.transport.httpx.Client", lambda **_: in_process)
    monkeypatch.setattr(in_process, "close", lambda: None)
    factories.account("Evaluator 1", "evaluator")
    shell = Shell(capsys)
    code, _, err = shell("login", URL, "--token", console.transport.token)
    assert code == 0, err
    return shell


def test_the_login_is_kept_for_its_owner_alone(shell: Shell, tmp_path: Path) -> None:
    kept = tmp_path / "bcfl" / "login.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert shell.json("me")["username"] == "mara"
    code, _, err = shell("me", "--url", "http://localhost")  # another console: the token stays
    assert code == 1
    assert "Send an API token" in err
    shell("logout")
    assert not kept.exists()


def test_from_a_draft_to_its_end(shell: Shell, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"rounds": 2}))
    made = shell.json("task", "create", "Retina", "--pool", "12.5", "--config", f"@{config}")
    number = str(made["id"])
    assert (made["rounds"], made["pool"]) == (2, 12_500_000_000_000_000_000)
    assert shell.json("task", "change", number, "--title", "Retina II")["title"] == "Retina II"
    _, out, _ = shell("task", "show", number)
    assert "Retina II" in out
    assert "12.5" in out
    code, _, err = shell("task", "start", number)
    assert code == 1
    assert "top up the account" in err
    assert shell.json("task", "clone", number)["state"] == "draft"
    assert len(shell.json("tasks", "--show", "drafts")) == 2
    shell("task", "cancel", number)
    assert Task.objects.count() == 1


def test_reading(shell: Shell, operator: User, tmp_path: Path) -> None:
    number = str(factories.finished_task(operator).task.pk)
    for name in ("participants", "rounds", "rewards", "series", "quote", "config", "wait"):
        code, out, err = shell("task", name, number)
        assert code == 0, err
        assert out
    assert shell.json("task", "round", number, "1")["updates"]
    _, out, _ = shell("events", "--task", number)
    assert "Task completed" in out
    for what in ("blocks", "holders"):
        target = tmp_path / f"{what}.csv"
        shell("export", what, str(target))
        with target.open() as file:
            assert list(csv.DictReader(file))
    shell("export", "participants", str(tmp_path / "p.json"), "--task", number, "--format", "json")
    assert len(json.loads((tmp_path / "p.json").read_text())) == 3
    code, _, err = shell("claim", number, "--address", factories.address_of("nobody"))
    assert code == 1
    assert "is not a participant" in err


def test_tokens_and_the_rest(shell: Shell) -> None:
    made = shell.json("token", "create", "CI", "--scope", "write")
    assert made["token"].startswith("bcfl_")
    assert {row["name"] for row in shell.json("token", "list")} == {"CI", "client"}
    shell("token", "revoke", str(made["id"]))
    assert shell.json("network")["chain_id"] == 31337
    body = json.dumps({"name": "raw"})
    assert shell.json("api", "post", "/me/tokens", "--data", body)["name"] == "raw"
    code, _, err = shell("api", "post", "/me/tokens", "--data", "{}", "--json")
    assert code == 1
    assert json.loads(err)["errors"][0]["field"] == "body.name"
    code, _, err = shell("api", "get", "/me", "--data", "{")
    assert (code, "no JSON" in err) == (1, True)
