"""The agent's parts that need no chain: what it believes, remembers and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from eth_account import Account as Signer
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount

from agent.console import PIECE, Console
from agent.errors import AgentError, BadKeystore, ConsoleLies
from agent.home import Home
from agent.keys import make_keystore, open_keystore
from agent.ledger import Ledger
from chain.events import DecodedEvent
from chain.merkle import reward_proof, reward_root
from training.canonical import keccak_hex
from training.scoring import pack_scores
from training.weights import encode

KEY: LocalAccount = Signer.from_key(bytes([7] * 32))
URL = "http://console.test"
A, B, C = ("0x" + letter * 40 for letter in "abc")
EVALUATOR = "0x" + "e" * 40


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("BLOB_ROOT", "put back after the test")
    return Home(tmp_path / "home")


# --- the console ----------------------------------------------------------------------------


def console(answer: Callable[[httpx.Request], httpx.Response]) -> Console:
    """A console that does what no honest one would."""
    found = Console(URL, 7, KEY, http=httpx.Client(transport=httpx.MockTransport(answer)))
    found._transport.token = "bcfl_test"
    return found


def blob(value: float) -> bytes:
    return encode({"w": np.full(PIECE // 2, value, dtype=np.float32)})  # two pieces


def served(data: bytes, asked: list[str]) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        wanted = request.headers["Range"]
        asked.append(wanted)
        first, last = (int(n) for n in wanted.removeprefix("bytes=").split("-"))
        last = min(last, len(data) - 1)
        heads = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        return httpx.Response(206, content=data[first : last + 1], headers=heads)

    return answer


def test_a_tampered_model_is_never_kept(home: Home) -> None:
    right, wrong = blob(1.0), blob(2.0)
    asked: list[str] = []
    with pytest.raises(ConsoleLies, match="a tampered model or update"):
        console(served(wrong, asked)).fetch(keccak_hex(right), home.blobs)
    assert len(asked) == 9  # three tries of three pieces: a broken line is no lie
    assert not home.blobs.exists(keccak_hex(right))
    assert not home.blobs.exists(keccak_hex(wrong))
    console(served(right, asked)).fetch(keccak_hex(right), home.blobs)
    assert home.blobs.get(keccak_hex(right)) == right


def test_a_download_goes_on_where_it_broke(home: Home) -> None:
    data = blob(1.0)
    part = home.blobs.root / "parts" / f"{keccak_hex(data)[2:]}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(data[:1000])
    asked: list[str] = []
    console(served(data, asked)).fetch(keccak_hex(data), home.blobs)
    assert asked[0].startswith("bytes=1000-")
    assert home.blobs.get(keccak_hex(data)) == data


def test_an_upload_goes_on_where_it_was() -> None:
    data = blob(1.0)
    got = bytearray(data[:500])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            assert int(request.url.params["offset"]) == len(got)
            got.extend(request.content)
        else:
            assert json.loads(request.content)["content_hash"] == keccak_hex(data)
        done = len(got) == len(data)
        return httpx.Response(200, json={"received": len(got), "complete": done, "problem": ""})

    console(answer).upload(1, data)
    assert bytes(got) == data


def test_no_signature_for_another_place() -> None:
    """A console in the middle would sign in elsewhere with it."""

    def answer(request: httpx.Request) -> httpx.Response:
        text = "bank.test wants you to sign in with your Ethereum account:\n" + KEY.address
        return httpx.Response(200, json={"message": text})

    with pytest.raises(ConsoleLies, match="signs in at another place"):
        console(answer).sign_in()


def test_signing_in_signs_the_very_message() -> None:
    text = f"console.test wants you to sign in with your Ethereum account:\n{KEY.address}"

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if request.url.path.endswith("/message"):
            return httpx.Response(200, json={"message": text})
        signer = Signer.recover_message(encode_defunct(text=text), signature=body["signature"])
        assert (body["message"], signer) == (text, KEY.address)
        return httpx.Response(200, json={"token": "bcfl_w"})

    assert console(answer).sign_in() == "bcfl_w"


# --- what it remembers --------------------------------------------------------------------------


def test_the_state_survives(home: Home) -> None:
    home.note(data="/x.csv")
    home.note(3, content_hash="0x1", samples=5)
    home.note(3, samples=6)
    again = Home(home.folder)
    assert again.facts["data"] == "/x.csv"
    assert again.round(3) == {"content_hash": "0x1", "samples": 6}
    assert again.round(4) == {}
    assert again.secret() == home.secret()
    assert not [p for p in home.folder.iterdir() if p.name.startswith(".state-")]


def test_a_broken_state_says_what_to_do(home: Home) -> None:
    (home.folder / "state.json").write_text("{")
    with pytest.raises(AgentError, match="Move it away"):
        Home(home.folder)


def test_keys_are_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    address = make_keystore(path, "pw", iterations=1024)
    assert open_keystore(path, "pw").address == address
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(BadKeystore, match="never written over"):
        make_keystore(path, "pw", iterations=1024)
    with pytest.raises(BadKeystore, match="does not open"):
        open_keystore(path, "other")
    with pytest.raises(BadKeystore, match="keygen"):
        open_keystore(tmp_path / "none.json", "pw")


# --- the ledger ---------------------------------------------------------------------------------


class Told:
    """Events in order, as the contract would emit them."""

    def __init__(self) -> None:
        self.events: list[DecodedEvent] = []

    def add(self, name: str, **args: Any) -> Told:
        at = len(self.events)
        place = ("FLCoordinator", name, {"taskId": 4, **args}, "0x", at, "0x", 0, "0x", 0, 0)
        self.events.append(DecodedEvent(*place))
        return self

    def joined(self, address: str, index: int) -> Told:
        return self.add("ParticipantJoined", participant=address, index=index)

    def scored(self, evaluator: str, *scores: int) -> Told:
        members = [A, B, C][: len(scores)]
        packed = pack_scores(dict(zip(members, scores, strict=True)), members)
        return self.add("ScoresSubmitted", round=1, evaluator=evaluator, scores="0x" + packed.hex())


def round_one() -> Told:
    told = Told().add("TaskCreated", params={"rewardMode": 2})
    told.joined(C, 0).add("ParticipantLeft", participant=C).joined(A, 0).joined(B, 1)
    told.add("TaskStarted").add("RoundOpened", round=1, modelHash="0xm")
    told.add("UpdateSubmitted", participant=A, round=1, updateHash="0x1", samples=10)
    packed = (1).to_bytes(2, "big") + bytes(31) + b"\x02" + (20).to_bytes(4, "big")
    return told.add("UpdatesRelayed", round=1, updates="0x" + packed.hex())


def finalized(told: Told, root: str) -> Ledger:
    told.add("RoundFinalized", round=1, modelHash="0xn", rewardRoot=root, accuracyPpm=1, reward=90)
    return Ledger(4, told.events)


def test_members_updates_and_earnings_come_from_events() -> None:
    told = round_one().scored(EVALUATOR, 1, 2)
    cumulative = {A: 30, B: 60}
    ledger = finalized(told, reward_root(4, cumulative))
    facts = ledger.rounds[1]
    assert facts.members == (A, B)  # the index of who left before the start was handed out again
    assert {u.participant: u.samples for u in facts.updates.values()} == {A: 10, B: 20}
    assert facts.updates[B].update_hash == "0x" + "00" * 31 + "02"
    assert (facts.rewards_match, ledger.earned) == (True, cumulative)
    assert len(reward_proof(4, ledger.earned, A)) == 1


def test_one_lying_evaluator_of_three_moves_no_reward() -> None:
    told = round_one().scored(EVALUATOR, 1, 2).scored(A, 0, 2**32 - 1).scored(B, 1, 2)
    assert finalized(told, reward_root(4, {A: 30, B: 60})).earned == {A: 30, B: 60}


def test_a_root_that_the_scores_do_not_give_earns_nothing() -> None:
    ledger = finalized(round_one().scored(EVALUATOR, 1, 2), reward_root(4, {A: 90}))
    assert (ledger.rounds[1].rewards_match, ledger.earned) == (False, {})
