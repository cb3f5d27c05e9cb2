"""Nodes that are not to be believed, and networks where not everything is ours to store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from bcfl_site.embedded.anvil import Anvil
from bcfl_site.embedded.redis import Redis
from chain.accounts import account_derive
from chain.artifacts import load
from chain.calls import encode_call
from chain.client import ChainClient
from chain.errors import (
    ChainBehindDatabase,
    InconsistentAnswer,
    ReorgTooDeep,
    WrongChain,
)
from chain.models import (
    Block,
    Network,
    OutgoingTransaction,
    Transaction,
)
from chain.network import client_current, network_current
from chain.selectors import contract_address
from chain.sync import Follower
from chain.wire import FullBlock
from tests.chain.conftest import Chain, Recorder, on_chain
from tests.chain.helpers import SOMEONE, amounts, send

# Nodes that are not to be believed


class Lying(ChainClient):
    """A node whose answers were tampered with."""

    def __init__(self, url: str, tamper: Any) -> None:
        super().__init__(url)
        self._tamper = tamper

    def full_blocks(self, numbers: Any) -> list[FullBlock]:
        return [self._tamper(block) for block in super().full_blocks(numbers)]


def without_logs(block: FullBlock) -> FullBlock:
    return FullBlock(
        block.header,
        tuple(replace(t, receipt=replace(t.receipt, logs=())) for t in block.transactions),
    )


def with_foreign_receipts(block: FullBlock) -> FullBlock:
    other = "0x" + "ab" * 32
    return FullBlock(
        block.header,
        tuple(replace(t, receipt=replace(t.receipt, block_hash=other)) for t in block.transactions),
    )


def unlinked(block: FullBlock) -> FullBlock:
    if block.header.number != 2:
        return block
    return FullBlock(replace(block.header, parent_hash="0x" + "cd" * 32), block.transactions)


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (without_logs, "do not give the bloom"),
        (with_foreign_receipts, "is not of block"),
        (unlinked, "does not follow the one before"),
    ],
)
def test_contradictions_are_refused_and_nothing_written(
    chain: Chain, tamper: Any, message: str
) -> None:
    send(chain, 1)
    follower = Follower(Lying(chain.client.url, tamper), chain.network, Recorder())
    with pytest.raises(InconsistentAnswer, match=message):
        follower.sync_to_head()
    assert not Block.objects.exists()


def test_a_node_of_another_chain_is_refused(chain: Chain) -> None:
    with Anvil(chain_id=4242, log_path=chain.anvil.log_path.with_name("other.log")) as other:
        follower = Follower(ChainClient(other.rpc_url), chain.network, Recorder())
        with pytest.raises(WrongChain, match="serves chain id 4242, but network dev is chain id"):
            follower.sync_once()
    assert not Block.objects.exists()


def test_another_genesis_is_refused_outside_development(chain: Chain) -> None:
    network = Network.objects.create(name="test", chain_id=99, genesis_hash="0x" + "11" * 32)

    class Claims99(ChainClient):
        def identity(self) -> tuple[int, str]:
            return 99, super().identity()[1]

    follower = Follower(Claims99(chain.client.url), network, Recorder())
    with pytest.raises(WrongChain, match="DATABASE_URL"):
        follower.sync_once()


def test_a_chain_started_anew_is_named_and_forgotten_on_request(chain: Chain) -> None:
    old = send(chain, 1)
    recorder = Recorder()
    chain.follower(recorder).sync_to_head()
    old_genesis = chain.network.genesis_hash or Network.objects.get().genesis_hash
    # Its genesis differs in the second it was started.
    with Anvil(log_path=chain.anvil.log_path.with_name("anew.log")) as anew:  # noqa: SIM117
        with override_settings(
            CHAIN_RPC_URL=anew.rpc_url,
            NETWORKS={"dev": {"rpc_url": anew.rpc_url, "chain_id": 31337}},
        ):
            again = on_chain(anew)
            follower = Follower(again.client, again.network, recorder)
            with pytest.raises(ChainBehindDatabase, match="was started anew"):
                follower.sync_once()
            follower.resync()
            assert Network.objects.get().genesis_hash != old_genesis
            assert amounts(recorder.held) == []
            assert Block.objects.count() == again.client.head().number + 1
            old[0].refresh_from_db()
            assert (old[0].status, old[0].nonce) == ("cancelled", None)
            send(again, 5)  # the same key is free for the new chain
            follower.sync_to_head()
            assert amounts(recorder.held) == [5]


def test_failures_whose_state_is_pruned_are_stored_without_a_reason(
    tmp_path: Path, settings: Any, db: None, redis_server: Redis
) -> None:
    with Anvil(log_path=tmp_path / "anvil.log", history=2) as anvil:
        settings.NETWORKS = {"dev": {"rpc_url": anvil.rpc_url, "chain_id": 31337}}
        chain = on_chain(anvil)
        broke = "0x" + encode_call(load("FLToken").abi, "transfer", [SOMEONE, 2**200]).hex()
        call = {"from": chain.deployer.address, "to": contract_address("FLToken"), "data": broke}
        old = anvil.rpc("eth_sendTransaction", {**call, "gas": hex(90_000)})
        chain.mine(20)
        new = anvil.rpc("eth_sendTransaction", {**call, "gas": hex(90_000)})
        chain.follower().sync_to_head()
    pruned, kept = Transaction.objects.get(hash=old), Transaction.objects.get(hash=new)
    assert (pruned.succeeded, pruned.error_name) == (False, "Reverted")
    assert "cannot replay the call" in pruned.error
    assert (kept.succeeded, kept.error_name) == (False, "ERC20InsufficientBalance")


# A network where not every transaction is ours to store


@pytest.fixture
def public(
    tmp_path: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, db: None, redis_server: Any
) -> Any:
    """An Anvil that is no development chain to us: chain id 777, real keystores."""
    with Anvil(chain_id=777, log_path=tmp_path / "anvil.log") as anvil:
        settings.CHAIN_NETWORK = "public"
        settings.NETWORKS = {"public": {"rpc_url": anvil.rpc_url, "chain_id": 777}}
        monkeypatch.setattr("chain.artifacts.DEPLOYMENTS", tmp_path)
        monkeypatch.setattr("chain.accounts.FULL_ITERATIONS", 2_048)
        yield anvil


def test_outside_development_only_what_concerns_us_is_stored(public: Anvil) -> None:
    from chain.accounts import KeystoreError, account_create, derived
    from chain.deploy import contracts_deploy

    with pytest.raises(KeystoreError, match="public"):
        account_derive(label="x", kind="deployer", index=0)
    deployer = account_create(label="D", kind="deployer", private_key=bytes(derived(0).key))
    network, client = network_current(), client_current()
    public.rpc("anvil_mine", "0x5")
    contracts_deploy(network=network, client=client, deployer=deployer, say=lambda line: None)
    chain = Chain(public, client, network, deployer, deployment=None)  # type: ignore[arg-type]
    accounts = public.rpc("eth_accounts")
    for number in range(3):
        public.rpc(
            "eth_sendTransaction", {"from": accounts[3], "to": accounts[4], "value": hex(number)}
        )
    rows = send(chain, 4, 5)
    recorder = Recorder()
    follower = Follower(client, network, recorder, reorg_limit=3)
    follower.sync_to_head()
    assert amounts(recorder.held) == [4, 5]
    assert Block.objects.order_by("number").first().number == 6  # type: ignore[union-attr]
    assert set(Transaction.objects.values_list("to_address", flat=True)) == {
        "",
        contract_address("FLToken"),
    }
    assert {OutgoingTransaction.objects.get(pk=r.pk).status for r in rows} == {"confirmed"}

    class SilentIndex(ChainClient):
        def logs(self, first: int, last: int, addresses: Any) -> list[Any]:
            return []

    send(chain, 6, key="more")
    lagging = Follower(SilentIndex(public.rpc_url), network, Recorder())
    with pytest.raises(InconsistentAnswer, match="index lags"):
        lagging.sync_to_head()
    follower.sync_to_head()
    assert amounts(recorder.held) == [4, 5, 6]

    public.rpc("anvil_reorg", 2, [])
    follower.sync_to_head()
    assert amounts(recorder.held) == [4]
    public.rpc("anvil_mine", "0x3")
    follower.sync_to_head()
    public.rpc("anvil_reorg", 5, [])
    with pytest.raises(ReorgTooDeep, match="CHAIN_REORG_LIMIT"):
        follower.sync_to_head()
