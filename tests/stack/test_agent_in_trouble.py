"""A running task with a reorg, lost connections, a console that lies and an update that comes too
late: each ends in a clear message, nothing is sent twice, and no funds are lost.

Two agents in this process take the steps of one task, so that a test decides what happens between
them. The tests follow each other through its two rounds.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from rich.console import Console as Terminal

from agent import contract as agent_contract
from agent import participant, sending
from agent.checks import check_data
from agent.errors import StillPending
from agent.keys import open_keystore
from agent.participant import Participant
from agent.progress import Screen
from agent.session import open_session, repeat
from chain.errors import CallFailed
from tests.stack.conftest import FLT, PASSWORD, STAKE, Place
from tests.stack.recorder import Recorder

POOL = 300
NAMES = ("north", "south")
LATE_SECONDS = 25  # for an update: time enough on a busy machine for who is not late


@dataclass
class Hospital:
    """An agent that takes a step when told, between recorders that can fail it."""

    agent: Participant
    words: io.StringIO
    console: Recorder
    node: Recorder

    @property
    def said(self) -> str:
        return self.words.getvalue()

    @property
    def address(self) -> str:
        return self.agent.session.me

    def until_submitted(self, number: int) -> None:
        """As `bcfl-agent run` does, until its update of the round stands on chain. By its event:
        `hasSubmitted` is of the open round, and the last update opens the next."""

        def step() -> bool:
            return bool(self.submissions(number) or self.step() or self.submissions(number))

        repeat(step, self.agent.session.screen, 0.1)
        assert self.submissions(number) == 1, self.said

    def step(self) -> bool:
        # Of several agents in one process, the data sets are this one's now.
        os.environ["BLOB_ROOT"] = str(self.agent.session.home.blobs.root)
        return self.agent.step()

    def has_submitted(self) -> bool:
        session = self.agent.session
        return bool(session.contract.read("hasSubmitted", session.task_id, session.me))

    def submissions(self, number: int) -> int:
        """Events on chain."""
        session = self.agent.session
        events = session.contract.events(session.task_id, session.terms.created_block)
        mine = [e for e in events if e.name == "UpdateSubmitted" and e.args["round"] == number]
        return len([e for e in mine if e.args["participant"] == session.me])

    def transactions(self) -> int:
        return sum(b"eth_sendRawTransaction" in sent for sent in self.node.sent)


@dataclass
class Running:
    place: Place
    task: int
    north: Hospital
    south: Hospital
    before: int  # wei of both before they joined

    def rpc(self, method: str, *params: Any) -> Any:
        """Of the node itself. Anvil refuses a reorg while it mines."""
        client = agent_contract.connect(self.place.rpc)
        try:
            for _ in range(10):
                with suppress(CallFailed):
                    return client.rpc(method, *params)
                time.sleep(0.2)
            return client.rpc(method, *params)
        finally:
            client.close()

    def until_round(self, number: int) -> None:
        until = time.monotonic() + 120
        while self.place.round(self.task) < number:
            assert time.monotonic() < until
            time.sleep(0.1)


@contextmanager
def two_hospitals(place: Place, task: int) -> Iterator[tuple[Hospital, Hospital]]:
    """Joined, in a task that has begun."""
    hospitals = []
    with ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("BLOB_ROOT", "put back later")
        for file, name in enumerate(NAMES, start=1):
            console = stack.enter_context(Recorder(place.stack.url))
            node = stack.enter_context(Recorder(place.rpc))
            words = io.StringIO()
            session = open_session(
                url=console.url,
                task=task,
                signer=open_keystore(place.keystore(name), PASSWORD),
                screen=Screen(Terminal(file=words, width=500)),
                rpc=node.url,
                home=place.folder / f"home-{name}",
                poll=0.1,
            )
            stack.callback(session.close)
            own = check_data(session.config, place.folder / f"hospital-{file}.csv")
            participant.join(session, own)
            hospitals.append(Hospital(Participant(session, own), words, console, node))
        place.wait(task, "running")
        north, south = hospitals
        yield north, south


def tokens(place: Place) -> int:
    return sum(place.held(name)[0] for name in NAMES)


@pytest.fixture(scope="module")
def running(place: Place) -> Iterator[Running]:
    before = tokens(place)
    shape = ("--participants", "2", "--rounds", "2", "--update-seconds", "900")
    task = place.task(*shape, title="Trouble", quorum=False)
    with two_hospitals(place, task) as (north, south):
        yield Running(place, task, north, south, before=before)


# --- a task of its own, before the reorg below: after one, Anvil's clock lags behind ours --------


def test_an_update_that_comes_too_late(place: Place) -> None:
    """South's line is slow in round 1: its update arrives when updates are taken no more. The
    round goes on without it, it loses that round's reward and nothing else, and takes part in the
    next."""
    from training import local  # noqa: F401  (TensorFlow, before the clock runs)

    before = tokens(place)
    shape = ("--participants", "2", "--rounds", "2", "--update-seconds", str(LATE_SECONDS))
    task = place.task(*shape, title="Late", quorum=False)
    with two_hospitals(place, task) as (north, south):
        contract, task_id = south.agent.session.contract, south.agent.session.task_id
        deadline = contract.read("roundState", task_id)["deadline"]
        north.until_submitted(1)

        def slow(path: str, body: bytes) -> bytes:
            if path.startswith(f"/api/v1/tasks/{task}/rounds/1/upload"):
                time.sleep(max(deadline + 1 - time.time(), 0))
            return body

        south.console.change = slow
        nonce, sent = place.held("south")[1], south.transactions()
        south.step()
        assert "Round 1: trained on" in south.said
        assert "Round 1: too late, updates were taken until" in south.said
        assert "earns nothing; nothing was spent on it, and the stake stays yours" in south.said
        south.step()
        assert (place.held("south")[1], south.transactions()) == (nonce, sent)

        def second_round() -> bool:
            return bool(south.step() or contract.read("task", task_id)["round"] == 2)

        repeat(second_round, south.agent.session.screen, 0.1)
        for hospital in (south, north):
            hospital.until_submitted(2)
        place.wait(task, "completed")
        for hospital in (north, south):
            repeat(hospital.step, hospital.agent.session.screen, 0.1)
        assert (south.submissions(1), south.submissions(2)) == (0, 1)
        ledger = south.agent.session.ledger()
        first, second = ledger.rounds[1], ledger.rounds[2]
        assert (first.earned[south.address], first.earned[north.address]) == (0, first.reward)
        assert second.earned[south.address] > 0
        assert "you earned 0.0000 FLT; no update of yours was in it." in south.said
        assert f"stake returned: {STAKE} FLT" in south.said
    assert tokens(place) == before + POOL * FLT


def base_of_round_one(running: Running) -> str:
    session = running.north.agent.session
    return session.ledger().rounds[1].base_model_hash


def data(place: Place) -> tuple[str, str]:
    return ("--data", str(place.folder / "hospital-1.csv"))


# --- round 1 -------------------------------------------------------------------------------------


def test_a_tampered_global_model_is_not_trained_on(running: Running, run: Any) -> None:
    place, base = running.place, base_of_round_one(running)

    def other_bytes(path: str, body: bytes) -> bytes:
        return body[:-1] + bytes([body[-1] ^ 1]) if path.endswith(base) else body

    before = place.held("north")
    with Recorder(place.stack.url, other_bytes) as lying:
        code, said = run("run", *data(place), task=running.task, who="north", url=lying.url)
    assert code == 1
    assert f"where the chain says {base}: a tampered model" in said
    assert "your stake stays yours" in said
    assert "Round 1: trained" not in said
    assert not any(b"/upload" in sent for sent in lying.sent)
    assert place.held("north") == before
    assert not running.north.has_submitted()


def test_a_reorg_that_takes_the_submission_back(running: Running) -> None:
    north = running.north
    north.until_submitted(1)
    pieces = sum(b"/upload?offset=" in sent for sent in north.console.sent)
    head = int(running.rpc("eth_blockNumber"), 16)
    mined = int(north.agent.session.home.round(1)["submitted_in"])
    running.rpc("anvil_reorg", head - mined + 1, [])
    assert not north.has_submitted()
    assert north.submissions(1) == 0
    north.until_submitted(1)
    assert north.said.count("Round 1: submitted in block") == 2
    assert north.said.count("Round 1: trained on") == 1  # the same update again
    assert sum(b"/upload?offset=" in sent for sent in north.console.sent) == pieces
    assert north.submissions(1) == 1
    running.south.until_submitted(1)
    running.until_round(2)


# --- round 2 -------------------------------------------------------------------------------------


def test_lost_connections_in_the_middle_of_a_round(running: Running) -> None:
    """The console takes the update and its answer is lost, then it is away; the node takes the
    transaction and its answer is lost, then it is away."""
    north = running.north
    sent, nonce = north.transactions(), running.place.held("north")[1]
    north.console.lose, north.console.then_away = b"/rounds/2/upload?offset=", 5
    north.node.lose, north.node.then_away = b"eth_sendRawTransaction", 2
    spoken = len(north.said)
    north.until_submitted(2)
    said = north.said[spoken:]
    assert (north.console.away, north.node.away) == (0, 0)
    assert f"{north.console.url} does not answer" in said
    assert f"{north.node.url}" in said.replace(north.console.url, "")
    assert said.count("Trying again.") >= 2
    assert said.count("Round 2: trained on") == 1
    assert north.transactions() == sent + 1
    assert running.place.held("north")[1] == nonce + 1
    assert north.submissions(2) == 1


def test_what_waits_to_be_mined_is_not_sent_again(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    south = running.south
    monkeypatch.setattr(sending, "RECEIPT_SECONDS", 0.2)
    sent, nonce = south.transactions(), running.place.held("south")[1]
    running.rpc("evm_setAutomine", False)
    try:
        screen = south.agent.session.screen
        repeat(lambda: south.transactions() > sent or south.step(), screen, 0.1)
        assert "is not mined after 0.2 s" in south.said
        for _ in range(2):
            with pytest.raises(StillPending, match=r"is not mined after 0\.2 s"):
                south.step()
    finally:
        running.rpc("evm_mine")
        running.rpc("evm_setAutomine", True)
    south.until_submitted(2)
    assert south.transactions() == sent + 1
    assert running.place.held("south")[1] == nonce + 1
    assert south.submissions(2) == 1


def test_a_tampered_update_of_another_is_named(running: Running, run: Any) -> None:
    """Other bytes than their hash; and another hash than the chain's, with bytes that fit it."""
    place, south = running.place, running.south.address
    contents = running.north.agent.session.console.published(1)

    def other_bytes(path: str, body: bytes) -> bytes:
        return body[:-1] + bytes([body[-1] ^ 1]) if path.endswith(contents[south]) else body

    def other_hash(path: str, body: bytes) -> bytes:
        if not path.endswith("/rounds/1/updates"):
            return body
        rows = json.loads(body)
        for row in rows:
            row["content_hash"] = contents[running.north.address]
        return json.dumps(rows).encode()

    def verify(change: Any, home: str) -> tuple[int, str]:
        with Recorder(place.stack.url, change) as lying:
            more = ("--home", str(place.folder / home))
            code, said = run("verify", *more, task=running.task, who="north", url=lying.url)
        return code, said

    before = place.held("north")
    code, said = verify(other_bytes, "bytes")
    assert code == 1
    assert f"Round 1, the update of {south}: " in said
    assert f"where the chain says {contents[south]}: a tampered model or update" in said
    code, said = verify(other_hash, "hash")
    assert code == 1
    assert f"Round 1: rejected {south}: hash: submitted" in said
    assert "Round 1: the model is 0x" in said
    assert verify(lambda path, body: body, "honest")[0] == 0
    assert place.held("north") == before


def test_no_funds_are_lost(running: Running) -> None:
    place = running.place
    place.wait(running.task, "completed")
    for hospital in (running.north, running.south):
        repeat(hospital.step, hospital.agent.session.screen, 0.1)
        assert not hospital.agent.mismatches
        assert f"stake returned: {STAKE} FLT" in hospital.said
    assert tokens(place) == running.before + POOL * FLT
