"""Every write of the API is a command of ``bcfl``, and the new ones do what they say."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import httpx
import pytest

from bcfl_client import command as bcfl
from sessions_app.api.urls import api
from sessions_app.models import User
from tests import factories
from tests.client.test_command import Shell, shell

__all__ = ("shell",)

# Operation → a command that carries it out.
COMMANDS = {
    "task_create": "task create Retina --pool 1",
    "task_change": "task change 7 --title T",
    "task_cancel": "task cancel 7",
    "task_clone": "task clone 7",
    "task_claim": "claim 7",
    "task_pause": "task pause 7",
    "task_resume": "task resume 7",
    "task_wallet_launch": "task wallet-launch 7",
    "task_wallet_undo": "task wallet-undo 7",
    "task_remove": "task remove 7 0xabc",
    "task_top_up": "task top-up 7 12.5",
    "drafts_create": "draft create --template task:7 --set rounds=3",
    "drafts_change": "draft change 3 --set pool=5 --set title=T",
    "drafts_delete": "draft delete 3",
    "drafts_finish": "draft finish 3 --launch",
    "templates_create": "task template 7 Monthly --shared",
    "templates_delete": "draft delete-template 3",
    "prices_remember": "draft price Ethereum 0.05 --coin-price 2500",
    "prices_forget": "draft forget-price 3",
    "me_change": "profile --first-name Ada",
    "me_sessions_end": "session end 3",
    "me_sessions_end_others": "session end-all",
    "me_wallets_unlink": "wallet unlink 0xabc",
    "tokens_create": "token create CI",
    "tokens_revoke": "token revoke 3",
    "invitations_create": "invitation create --email a@b.test --task 7",
    "invitations_revoke": "invitation revoke 3",
    "users_role": "user role 3 operator",
    "users_active": "user close 3",
    "maintenance_start": "maintenance start resync --from-block 5",
    "webhooks_create": "webhook create https://a.test/ fault",
    "webhooks_test": "webhook test 3",
    "webhooks_delete": "webhook delete 3",
    "notifications_read": "news read",
    "notification_choose": "news choose fault app mail",
    "ledger_retry": "retry 3",
    "models_roll_back": "model rollback 3 --note bad",
    "versions_promote": "model promote 3 1",
    "versions_retire": "model retire 3 1",
    "versions_restore": "model restore 3 1",
    # reads that no other test of the commands makes
    "drafts_list": "draft list",
    "drafts_read": "draft show 3",
    "drafts_quote": "draft quote 3",
    "drafts_partition": "draft partition 3",
    "drafts_check": "draft check 3",
    "templates_list": "draft templates",
    "prices_list": "draft prices",
    "compare_tasks": "compare 7 8 --what config",
    "invitations_list": "invitation list",
    "users_list": "user list --role admin",
    "audit_entries": "audit --target task:5",
    "maintenance_list": "maintenance list",
    "me_sessions_list": "session list",
    "webhooks_list": "webhook list",
    "webhooks_read": "webhook show 3",
    "notifications_list": "news list --unread",
    "notification_choices": "news choices",
}
ELSEWHERE = {
    # test_command and test_client run these for real
    *("task_launch", "task_start", "auth_message", "auth_wallet"),
    # an agent's, in tests/agent and tests/stack
    *("upload_announce", "upload_piece", "signed_update"),
    # only for who is signed in with a wallet, which no command is; test_client runs it
    "me_wallets_link",
    # calldata for a wallet to sign; whoever has a key in a file uses `bcfl-agent`
    "wallet_call",
    # made by `bcfl api`: their bodies are rows or pictures
    *("models_predict", "versions_file_request"),
}


def operations() -> dict[str, tuple[str, re.Pattern[str]]]:
    """Name → method and path."""
    found = {}
    for path, methods in api.get_openapi_schema()["paths"].items():
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", path))
        for method, operation in methods.items():
            found[operation["operationId"]] = (method.upper(), pattern)
    return found


def test_every_write_is_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path))
        return httpx.Response(404, json={"detail": "Nobody."})

    offline = httpx.Client(transport=httpx.MockTransport(answer))
    monkeypatch.setattr("bcfl_client.transport.httpx.Client", lambda **_: offline)
    monkeypatch.setattr(offline, "close", lambda: None)
    monkeypatch.setenv("BCFL_TOKEN", "bcfl_test")
    known = operations()
    writes = {name for name, (method, _) in known.items() if method != "GET"}
    missing = writes - COMMANDS.keys() - ELSEWHERE
    assert not missing, f"operations without a command: {sorted(missing)}"
    for name, line in COMMANDS.items():
        asked.clear()
        assert bcfl.main([*shlex.split(line), "--url", "http://console.test"]) == 1
        method, path = known[name]
        assert any(m == method and path.fullmatch(p) for m, p in asked), (line, asked)


def test_a_draft_by_command(shell: Shell) -> None:
    made = shell.json("draft", "create", "--template", "built-in:first", "--set", "pool=lots")
    number = str(made["id"])
    assert made["problems"][0]["field"] == "pool"
    code, _, err = shell("draft", "finish", number)
    assert (code, "is not finished" in err) == (1, True)
    shell.json("draft", "change", number, "--set", "pool=70", "--set", "title=Retina")
    shell.json("draft", "price", "Ethereum", "0.05", "--coin-price", "2500.50")
    (network,) = shell.json("draft", "quote", number)["networks"]
    assert (network["name"], network["gas_price"]) == ("Ethereum", "50000000")
    code, out, _ = shell("draft", "quote", number)
    assert (code, "70" in out) == (0, True)
    assert shell.json("draft", "finish", number)["title"] == "Retina"
    code, _, err = shell("draft", "price", "Ethereum", "cheap")
    assert (code, "no number of gwei" in err) == (1, True)
    code, _, err = shell("draft", "change", number, "--set", "pool")
    assert (code, "is not like rounds=5" in err) == (1, True)


def test_steering_by_command(shell: Shell, operator: User) -> None:
    number = str(factories.running_task(operator, rounds=1).task.pk)
    assert shell.json("task", "pause", number)["state"] == "paused"
    code, _, err = shell("task", "pause", number)
    assert (code, bool(err)) == (1, True)
    assert shell.json("task", "resume", number)["state"] == "running"
    link = shell.json("invitation", "create", "--task", number)["link"]
    assert link.startswith("http")
    rows = shell.json("compare", number, "--what", "figures")
    assert [row["task"] for row in rows] == [int(number)]


def test_an_admin_by_command(shell: Shell, operator: User, tmp_path: Path) -> None:
    code, _, err = shell("user", "list")
    assert (code, "admin" in err) == (1, True)
    User.objects.filter(pk=operator.pk).update(role="admin")
    other: Any = factories.user("participant")
    assert shell.json("user", "role", str(other.pk), "operator")["role"] == "operator"
    assert shell.json("user", "close", str(other.pk))["active"] is False
    code, out, _ = shell("audit", "--action", "user.activate", "--json")
    assert [row["target"] for row in json.loads(out)] == [f"user:{other.pk}"]
    file = tmp_path / "audit.csv"
    shell("export", "audit", str(file))
    assert "user.change_role" in file.read_text()
