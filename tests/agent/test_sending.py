"""An agent's transaction that is lost, stuck or interrupted still happens once. Real Anvil."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account as Signer
from eth_account.signers.local import LocalAccount

from agent import sending
from agent.errors import AgentError, StillPending
from agent.sending import Sender
from bcfl_site.embedded.anvil import Anvil
from chain.client import ChainClient
from chain.errors import InsufficientFunds
from chain.events import checksum

TO, OTHER = (checksum("0x" + byte * 20) for byte in ("a1", "a2"))
REVERTS = "0x60006000fd"  # PUSH1 0 PUSH1 0 REVERT
GWEI = 10**9


@dataclass
class Machine:
    """An agent's machine beside a chain that mines when told."""

    anvil: Anvil
    file: Path
    signer: LocalAccount
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = ChainClient(self.anvil.rpc_url)
        self.sender = self.started()

    def started(self) -> Sender:
        """As after a restart: nothing is remembered but the file."""
        sender = Sender(self.client, self.signer)
        sender.file, sender.chain, sender.say = self.file, "0x01", self.said.append
        return sender

    def send(self, to: str = TO) -> Any:
        return self.sender.send("submitUpdate", to, "0x1234")

    def noted(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_text())
        return found

    def mine(self, blocks: int = 1) -> None:
        self.anvil.rpc("anvil_mine", hex(blocks))

    def fee_of_blocks(self, wei: int) -> None:
        self.anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(wei))

    def waiting(self) -> list[dict[str, Any]]:
        """Of our address, at the node."""
        pool = self.anvil.rpc("txpool_content")
        return [
            one
            for kind in ("pending", "queued")
            for address, by_nonce in pool[kind].items()
            if address.lower() == self.signer.address.lower()
            for one in by_nonce.values()
        ]

    def mined(self) -> int:
        return self.client.nonce(self.signer.address)


@pytest.fixture(scope="module")
def own_anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    """The fee of its blocks is ours to set: a snapshot would not put it back."""
    with Anvil(log_path=tmp_path_factory.mktemp("sending") / "anvil.log", history=None) as chain:
        chain.rpc("evm_setAutomine", False)
        yield chain


@pytest.fixture
def machine(own_anvil: Anvil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Without patience: what has seen three blocks pass is stuck."""
    monkeypatch.setattr(sending, "RECEIPT_SECONDS", 0.0)
    monkeypatch.setattr(sending, "STUCK_SECONDS", 0.0)
    signer = Signer.create()
    own_anvil.rpc("anvil_setBalance", signer.address, hex(10**18))
    own_anvil.rpc("anvil_dropAllTransactions")
    made = Machine(own_anvil, tmp_path / "sending.json", signer)
    made.fee_of_blocks(GWEI)
    made.mine()
    yield made
    made.client.close()


def outbid(machine: Machine) -> dict[str, Any]:
    """A transaction that waits while the fee of blocks is above what it offers."""
    with pytest.raises(StillPending, match=r"is not mined after 0 s. It stays valid"):
        machine.send()
    first = machine.noted()
    machine.fee_of_blocks(first["max_fee"] * 4)
    machine.mine(3)
    assert machine.mined() == 0
    return first


def test_what_is_stuck_is_replaced_by_the_same_call_with_a_higher_fee(machine: Machine) -> None:
    first = outbid(machine)
    with pytest.raises(StillPending, match="is not mined"):
        machine.send()
    assert "Sending it again with a higher fee" in machine.said[0]
    (there,) = machine.waiting()
    second = machine.noted()
    assert [there["hash"]] == second["hashes"][1:] != first["hashes"]
    call = ("nonce", "to", "data", "gas", "what")
    assert [second[name] for name in call] == [first[name] for name in call]
    for name, sent in (("max_fee", "maxFeePerGas"), ("priority_fee", "maxPriorityFeePerGas")):
        assert second[name] * 1000 >= first[name] * 1125
        assert int(there[sent], 16) == second[name]
    machine.mine()
    receipt = machine.send()
    assert (receipt.tx_hash, receipt.succeeded, machine.mined()) == (there["hash"], True, 1)
    assert machine.client.receipts(first["hashes"]) == [None]
    assert not machine.file.exists()


def test_the_first_bytes_may_win_all_the_same(machine: Machine) -> None:
    """As if another node had kept them."""
    first = outbid(machine)
    with pytest.raises(StillPending):
        machine.send()
    machine.anvil.rpc("anvil_dropTransaction", machine.noted()["hashes"][-1])
    machine.fee_of_blocks(GWEI)
    machine.client.send_raw(first["raw"])
    machine.mine()
    assert machine.send().tx_hash == first["hashes"][0]
    assert machine.mined() == 1


def test_without_blocks_a_higher_fee_would_not_help(machine: Machine) -> None:
    for _ in range(3):
        with pytest.raises(StillPending, match="is not mined"):
            machine.send()
    assert len(machine.noted()["hashes"]) == 1
    assert machine.said == []


def test_a_restart_goes_on_with_the_very_bytes(machine: Machine) -> None:
    """Lost by the node too, as after its own restart."""
    with pytest.raises(StillPending):
        machine.send()
    before = machine.noted()
    machine.anvil.rpc("anvil_dropTransaction", before["hashes"][0])
    assert machine.waiting() == []
    machine.sender = machine.started()
    with pytest.raises(StillPending):
        machine.send()
    assert machine.noted() == before
    assert [one["hash"] for one in machine.waiting()] == before["hashes"]
    machine.mine()
    assert machine.send().tx_hash == before["hashes"][0]
    assert machine.mined() == 1


def test_what_never_left_and_comes_too_late_is_given_up(machine: Machine) -> None:
    """Killed between noting and sending; when it comes back the contract would refuse."""
    with pytest.raises(StillPending):
        machine.send()
    machine.anvil.rpc("anvil_dropTransaction", machine.noted()["hashes"][0])
    machine.anvil.rpc("anvil_setCode", TO, REVERTS)
    machine.sender = machine.started()
    with pytest.raises(StillPending, match="submitUpdate, sent earlier, came to nothing"):
        machine.send()
    assert "was lost on its way and is not sent again" in machine.said[0]
    assert (machine.waiting(), machine.file.exists()) == ([], False)
    machine.anvil.rpc("anvil_setCode", TO, "0x")


def test_another_call_looks_again_after_the_first(machine: Machine) -> None:
    with pytest.raises(StillPending):
        machine.send()
    machine.sender = machine.started()
    with pytest.raises(StillPending, match=r"submitUpdate .* is not mined"):
        machine.send(OTHER)
    machine.mine()
    with pytest.raises(StillPending, match=r"submitUpdate, sent earlier, was mined in block \d+"):
        machine.send(OTHER)
    assert machine.waiting() == []
    with pytest.raises(StillPending, match="is not mined"):
        machine.send(OTHER)
    assert machine.noted()["nonce"] == 1


def test_the_wallets_own_transactions_are_waited_for(machine: Machine) -> None:
    """Not signed here, so not to be replaced here."""
    with pytest.raises(StillPending):
        machine.send()
    machine.file.unlink()
    machine.sender = machine.started()
    with pytest.raises(StillPending, match=r"1 transaction\(s\) of .* were not signed here"):
        machine.send()
    assert len(machine.waiting()) == 1


def test_a_fee_that_cannot_be_paid_is_said(machine: Machine) -> None:
    first = outbid(machine)
    spare = first["gas"] * first["max_fee"]
    machine.anvil.rpc("anvil_setBalance", machine.signer.address, hex(spare))
    with pytest.raises(StillPending, match=r"A higher fee needs up to [0-9.]+ ETH, but"):
        machine.send()
    assert machine.noted() == first
    machine.anvil.rpc("anvil_setBalance", machine.signer.address, hex(10**18))
    with pytest.raises(StillPending, match="is not mined"):
        machine.send()
    assert len(machine.noted()["hashes"]) == 2


def test_fees_do_not_grow_without_bound(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It offers enough, and still nobody takes it: ten times the node's advice is the end."""
    monkeypatch.setattr(sending, "STUCK_BLOCKS", 0)
    said = ""
    while "The fee is not raised further" not in said:
        with pytest.raises(StillPending) as waiting:
            machine.send()
        said = str(waiting.value)
        assert len(machine.said) < 50
    advised = machine.client.fees().max_fee
    assert advised * 8 < machine.noted()["max_fee"] <= advised * 10
    machine.mine()
    assert machine.mined() == 1


def test_no_eth_is_said_before_anything_is_signed(machine: Machine) -> None:
    machine.anvil.rpc("anvil_setBalance", machine.signer.address, hex(1000))
    with pytest.raises(InsufficientFunds):
        machine.send()
    assert not machine.file.exists()


def test_another_chains_note_is_not_ours(machine: Machine) -> None:
    """The development chain begins anew at the same address."""
    with pytest.raises(StillPending):
        machine.send()
    machine.mine()
    machine.sender = machine.started()
    machine.sender.chain = "0x02"
    with pytest.raises(StillPending, match="is not mined"):
        machine.send()
    assert machine.noted()["nonce"] == 1


def test_a_broken_note_says_what_to_do(machine: Machine) -> None:
    machine.file.write_text("{")
    with pytest.raises(AgentError, match="then move the file away"):
        machine.send()
