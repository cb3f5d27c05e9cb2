"""Transactions that wait too long at the node get a higher fee, and still happen once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bcfl_site.embedded.anvil import Anvil
from bcfl_site.embedded.redis import Redis
from chain import outbox
from chain.models import OutgoingTransaction
from chain.outbox import outbox_rebroadcast
from chain.selectors import token_balance
from chain.sender import decode_fees
from tests.chain.conftest import Chain, on_chain
from tests.chain.helpers import SOMEONE, send


@pytest.fixture
def slow(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A chain that mines nothing by itself, and a sender without patience."""
    monkeypatch.setattr(outbox, "STUCK_AFTER", timedelta(0))
    chain.automine(False)
    yield chain
    chain.automine(True)


def test_the_oldest_waiting_row_is_replaced_by_dearer_bytes(slow: Chain) -> None:
    first, second = send(slow, 1, 2)
    first.refresh_from_db()
    second.refresh_from_db()
    before = (first.tx_hash, first.max_fee_per_gas, decode_fees(first.raw_transaction))
    outbox_rebroadcast(slow.network, slow.client)
    first.refresh_from_db()
    assert (first.status, first.replaced_hashes) == ("sent", [before[0]])
    assert first.tx_hash != before[0]
    assert before[1] is not None
    assert first.max_fee_per_gas is not None
    assert first.max_fee_per_gas * 100 >= before[1] * 110
    assert decode_fees(first.raw_transaction).priority_fee * 100 >= before[2].priority_fee * 110
    assert slow.client.knows_transactions([before[0], first.tx_hash]) == [False, True]
    untouched = OutgoingTransaction.objects.get(pk=second.pk)
    assert untouched.tx_hash == second.tx_hash  # it waits for the first, not for its fee

    slow.mine()
    slow.follower().sync_to_head()
    first.refresh_from_db()
    assert (first.status, first.tx_hash) == ("confirmed", first.tx_hash)
    assert token_balance(SOMEONE) == 3


def test_the_first_bytes_may_win_all_the_same(slow: Chain) -> None:
    (row,) = send(slow, 1)
    row.refresh_from_db()
    original = row.raw_transaction
    first_hash = row.tx_hash
    outbox_rebroadcast(slow.network, slow.client)
    row.refresh_from_db()
    assert row.tx_hash != first_hash
    slow.anvil.rpc("anvil_dropTransaction", row.tx_hash)
    slow.client.send_raw(original)  # as if another node had kept them
    slow.mine()
    slow.follower().sync_to_head()
    row.refresh_from_db()
    assert (row.status, row.tx_hash) == ("confirmed", first_hash)
    assert token_balance(SOMEONE) == 1


def test_what_a_node_drops_for_its_fee_gets_a_higher_one(
    fresh_anvil: Anvil, redis_server: Redis, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks cost more than it offers, so the node takes these bytes no more."""
    monkeypatch.setattr(outbox, "STUCK_AFTER", timedelta(0))
    chain = on_chain(fresh_anvil)
    chain.automine(False)
    (row,) = send(chain, 1)
    row.refresh_from_db()
    assert row.max_fee_per_gas is not None
    fresh_anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(4 * row.max_fee_per_gas))
    chain.mine()
    assert chain.client.knows_transactions([row.tx_hash]) == [False]
    outbox_rebroadcast(chain.network, chain.client)
    chain.mine()
    chain.follower().sync_to_head()
    row.refresh_from_db()
    assert (row.status, len(row.replaced_hashes)) == ("confirmed", 1)
    assert token_balance(SOMEONE) == 1
