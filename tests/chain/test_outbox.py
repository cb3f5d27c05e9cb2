"""The outbox on a real Anvil: each row has its effect once, whatever happens on the way."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

from bcfl_site.embedded.process import free_port, wait_until
from chain import outbox, sender
from chain.accounts import account_create, account_derive, derived
from chain.client import ChainClient
from chain.errors import CallFailed, IdempotencyConflict, NodeUnavailable, NonceTaken
from chain.models import Account, OutgoingTransaction
from chain.outbox import (
    account_fund_enqueue,
    account_send,
    outbox_rebroadcast,
    outbox_tick,
    transaction_enqueue,
    transaction_retry,
)
from chain.selectors import contract_address, token_balance
from tests.chain.conftest import Chain, Recorder

FLT = 10**18
SOMEONE = "0x1111111111111111111111111111111111111111"


def transfer(account: Account, key: str, amount: int = FLT, to: str = SOMEONE) -> Any:
    return transaction_enqueue(
        account=account,
        contract="FLToken",
        function="transfer",
        args=[to, amount],
        idempotency_key=key,
    )


class DiesAt(ChainClient):
    """The process ends before or after the node takes the bytes."""

    class Killed(BaseException):
        pass

    def __init__(self, url: str, *, after: bool) -> None:
        super().__init__(url)
        self._after = after

    def send_raw(self, raw_transaction: str) -> str:
        if self._after:
            super().send_raw(raw_transaction)
        raise self.Killed


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tick looks after everything at once, without the seconds of grace."""
    nothing = timedelta(0)
    monkeypatch.setattr(outbox, "FORGOTTEN_AFTER", nothing)
    monkeypatch.setattr(outbox, "BROADCAST_AGAIN_AFTER", nothing)
    monkeypatch.setattr(outbox, "_retry_wait", lambda attempts: nothing)


def test_a_sent_row_is_confirmed_by_sync_with_its_gas(chain: Chain) -> None:
    row = transfer(chain.deployer, "a")
    assert account_send(chain.deployer.pk) == 1
    row.refresh_from_db()
    assert (row.status, row.nonce) == ("sent", chain.client.nonce(chain.deployer.address) - 1)

    recorder = Recorder()
    chain.follower(recorder).sync_to_head()
    row.refresh_from_db()
    (receipt,) = chain.client.receipts([row.tx_hash])
    assert receipt is not None
    assert row.status == "confirmed"
    assert (row.gas_used, row.block_number) == (receipt.gas_used, receipt.block_number)
    assert row.fee == receipt.gas_used * receipt.effective_gas_price
    assert [e.args["value"] for e in recorder.held if e.tx_hash == row.tx_hash] == [FLT]
    assert row.pk in recorder.committed_calls[-1][2]


def test_one_row_for_one_key(chain: Chain) -> None:
    first = transfer(chain.deployer, "k")
    assert transfer(chain.deployer, "k").pk == first.pk
    with pytest.raises(IdempotencyConflict, match="k already stands for"):
        transfer(chain.deployer, "k", amount=2 * FLT)
    assert OutgoingTransaction.objects.count() == 1


def test_arguments_that_do_not_fit_are_refused_at_once(chain: Chain) -> None:
    with pytest.raises(CallFailed, match="do not fit transfer"):
        transfer(chain.deployer, "k", amount=-1)
    assert not OutgoingTransaction.objects.exists()


def test_senders_side_by_side_send_each_row_once(committed_chain: Chain) -> None:
    chain = committed_chain
    accounts = [chain.deployer, account_derive(label="Two", kind="operator", index=1)]
    rows = 12
    for number in range(rows):
        for account in accounts:
            transaction_enqueue(
                account=account,
                contract="",
                function="",
                args=[],
                to=SOMEONE,
                value=1,
                idempotency_key=f"{account.pk}:{number}",
            )
    before = {a.pk: chain.client.nonce(a.address) for a in accounts}
    start = threading.Barrier(4)
    problems: list[BaseException] = []

    def send(account_id: int) -> None:
        try:
            start.wait()
            account_send(account_id)
        except BaseException as error:
            problems.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=send, args=(a.pk,)) for a in accounts * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert problems == []
    assert chain.client.balance(SOMEONE) == rows * len(accounts)
    chain.follower().sync_to_head()
    for account in accounts:
        nonces = list(
            OutgoingTransaction.objects.filter(account=account, status="confirmed")
            .order_by("pk")
            .values_list("nonce", flat=True)
        )
        assert nonces == list(range(before[account.pk], before[account.pk] + rows))


@pytest.mark.parametrize("after", [False, True], ids=["before the node", "after the node"])
def test_a_kill_around_broadcast_sends_once(chain: Chain, impatient: None, after: bool) -> None:
    row = transfer(chain.deployer, "k")
    before = token_balance(SOMEONE)
    with pytest.raises(DiesAt.Killed):
        account_send(chain.deployer.pk, client=DiesAt(chain.client.url, after=after))
    row.refresh_from_db()
    assert row.status == "sent"
    assert row.raw_transaction
    assert row.broadcast_at is None
    if after:  # the node has it; its block may take a moment
        wait_until(lambda: token_balance(SOMEONE) > before, what="the transfer")
    assert token_balance(SOMEONE) - before == (FLT if after else 0)

    tx_hash = row.tx_hash
    for _ in range(2):
        outbox_tick()
    wait_until(lambda: token_balance(SOMEONE) > before, what="the transfer")
    assert token_balance(SOMEONE) - before == FLT
    chain.follower().sync_to_head()
    row.refresh_from_db()
    assert (row.status, row.tx_hash) == ("confirmed", tx_hash)


def test_a_refused_call_fails_in_words_and_frees_the_queue(chain: Chain) -> None:
    poor = account_derive(label="Poor", kind="participant", index=6)
    bad = transfer(poor, "bad", amount=5)
    good = transaction_enqueue(
        account=poor,
        contract="FLToken",
        function="approve",
        args=[contract_address("FLCoordinator"), 5],
        idempotency_key="good",
    )
    assert account_send(poor.pk) == 1
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.status, bad.error_name, bad.nonce) == ("failed", "ERC20InsufficientBalance", None)
    assert bad.error == (
        "The account holds fewer tokens than this takes "
        f"(sender {poor.address}, balance 0, needed 5)."
    )
    assert good.status == "sent"

    transfer(chain.deployer, "gift", to=poor.address)
    account_send(chain.deployer.pk)
    transaction_retry(bad.pk)
    assert account_send(poor.pk) == 1
    bad.refresh_from_db()
    assert (bad.status, bad.error) == ("sent", "")
    with pytest.raises(IdempotencyConflict, match="only a failed or cancelled"):
        transaction_retry(bad.pk)


def test_a_call_that_may_need_an_earlier_one_waits_for_it(chain: Chain) -> None:
    poor = account_derive(label="Poor", kind="participant", index=6)
    chain.automine(False)
    try:
        first = transaction_enqueue(
            account=poor,
            contract="",
            function="",
            args=[],
            to=SOMEONE,
            value=1,
            idempotency_key="first",
        )
        second = transfer(poor, "second", amount=5)
        assert account_send(poor.pk) == 1
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.status, second.status) == ("sent", "queued")
        assert second.error.startswith("The account holds fewer tokens")
        chain.mine()
    finally:
        chain.automine(True)
    chain.follower().sync_to_head()
    account_send(poor.pk)
    second.refresh_from_db()
    assert second.status == "failed"


def test_dependent_calls_go_out_together(chain: Chain) -> None:
    """approve, then transferFrom that needs it, without waiting for a block between them."""
    spender = chain.deployer
    chain.automine(False)
    try:
        for name, function, args in (
            ("approve", "approve", [spender.address, FLT]),
            ("spend", "transferFrom", [spender.address, SOMEONE, FLT]),
        ):
            transaction_enqueue(
                account=spender,
                contract="FLToken",
                function=function,
                args=args,
                idempotency_key=name,
            )
        assert account_send(spender.pk) == 2
        chain.mine()
    finally:
        chain.automine(True)
    assert token_balance(SOMEONE) == FLT


def test_a_mined_failure_says_why(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "GAS_MARGIN", 0.8)
    row = transfer(chain.deployer, "k")
    account_send(chain.deployer.pk)
    chain.follower().sync_to_head()
    row.refresh_from_db()
    assert (row.status, row.error_name) == ("failed", "OutOfGas")
    assert row.error == f"The transaction used all of its gas limit of {row.gas_limit} gas."
    assert row.gas_used == row.gas_limit


told = Recorder()


def shared_recorder() -> Recorder:
    """What CHAIN_PROJECTION names in the next test."""
    return told


@override_settings(CHAIN_PROJECTION=f"{__name__}.shared_recorder")
def test_what_no_block_will_tell_is_told_at_once(chain: Chain) -> None:
    told.committed_calls.clear()
    refused = transfer(chain.deployer, "too much", amount=10**30 * FLT)
    assert account_send(chain.deployer.pk) == 0
    refused.refresh_from_db()
    assert refused.status == "failed"
    assert told.committed_calls == [(0, 0, [refused.pk])]

    waits = transfer(chain.deployer, "node away")
    dead = ChainClient(f"http://127.0.0.1:{free_port()}")
    account_send(chain.deployer.pk, client=dead)
    account_send(chain.deployer.pk, client=dead)
    assert told.committed_calls[1:] == [(0, 0, [waits.pk])]  # once for the same reason


def test_eth_for_gas_comes_from_the_deployer_and_wakes_what_waits(
    chain: Chain, impatient: None
) -> None:
    newcomer = account_create(label="New", kind="participant")
    approve = transaction_enqueue(
        account=newcomer,
        contract="FLToken",
        function="approve",
        args=[SOMEONE, 1],
        idempotency_key="approve",
    )
    assert account_send(newcomer.pk) == 0
    approve.refresh_from_db()
    assert (approve.status, approve.error_name) == ("queued", "InsufficientFunds")
    assert "has 0 wei" in approve.error

    funding = account_fund_enqueue(newcomer, wei=10**17)
    assert account_fund_enqueue(newcomer, wei=10**17).pk == funding.pk
    account_send(chain.deployer.pk)
    outbox_tick()
    chain.follower().sync_to_head()
    approve.refresh_from_db()
    funding.refresh_from_db()
    assert (approve.status, funding.status, funding.gas_used) == ("confirmed", "confirmed", 21_000)


def test_a_dead_node_leaves_rows_queued_with_the_reason(chain: Chain, impatient: None) -> None:
    row = transfer(chain.deployer, "k")
    dead = ChainClient(f"http://127.0.0.1:{free_port()}")
    assert account_send(chain.deployer.pk, client=dead) == 0
    row.refresh_from_db()
    assert (row.status, row.error_name) == ("queued", NodeUnavailable.__name__)
    assert "No Ethereum node answers" in row.error
    outbox_tick()
    row.refresh_from_db()
    assert (row.status, row.error) == ("sent", "")


def test_a_nonce_taken_by_someone_else_means_a_new_signature(chain: Chain) -> None:
    chain.automine(False)
    try:
        row = transfer(chain.deployer, "k")
        account_send(chain.deployer.pk)
        row.refresh_from_db()
        chain.anvil.rpc("anvil_dropTransaction", row.tx_hash)
    finally:
        chain.automine(True)
    foreign = derived(0).sign_transaction(
        {"to": SOMEONE, "value": 1, "gas": 21_000, "gasPrice": 10**11, "nonce": row.nonce,
         "chainId": 31337}
    )  # fmt: skip
    chain.client.send_raw("0x" + bytes(foreign.raw_transaction).hex())
    before = token_balance(SOMEONE)
    chain.follower().sync_to_head()
    old_nonce = row.nonce
    row.refresh_from_db()
    assert (row.status, row.nonce) == ("queued", None)
    account_send(chain.deployer.pk)
    chain.follower().sync_to_head()
    row.refresh_from_db()
    assert (row.status, row.nonce) == ("confirmed", old_nonce + 1)
    assert token_balance(SOMEONE) - before == FLT


class Forgetful(ChainClient):
    """Says "nonce too low" for bytes it mined, and does not show them yet."""

    def send_raw(self, raw_transaction: str) -> str:
        super().send_raw(raw_transaction)
        raise NonceTaken("eth_sendRawTransaction: nonce too low")

    def receipts(self, hashes: Any) -> list[Any]:
        return [None for _ in hashes]

    def knows_transactions(self, hashes: Any) -> list[bool]:
        return [False for _ in hashes]


def test_nonce_too_low_for_our_own_bytes_never_signs_again(chain: Chain, impatient: None) -> None:
    """Found by a resync that raced a rebroadcast: the first answer was for our own bytes."""
    row = transfer(chain.deployer, "k")
    before = token_balance(SOMEONE)
    forgetful = Forgetful(chain.client.url)
    assert account_send(chain.deployer.pk, client=forgetful) == 1
    row.refresh_from_db()
    signed = (row.status, row.tx_hash, row.nonce)
    assert signed[0] == "sent"
    outbox_rebroadcast(chain.network, forgetful)
    row.refresh_from_db()
    assert (row.status, row.tx_hash, row.nonce) == signed
    chain.follower().sync_to_head()
    row.refresh_from_db()
    assert (row.status, row.tx_hash) == ("confirmed", signed[1])
    assert token_balance(SOMEONE) - before == FLT


def test_a_nonce_lost_in_a_block_that_sync_did_not_read_is_found_by_the_tick(
    chain: Chain, impatient: None
) -> None:
    chain.automine(False)
    try:
        row = transfer(chain.deployer, "k")
        account_send(chain.deployer.pk)
        row.refresh_from_db()
        chain.anvil.rpc("anvil_dropTransaction", row.tx_hash)
    finally:
        chain.automine(True)
    OutgoingTransaction.objects.filter(pk=row.pk).update(status="queued")  # sync looks past it
    foreign = derived(0).sign_transaction(
        {"to": SOMEONE, "value": 1, "gas": 21_000, "gasPrice": 10**11, "nonce": row.nonce,
         "chainId": 31337}
    )  # fmt: skip
    chain.client.send_raw("0x" + bytes(foreign.raw_transaction).hex())
    OutgoingTransaction.objects.filter(pk=row.pk).update(status="sent")
    outbox_rebroadcast(chain.network, chain.client)
    row.refresh_from_db()
    assert row.status == "sent"  # no block of ours shows it yet
    OutgoingTransaction.objects.filter(pk=row.pk).update(status="queued")
    chain.follower().sync_to_head()
    OutgoingTransaction.objects.filter(pk=row.pk).update(status="sent")
    outbox_rebroadcast(chain.network, chain.client)
    row.refresh_from_db()
    assert (row.status, row.nonce) == ("queued", None)
    assert "not ours" in row.error


def test_a_call_to_an_address_without_code_is_never_sent(chain: Chain) -> None:
    row = transaction_enqueue(
        account=chain.deployer,
        contract="FLToken",
        function="transfer",
        args=[SOMEONE, 1],
        to=SOMEONE,
        idempotency_key="k",
    )
    assert account_send(chain.deployer.pk) == 0
    row.refresh_from_db()
    assert (row.status, row.error_name) == ("queued", "NotDeployed")
    assert "deploy_contracts" in row.error


def test_lost_mempool_is_filled_again_in_order(chain: Chain) -> None:
    chain.automine(False)
    try:
        rows = [transfer(chain.deployer, f"k{n}") for n in range(3)]
        assert account_send(chain.deployer.pk) == 3
        chain.anvil.rpc("anvil_dropAllTransactions")
        assert outbox_rebroadcast(chain.network, chain.client) == 3
        assert outbox_rebroadcast(chain.network, chain.client) == 0
        chain.mine()
    finally:
        chain.automine(True)
    chain.follower().sync_to_head()
    assert [OutgoingTransaction.objects.get(pk=r.pk).status for r in rows] == ["confirmed"] * 3
