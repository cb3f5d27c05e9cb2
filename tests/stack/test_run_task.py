"""A whole task on a real stack: chain, Redis, workers with TensorFlow, follower."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bcfl_site.embedded.binaries import ROOT
from bcfl_site.embedded.stack import Stack
from chain.artifacts import load
from chain.calls import decode_result, encode_call
from chain.client import ChainClient
from tests.stack.conftest import SHORT, TASK, rows

FLT = 10**18


@pytest.fixture(scope="module")
def report(stack: Stack) -> dict[str, Any]:
    """The task of the README, run once."""
    answer = stack.manage(
        *TASK,
        *("--participants", "5", "--rounds", "5", "--seed", "1", "--wait", "--json"),
        seconds=180,
    )
    loaded: dict[str, Any] = json.loads(answer)
    return loaded


@pytest.fixture
def client(stack: Stack) -> Iterator[ChainClient]:
    client = ChainClient(stack.places.chain().rpc_url)
    yield client
    client.close()


def read(client: ChainClient, contract: str, address: str, function: str, *args: Any) -> Any:
    abi = load(contract).abi
    data = client.call(address, encode_call(abi, function, args))
    return next(iter(decode_result(abi, function, len(args), data).values()))


def test_it_learns(report: dict[str, Any]) -> None:
    assert [r["number"] for r in report["rounds"]] == [1, 2, 3, 4, 5]
    assert all(r["phase"] == "finalized" for r in report["rounds"])
    assert report["rounds"][-1]["accuracy"] >= 0.90
    assert report["rounds"][-1]["loss"] < report["rounds"][0]["loss"]


def test_every_part_of_a_round_is_timed(report: dict[str, Any]) -> None:
    for row in report["rounds"]:
        seconds = row["seconds"]
        parts = (seconds[name] for name in ("train", "score", "aggregate", "chain_wait"))
        assert sum(parts) == pytest.approx(seconds["total"], abs=0.01)


def test_each_model_hash_is_the_one_on_chain(report: dict[str, Any], client: ChainClient) -> None:
    on_chain = finalized_hashes(client, report)
    assert [r["model_hash"] for r in report["rounds"]] == on_chain
    task = read(client, "FLCoordinator", report["contract"], "task", report["task"]["onchain_id"])
    assert task["modelHash"] == on_chain[-1]


def test_no_token_appears_or_vanishes(report: dict[str, Any], client: ChainClient) -> None:
    """The coordinator's tokens and all other balances are the supply, and it owes what it holds."""
    token = report["token"]
    holders = holders_of(client, token)
    balances = {a: read(client, "FLToken", token, "balanceOf", a) for a in holders}
    assert sum(balances.values()) == read(client, "FLToken", token, "totalSupply")
    tasks = read(client, "FLCoordinator", report["contract"], "taskCount")
    owed = read(client, "FLCoordinator", report["contract"], "liabilities", 1, tasks)
    assert balances[report["contract"]] == owed


def test_everybody_is_paid_what_they_earned(report: dict[str, Any], client: ChainClient) -> None:
    people = report["participants"]
    assert sum(int(p["earned"]) for p in people) == 1_000 * FLT == int(report["pool"]["allocated"])
    for person in people:
        assert person["claimed"] == person["earned"] != "0"
        balance = read(client, "FLToken", report["token"], "balanceOf", person["address"])
        assert int(person["balance"]) == balance
    assert all(r["rewards_match"] for r in report["rounds"])


def test_nothing_was_refused(report: dict[str, Any]) -> None:
    assert {t["status"] for t in report["transactions"]} == {"confirmed"}
    assert all(t["gas_used"] for t in report["transactions"])


def test_a_killed_training_worker_loses_nothing(stack: Stack, undisturbed: dict[str, Any]) -> None:
    """Killed in the middle of round 2: the round finishes, no update is sent twice, and the same
    seed has given the same models."""
    before = max(number for (number,) in rows(stack, "SELECT id FROM sessions_app_task"))
    with running(stack, *SHORT) as command:
        wait_for_training(stack, after_task=before, round_number=2)
        stack.kill("worker")
        stack.restart("worker")
        output, errors = command.communicate(timeout=180)
    assert command.returncode == 0, errors
    killed = json.loads(output)

    assert [r["phase"] for r in killed["rounds"]] == ["finalized"] * 3
    assert [r["model_hash"] for r in killed["rounds"]] == [
        r["model_hash"] for r in undisturbed["rounds"]
    ]
    assert killed["config_hash"] != undisturbed["config_hash"]  # told apart by their salt
    sent = [t["from"] for t in killed["transactions"] if t["function"] == "submitUpdate"]
    assert sorted(sent) == sorted([p["address"] for p in killed["participants"]] * 3)
    assert {t["status"] for t in killed["transactions"]} == {"confirmed"}


# --- helpers --------------------------------------------------------------------------------


def finalized_hashes(client: ChainClient, report: dict[str, Any]) -> list[str]:
    """Model hashes of RoundFinalized events, straight from the node."""
    from chain.events import EventDecoder

    decoder = EventDecoder({report["contract"]: ("FLCoordinator", load("FLCoordinator").abi)})
    logs = client.logs(0, client.head().number, [report["contract"]])
    events = [decoder.decode(log, 0) for log in logs]
    return [
        event.args["modelHash"]
        for event in events
        if event is not None
        and event.name == "RoundFinalized"
        and event.args["taskId"] == report["task"]["onchain_id"]
    ]


def holders_of(client: ChainClient, token: str) -> set[str]:
    from chain.events import EventDecoder

    decoder = EventDecoder({token: ("FLToken", load("FLToken").abi)})
    events = [decoder.decode(log, 0) for log in client.logs(0, client.head().number, [token])]
    ends = {e.args[end] for e in events if e and e.name == "Transfer" for end in ("from", "to")}
    return ends - {"0x" + "0" * 40}


@contextmanager
def running(stack: Stack, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env=stack.environment,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield command
    finally:
        command.kill()
        command.wait()


def wait_for_training(stack: Stack, *, after_task: int, round_number: int) -> None:
    """Until a run of that round, in a task newer than `after_task`, has been handed out."""
    query = (
        "SELECT count(*) FROM sessions_app_trainingrun run "
        "JOIN sessions_app_seat seat ON seat.id = run.seat_id "
        "WHERE seat.task_id > ? AND run.round_number = ? AND run.status IN ('queued', 'training')"
    )
    until = time.monotonic() + 120
    while not rows(stack, query, after_task, round_number)[0][0]:
        assert time.monotonic() < until, "round 2 never began"
        time.sleep(0.005)
