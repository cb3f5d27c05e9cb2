"""Three evaluators, one of them lying: the honest result stands, and everybody is paid."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from eth_account import Account as Signer
from eth_account.signers.local import LocalAccount

from bcfl_site.embedded.stack import Stack
from chain.artifacts import load
from chain.calls import decode_result, encode_call
from chain.client import ChainClient
from chain.events import EventDecoder

LIES = "0x" + "66" * 32


class Liar:
    """An evaluator of its own: as soon as a round is scored it gives the last member everything
    and votes for a model that nobody trained."""

    def __init__(self, url: str, coordinator: str) -> None:
        self.client = ChainClient(url)
        self.signer: LocalAccount = Signer.create()
        self.coordinator = coordinator
        self.abi = load("FLCoordinator").abi
        self.decoder = EventDecoder({coordinator: ("FLCoordinator", self.abi)})
        self.stop = threading.Event()
        self.sent: list[str] = []
        self.error: BaseException | None = None
        self.client.rpc("anvil_setBalance", self.signer.address, hex(10**20))
        self.thread = threading.Thread(target=self._guarded, daemon=True)

    def _guarded(self) -> None:
        try:
            self._lie()
        except BaseException as error:
            self.error = error

    def _lie(self) -> None:
        seen = -1
        while not self.stop.wait(0.02):
            head = self.client.head().number
            if head == seen:
                continue
            for log in self.client.logs(seen + 1, head, [self.coordinator]):
                event = self.decoder.decode(log, 0)
                if event is None or self.signer.address not in self._evaluators(event.args):
                    continue
                task_id = event.args["taskId"]
                if event.name == "ScoringOpened":
                    members = self._read("task", task_id)["arg0"]["members"]
                    packed = bytes(4 * (members - 1)) + (2**32 - 1).to_bytes(4, "big")
                    self._send("submitScores", task_id, event.args["round"], packed)
                elif event.name == "AggregatingOpened":
                    self._send("submitAggregate", task_id, event.args["round"], LIES, LIES, 10**6)
            seen = head

    def _evaluators(self, args: dict[str, Any]) -> list[str]:
        if "taskId" not in args:
            return []
        found: list[str] = self._read("evaluators", args["taskId"])["arg0"]
        return found

    def _read(self, function: str, *args: Any) -> dict[str, Any]:
        data = self.client.call(self.coordinator, encode_call(self.abi, function, args))
        # The ABI names this output; the position is what every client can rely on.
        return {"arg0": next(iter(decode_result(self.abi, function, len(args), data).values()))}

    def _send(self, function: str, *args: Any) -> None:
        signed = self.signer.sign_transaction(
            {
                "chainId": self.client.chain_id(),
                "nonce": self.client.nonce(self.signer.address),
                "to": self.coordinator,
                "data": "0x" + encode_call(self.abi, function, args).hex(),
                "gas": 1_000_000,
                "maxFeePerGas": 10**11,
                "maxPriorityFeePerGas": 10**9,
                "value": 0,
            }
        )
        tx_hash = self.client.send_raw("0x" + bytes(signed.raw_transaction).hex())
        receipt = self.client.wait_for_receipt(tx_hash)
        # An honest quorum may be faster than the lie: then the vote is refused.
        self.sent.append(f"{function} {'taken' if receipt.succeeded else 'refused'}")


@pytest.fixture
def liar(stack: Stack) -> Iterator[Liar]:
    path = next((stack.home / "deployments").glob("*.json"))
    coordinator = json.loads(path.read_text())["contracts"]["FLCoordinator"]["address"]
    liar = Liar(stack.places.chain().rpc_url, coordinator)
    liar.thread.start()
    yield liar
    liar.stop.set()
    liar.thread.join()
    liar.client.close()


def test_a_lying_minority_changes_nothing(stack: Stack, liar: Liar) -> None:
    task = ("run_task", "--participants", "3", "--rounds", "2", "--seed", "3", "--wait", "--json")
    honest = json.loads(stack.manage(*task, "--evaluators", "3", seconds=180))
    mixed = json.loads(
        stack.manage(
            *task,
            *("--evaluators", "2", "--outside-evaluator", liar.signer.address),
            seconds=180,
        )
    )
    assert liar.error is None
    assert liar.sent.count("submitScores taken") == 2, liar.sent

    assert [r["model_hash"] for r in mixed["rounds"]] == [r["model_hash"] for r in honest["rounds"]]
    assert all(r["rewards_match"] for r in mixed["rounds"])
    # By name: the order of joining, and so the member index, is the network's.
    paid = {p["name"]: (p["status"], p["earned"], p["claimed"]) for p in mixed["participants"]}
    assert paid == {p["name"]: ("active", p["earned"], p["earned"]) for p in honest["participants"]}
