"""The outbox on a real Anvil: once, whatever happens."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, connections

from chain import outbox, sender
from chain.accounts import account_derive
from chain.errors import IdempotencyConflict, NodeUnavailable
from chain.models import Account, OutgoingTransaction
from chain.outbox import account_send, outbox_tick, transaction_enqueue
from tests.chain.conftest import Chain, Recorder

FLT = 10**18


def transfer(chain: Chain, key: str, amount: int = FLT, to: str = "0x" + "11" * 20):
    return transaction_enqueue(
        account=chain.deployer,
        contract="FLToken",
        function="transfer",
        args=[to, amount],
        idempotency_key=key,
    )


def test_send_and_sync_confirms(chain: Chain) -> None:
    row = transfer(chain, "a")
    assert account_send(chain.deployer.pk) == 1
    row.refresh_from_db()
    assert row.status == "sent"
    recorder = Recorder()
    chain.follower(recorder).sync_to_head()
    row.refresh_from_db()
    assert row.status == "confirmed"
    assert row.gas_used
    assert row.fee == row.gas_used * row.effective_gas_price
    assert [e.name for e in recorder.held if e.tx_hash == row.tx_hash] == ["Transfer"]
