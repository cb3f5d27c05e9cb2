"""The Python client: typed answers, typed errors, retries that do a thing once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account as Signer

from bcfl_client import (
    FLT,
    Client,
    ClientError,
    ConsoleUnreachable,
    HashMismatch,
    Invalid,
    NotAllowed,
    NotFound,
    NothingToClaim,
    NotSignedIn,
    TaskStopped,
    TooManyRequests,
    flt,
    open_keystore,
)
from bcfl_client.stream import messages
from sessions_app.models import ApiToken, IdempotencyKey, Task, User
from tests import factories
from tests.client.conftest import URL, InProcess, http


@pytest.fixture(autouse=True)
def _evaluator(db: None) -> None:
    factories.account("Evaluator 1", "evaluator")


def test_a_task_from_a_notebook(console: Client) -> None:
    task = console.create_task(
        "Retina", pool=flt("100.5"), stake=flt(1), config={"rounds": 3}, hosted_places=2
    )
    assert (task.state, task.pool, task.stake) == ("draft", 100 * FLT + FLT // 2, FLT)
    changed = console.change_task(task.id, pool=flt(7), title="Retina II")
    assert (changed.title, changed.pool) == ("Retina II", 7 * FLT)
    copy = console.clone(task.id)
    assert [t.title for t in console.tasks("drafts")] == [copy.title, "Retina II"]
    assert console.cancel(copy.id) is None
    with pytest.raises(NotFound):
        console.task(copy.id)


def test_waiting_for_what_will_not_come_says_why(console: Client, operator: User) -> None:
    """Not a task without an accuracy, which a program would take for the result."""
    task = console.create_task("Retina", pool=flt(1))
    cause = "createTask was refused: no."
    Task.objects.filter(pk=task.id).update(stage=Task.Stage.FAILED, failure=cause)
    with pytest.raises(TaskStopped, match=rf"Task \d+ is failed, not completed: {cause} Change"):
        console.wait(task.id)
    assert console.wait(task.id, ("completed", "failed")).state == "failed"
    Task.objects.filter(pk=task.id).update(phase=Task.Phase.CANCELLED)
    with pytest.raises(TaskStopped, match="is cancelled, not running") as stopped:
        console.wait(task.id, ("running",))
    assert stopped.value.state == "cancelled"


def test_reading_a_finished_task(console: Client, operator: User) -> None:
    story = factories.finished_task(operator)
    task = console.task(story.task.pk)
    assert task.ended
    assert console.wait(task.id) == task  # at once
    assert console.config(task.id, task.config_hash).startswith(b"{")
    with pytest.raises(HashMismatch, match="not 0xab"):
        console.config(task.id, "0xab" + "0" * 62)
    rewards = list(console.rewards(task.id))
    assert sum(row.earned for row in rewards) == task.earned
    assert rewards[0] == console.reward(task.id, rewards[0].address)
    last = next(console.rounds(task.id))
    detail = console.round(task.id, last.number)
    assert sum(line.amount for line in detail.rewards) == last.reward
    assert [e.seq for e in console.past_events(task=task.id)]
    assert {row["event"] for row in console.ledger("events", event="TaskCompleted")} == {
        "TaskCompleted"
    }
    with pytest.raises(NothingToClaim):
        console.claim(task.id, factories.address_of("nobody"))


def test_errors_say_what_to_do(console: Client, operator: User) -> None:
    with pytest.raises(Invalid) as refused:
        console.create_task("T", pool=0)
    assert refused.value.errors[0].field == "body.pool"
    assert refused.value.next_step
    with pytest.raises(NotSignedIn):
        Client(URL, "bcfl_wrong", http=http()).me()
    reader = console.create_token("reader", scope="read").token
    with pytest.raises(NotAllowed, match="may read"):
        Client(URL, reader, http=http()).clone(1)
    with pytest.raises(ClientError, match="18 decimal places"):
        flt("0.0000000000000000001")


def test_a_wallet_links_another_and_lets_it_go(db: None, console: Client) -> None:
    first, second = Signer.create(), Signer.create()
    client = Client.with_wallet(URL, first, http=http())
    assert client.link_wallet(second, "cold")["address"] == second.address
    other = Client.with_wallet(URL, second, http=http())
    assert other.me().username == client.me().username == first.address
    client.unlink_wallet(second.address)
    other.transport.renew = None
    with pytest.raises(NotSignedIn):
        other.me()
    with pytest.raises(NotAllowed, match="may not link a wallet"):
        console.link_wallet(second)


def test_a_name_and_sessions(console: Client) -> None:
    assert console.change_profile(first_name="Ada", last_name="King").name == "Ada King"
    assert console.change_profile(first_name="Mara").name == "Mara King"
    assert (console.sessions(), console.end_sessions()) == ([], 0)


def test_a_wallet_signs_in_and_again_when_its_hour_is_over(db: None) -> None:
    key = Signer.create()
    client = Client.with_wallet(URL, bytes(key.key), http=http())
    assert client.me().wallets[0].address == key.address
    first = client.transport.token
    ApiToken.objects.all().delete()
    assert client.me().signed_in_by == "wallet"
    assert client.transport.token != first


def test_a_site_that_passes_on_anothers_message_gets_no_signature(db: None) -> None:
    def phisher(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"message": "bank.example wants you to sign in\n0x"})

    with pytest.raises(ClientError, match="Nothing was signed"):
        Client.with_wallet(
            URL, Signer.create(), http=httpx.Client(transport=httpx.MockTransport(phisher))
        )


def test_keystores(tmp_path: Path) -> None:
    key = Signer.create()
    path = tmp_path / "key.json"
    import json

    path.write_text(json.dumps(Signer.encrypt(key.key, "secret", iterations=2)))
    assert open_keystore(path, "secret").address == key.address
    with pytest.raises(ClientError, match="does not open"):
        open_keystore(path, "wrong")
    with pytest.raises(ClientError, match="cannot be read"):
        open_keystore(tmp_path / "none.json", "x")


class Flaky(httpx.BaseTransport):
    """Carries a request out and loses the answer, as often as told."""

    def __init__(self, losses: int, inner: httpx.BaseTransport) -> None:
        self.losses = losses
        self.inner = inner
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.inner.handle_request(request)
        if self.losses:
            self.losses -= 1
            raise httpx.ReadError("connection reset")
        return answer


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr("bcfl_client.transport.time.sleep", pauses.append)
    return pauses


def test_a_lost_answer_does_not_make_two_tasks(console: Client, no_pause: list[float]) -> None:
    flaky = Flaky(2, InProcess())
    client = Client(URL, console.transport.token, http=httpx.Client(transport=flaky))
    made = client.create_task("Once", pool=FLT)
    assert [task.pk for task in Task.objects.filter(title="Once")] == [made.id]
    assert len({r.headers["Idempotency-Key"] for r in flaky.requests}) == 1
    assert len(no_pause) == 2
    assert IdempotencyKey.objects.count() == 1


def answers(*codes: int, **headers: str) -> tuple[httpx.Client, list[httpx.Request]]:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        code = codes[min(len(asked), len(codes)) - 1]
        body: Any = {"username": "x"} if code == 200 else {"detail": "busy", "status": code}
        return httpx.Response(code, json=body, headers=headers)

    return httpx.Client(transport=httpx.MockTransport(handle)), asked


@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_a_busy_console_is_asked_again(code: int, no_pause: list[float]) -> None:
    client, asked = answers(code, code, 200, **{"Retry-After": "7"})
    assert Client(URL, "t", http=client).request("GET", "/me") == {"username": "x"}
    assert len(asked) == 3
    assert min(no_pause) >= 7


@pytest.mark.parametrize(("code", "times"), [(400, 1), (404, 1), (500, 1), (429, 3)])
def test_patience_ends(code: int, times: int, no_pause: list[float]) -> None:
    client, asked = answers(code)
    with pytest.raises(ClientError) as refused:
        Client(URL, "t", retries=2, http=client).me()
    assert len(asked) == times
    assert isinstance(refused.value, TooManyRequests) == (code == 429)


def test_a_wrong_address_is_told(no_pause: list[float]) -> None:
    page = httpx.MockTransport(lambda _: httpx.Response(200, html="<h1>Hello</h1>"))
    with pytest.raises(ClientError):
        Client(URL, "t", http=httpx.Client(transport=page)).me()
    with pytest.raises(ConsoleUnreachable, match="Check the address"):
        Client("http://127.0.0.1:1", "t", retries=1).me()


def test_a_download_is_checked(tmp_path: Path) -> None:
    http_client = httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, content=b"weights"))
    )
    client = Client(URL, "t", http=http_client)
    right = "0x" + _keccak(b"weights")
    target = client.download_model(1, 2, tmp_path / "m.safetensors", model_hash=right)
    assert target.read_bytes() == b"weights"
    with pytest.raises(HashMismatch, match="Nothing was kept"):
        client.download("/x", tmp_path / "other", "0x" + "0" * 64)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def _keccak(data: bytes) -> str:
    from training.canonical import keccak_hex

    return keccak_hex(data).removeprefix("0x")


def test_server_sent_events() -> None:
    lines = [
        *("retry: 1000", "", ": still here", ""),
        *("id: 5", "event: event", 'data: {"a":', "data: 1}", ""),
        *("event: task", 'data: {"live_seq":3}', "", "data: {}"),
    ]
    found = [(m.kind, m.data, m.id) for m in messages(iter(lines))]
    assert found == [
        ("comment", None, ""),
        ("event", {"a": 1}, "5"),
        ("task", {"live_seq": 3}, "5"),
    ]


def test_the_client_needs_nothing_of_the_console() -> None:
    code = (
        "import sys, bcfl_client, bcfl_client.command;"
        "bad = {'django', 'celery', 'web3', 'numpy', 'tensorflow', 'eth_account'};"
        "bad &= set(sys.modules);"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
