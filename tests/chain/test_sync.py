"""Following a real Anvil: nothing twice, nothing lost, nothing believed that contradicts itself."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings

from chain.errors import (
    ChainBehindDatabase,
    CursorMoved,
)
from chain.fetch import Fetched
from chain.models import (
    Block,
    Log,
    OutgoingTransaction,
    SyncCursor,
    SyncState,
    Transaction,
)
from chain.outbox import outbox_rebroadcast
from chain.selectors import head, token_balance
from chain.sync import Follower
from tests.chain.conftest import Chain, Recorder
from tests.chain.helpers import SOMEONE, Lines, amounts, send

# What CHAIN_PROJECTION names in these tests.
SHARED = Recorder()


def shared_projection() -> Recorder:
    return SHARED


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


def test_resync_from_a_block_reads_it_and_all_after_it_again(chain: Chain) -> None:
    rows = send(chain, 1, 2, 3)
    SHARED.held = []
    follower = chain.follower(SHARED)
    follower.sync_to_head()
    stored = tables()
    damaged = Transaction.objects.get(hash=OutgoingTransaction.objects.get(pk=rows[1].pk).tx_hash)
    Log.objects.filter(transaction=damaged).delete()
    assert tables() != stored
    with override_settings(CHAIN_PROJECTION=f"{__name__}.shared_projection"):
        call_command("resync", "--from-block", str(damaged.block_number), stdout=(lines := Lines()))
    assert lines.text.startswith("dev (chain 31337): dropped 2 blocks")
    assert tables() == stored
    assert {OutgoingTransaction.objects.get(pk=r.pk).status for r in rows} == {"confirmed"}
    with override_settings(CHAIN_PROJECTION=f"{__name__}.shared_projection"):
        call_command("resync", "--from-block", "0", stdout=Lines())
    assert tables() == stored
