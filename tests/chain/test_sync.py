"""Following a real Anvil: nothing twice, nothing lost, nothing believed that contradicts itself."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings

from bcfl_site.embedded.anvil import Anvil
from chain.accounts import account_derive
from chain.client import ChainClient
from chain.errors import (
    ChainBehindDatabase,
    CursorMoved,
    InconsistentAnswer,
    ReorgTooDeep,
    WrongChain,
)
from chain.events import DecodedEvent
from chain.fetch import Fetched
from chain.models import (
    Block,
    Log,
    Network,
    OutgoingTransaction,
    SyncCursor,
    SyncState,
    Transaction,
)
from chain.network import client_current, network_current
from chain.outbox import account_send, outbox_rebroadcast, transaction_enqueue
from chain.selectors import contract_address, head, token_balance
from chain.steps import Stepper
from chain.sync import Follower
from chain.wire import FullBlock
from tests.chain.conftest import Chain, Recorder, on_chain

FLT = 10**18
SOMEONE = "0x1111111111111111111111111111111111111111"
# What CHAIN_PROJECTION names in these tests.
SHARED = Recorder()


def shared_projection() -> Recorder:
    return SHARED


def send(chain: Chain, *amounts: int, key: str = "t") -> list[OutgoingTransaction]:
    rows = [
        transaction_enqueue(
            account=chain.deployer,
            contract="FLToken",
            function="transfer",
            args=[SOMEONE, amount],
            idempotency_key=f"{key}:{number}",
        )
        for number, amount in enumerate(amounts)
    ]
    assert account_send(chain.deployer.pk) == len(rows)
    return rows


def tables() -> dict[str, Any]:
    """Everything sync stores, without row ids."""
    return {
        "blocks": list(Block.objects.order_by("number").values_list("number", "hash")),
        "transactions": list(
            Transaction.objects.order_by("block_number", "index").values_list(
                "hash", "function", "gas_used", "succeeded", "block__hash"
            )
        ),
        "logs": list(
            Log.objects.order_by("block_number", "log_index").values_list(
                "block__hash", "log_index", "event", "args", "transaction__hash"
            )
        ),
    }


def amounts(events: list[DecodedEvent]) -> list[int]:
    return [e.args["value"] for e in events if e.name == "Transfer" and e.args["to"] == SOMEONE]


def test_blocks_transactions_and_events_are_stored_once(chain: Chain) -> None:
    rows = send(chain, 1, 2, 3)
    recorder = Recorder()
    report = chain.follower(recorder).sync_to_head()
    assert amounts(recorder.held) == [1, 2, 3]
    top = chain.client.head()
    assert (report.block_number, report.caught_up) == (top.number, True)
    blocks = list(Block.objects.order_by("number"))
    assert [b.number for b in blocks] == list(range(top.number + 1))
    assert all(b.parent_hash == a.hash for a, b in itertools.pairwise(blocks))
    calls = Transaction.objects.filter(hash__in=[OutgoingTransaction.objects.get(pk=r.pk).tx_hash
                                                 for r in rows])  # fmt: skip
    assert {(c.contract, c.function, c.succeeded) for c in calls} == {("FLToken", "transfer", True)}
    assert {c.function for c in Transaction.objects.filter(to_address="")} == {"constructor"}

    stored, before = tables(), len(recorder.held)
    again = chain.follower(recorder).sync_once()
    assert (again.blocks, again.events) == (0, 0)
    assert (tables(), len(recorder.held)) == (stored, before)
    cursor = head(chain.network)
    assert cursor is not None
    assert (cursor.block_hash, cursor.state, cursor.lag) == (top.hash, SyncState.LIVE, 0)


def test_stored_logs_give_back_the_same_events(chain: Chain) -> None:
    send(chain, 1, 2)
    recorder = Recorder()
    chain.follower(recorder).sync_to_head()
    rows = Log.objects.exclude(event="").select_related("block", "transaction")
    assert [r.decoded() for r in rows.order_by("block_number", "log_index")] == recorder.held


def test_small_steps_give_the_same_tables_as_one(chain: Chain) -> None:
    send(chain, *range(1, 8))
    chain.follower(Recorder()).sync_to_head()
    at_once = tables()
    Block.objects.all().delete()
    SyncCursor.objects.all().delete()
    recorder = Recorder()
    follower = chain.follower(recorder, blocks_at_once=2)
    assert not follower.sync_once().caught_up
    assert SyncCursor.objects.get().state == SyncState.BACKFILL
    follower.sync_to_head()
    assert tables() == at_once
    assert amounts(recorder.held) == list(range(1, 8))


def test_confirmations_hold_blocks_back(chain: Chain) -> None:
    send(chain, 1)
    recorder = Recorder()
    follower = chain.follower(recorder, confirmations=3)
    follower.sync_to_head()
    assert amounts(recorder.held) == []
    chain.mine(3)
    follower.sync_to_head()
    assert amounts(recorder.held) == [1]
    assert SyncCursor.objects.get().lag == 3


def test_the_second_writer_is_refused_whole(chain: Chain) -> None:
    send(chain, 1, 2)
    winner_heard, loser_heard = Recorder(), Recorder()
    winner = chain.follower(winner_heard)

    class Overtaken(Follower):
        def _fetch(self, first: int, last: int) -> Fetched:
            fetched = super()._fetch(first, last)
            winner.sync_to_head()
            return fetched

    loser = Overtaken(chain.client, chain.network, loser_heard)
    with pytest.raises(CursorMoved, match="Run only one follower"):
        loser.sync_once()
    assert loser_heard.held == []
    assert amounts(winner_heard.held) == [1, 2]
    assert Block.objects.count() == chain.client.head().number + 1


def test_a_failing_projection_leaves_nothing_behind(chain: Chain) -> None:
    send(chain, 1)
    recorder = Recorder(fail_with=ValueError("projection broke"))
    follower = chain.follower(recorder)
    with pytest.raises(ValueError, match="projection broke"):
        follower.sync_to_head()
    assert not Block.objects.exists()
    assert SyncCursor.objects.get().block_number == -1
    recorder.fail_with = None
    follower.sync_to_head()
    assert amounts(recorder.held) == [1]


def test_events_stored_before_the_deployment_was_known_are_adopted(chain: Chain) -> None:
    send(chain, 7)
    recorder = Recorder()
    with override_settings(BCFL_HOME="/nonexistent"):  # no record of a deployment there
        chain.follower(recorder).sync_to_head()
    assert recorder.held == []
    assert Log.objects.filter(event="").exists()
    chain.follower(recorder).sync_once()
    assert amounts(recorder.held) == [7]
    assert Log.objects.get(args__value=7).event == "Transfer"


# Reorganisations


def test_a_reorg_drops_orphans_refolds_and_sends_again(chain: Chain) -> None:
    kept = send(chain, 1, key="kept")
    lost = send(chain, 2, 3, key="lost")
    recorder = Recorder()
    follower = chain.follower(recorder)
    follower.sync_to_head()
    assert amounts(recorder.held) == [1, 2, 3]

    chain.anvil.rpc("anvil_reorg", 2, [])
    report = follower.sync_to_head()
    assert report.orphaned_blocks == 2
    assert amounts(recorder.held) == [1]
    assert amounts(recorder.replayed) == [1]
    assert Block.objects.get(number=report.block_number).hash == chain.client.head().hash
    assert OutgoingTransaction.objects.get(pk=kept[0].pk).status == "confirmed"
    hashes = []
    for row in lost:
        row.refresh_from_db()
        assert (row.status, row.block_number, row.gas_used) == ("sent", None, None)
        hashes.append(row.tx_hash)
    assert sorted(recorder.committed_calls[-1][2]) == [row.pk for row in lost]

    outbox_rebroadcast(chain.network, chain.client)
    follower.sync_to_head()
    assert amounts(recorder.held) == [1, 2, 3]
    for row, tx_hash in zip(lost, hashes, strict=True):
        row.refresh_from_db()
        assert (row.status, row.tx_hash) == ("confirmed", tx_hash)
    assert token_balance(SOMEONE) == 6

    incremental = tables()
    Block.objects.all().delete()
    SyncCursor.objects.all().delete()
    chain.follower(Recorder()).sync_to_head()
    assert tables() == incremental


def test_a_reorg_at_the_same_height_is_noticed(chain: Chain) -> None:
    send(chain, 1)
    recorder = Recorder()
    follower = chain.follower(recorder)
    follower.sync_to_head()
    chain.anvil.rpc("anvil_reorg", 1, [])
    assert follower.sync_once().orphaned_blocks == 1
    assert amounts(recorder.held) == []


def test_a_shorter_chain_is_named_and_resync_puts_it_right(chain: Chain) -> None:
    send(chain, 1, key="kept")
    snapshot = chain.anvil.rpc("evm_snapshot")
    lost = send(chain, 2, key="lost")
    SHARED.held = []
    follower = chain.follower(SHARED)
    follower.sync_to_head()
    behind = head(chain.network)
    assert behind is not None
    chain.anvil.rpc("evm_revert", snapshot)

    with pytest.raises(ChainBehindDatabase, match=r"manage\.py resync"):
        follower.sync_once()
    assert amounts(SHARED.held) == [1, 2]  # nothing was guessed

    with override_settings(CHAIN_PROJECTION=f"{__name__}.shared_projection"):
        call_command("resync", stdout=(lines := Lines()))
    assert lines.text.startswith("dev (chain 31337): dropped 1 blocks")
    assert "1 lost transactions sent again" in lines.text
    follower.sync_to_head()
    assert amounts(SHARED.held) == [1, 2]
    assert OutgoingTransaction.objects.get(pk=lost[0].pk).status == "confirmed"
    assert token_balance(SOMEONE) == 3


def test_a_shorter_chain_that_went_on_differently_is_a_reorg(chain: Chain) -> None:
    snapshot = chain.anvil.rpc("evm_snapshot")
    send(chain, 1, 2)
    recorder = Recorder()
    follower = chain.follower(recorder)
    follower.sync_to_head()
    chain.anvil.rpc("evm_revert", snapshot)
    chain.anvil.rpc("evm_increaseTime", 1000)
    chain.mine(1)
    assert follower.sync_to_head().block_number == chain.client.head().number
    assert amounts(recorder.held) == []


def test_a_reorg_beyond_the_limit_stops_sync_until_resync(chain: Chain) -> None:
    send(chain, 1, 2, 3)
    recorder = Recorder()
    follower = chain.follower(recorder, reorg_limit=2)
    follower.sync_to_head()
    stored = tables()
    chain.anvil.rpc("anvil_reorg", 3, [])
    with pytest.raises(ChainBehindDatabase, match="more than 2 blocks ago"):
        follower.sync_once()
    assert tables() == stored
    follower.resync()
    assert amounts(recorder.held) == []


class Lines:
    """A stream for a command's output."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is buffered."""

    def isatty(self) -> bool:
        return False


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
    assert isinstance(follower, Stepper)
