"""Send each asked-for transaction exactly once.

A row goes queued -> sent -> confirmed | failed. Between queued and sent it gets its nonce, its
fee and its signature in one database transaction; the bytes are broadcast only after that
commit. A process that dies anywhere leaves either no bytes (the row is still queued) or stored
bytes (anyone may broadcast them again: same nonce, same hash). Two senders of one account
cannot take the same row (its status is the guard) nor the same nonce (a unique constraint).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Max
from django.utils import timezone

from chain import settle
from chain.accounts import signing_account
from chain.artifacts import deployment, load
from chain.calls import encode_call, json_value
from chain.client import ChainClient, call_object
from chain.errors import (
    AlreadyKnown,
    CallFailed,
    ChainError,
    ContractReverted,
    IdempotencyConflict,
    InconsistentAnswer,
    InsufficientFunds,
    KeystoreError,
    NodeTimeout,
    NodeUnavailable,
    NonceTaken,
    NotDeployed,
)
from chain.models import (
    Account,
    AccountKind,
    Network,
    OutgoingStatus,
    OutgoingTransaction,
    SyncCursor,
)
from chain.network import client_current, network_current
from chain.wake import wake_sender_on_commit
from chain.wire import Fees, parse_header

logger = logging.getLogger(__name__)

GAS_MARGIN = 1.25  # the state may change between estimate and mining
FORGOTTEN_AFTER = timedelta(seconds=2)  # a queued row nobody tried: its wake-up was lost
RETRY_SECONDS_MAX = 60
BROADCAST_AGAIN_AFTER = timedelta(seconds=5)
TICK_ROWS = 200


def transaction_enqueue(
    *,
    account: Account,
    contract: str,
    function: str,
    args: Sequence[Any],
    idempotency_key: str,
    value: int = 0,
    to: str | None = None,
    reference: str = "",
) -> OutgoingTransaction:
    """Ask for a call of `contract.function(*args)` from `account`, once per idempotency key.

    `to`: another address than the deployment's. `value`: wei of ETH. With an empty `contract`
    it is a plain transfer of `value` to `to`. The sender is woken when the surrounding database
    transaction commits.

    Returns the row; the existing one when the key was used for the same call.
    Raises IdempotencyConflict when the key stands for another call, NotDeployed, CallFailed
    when the arguments do not fit.
    """
    network = network_current()
    if contract:
        target = to or _address_of(network, contract)
        data = "0x" + encode_call(load(contract).abi, function, args).hex()
    else:
        if not to:
            raise CallFailed("A plain transfer needs `to`.")
        target, data = to, "0x"
    row, created = OutgoingTransaction.objects.get_or_create(
        idempotency_key=idempotency_key,
        defaults={
            "network": network,
            "account": account,
            "contract": contract,
            "function": function if contract else "",
            "args": json_value(list(args)),
            "to": target,
            "data": data,
            "value": value,
            "reference": reference,
        },
    )
    if not created and row.call != (network.pk, account.pk, target, data, value):
        raise IdempotencyConflict(
            f"The key {idempotency_key} already stands for {row.contract or 'transfer'}."
            f"{row.function} from account {row.account_id} (row {row.pk}, {row.status}) with other "
            "arguments. A different call needs a different key."
        )
    if created:
        wake_sender_on_commit(account.pk)
    return row


def account_fund_enqueue(
    account: Account, *, wei: int, idempotency_key: str | None = None
) -> OutgoingTransaction:
    """Give an account ETH for gas: a plain transfer from the deployer.

    Raises KeystoreError when no deployer account exists yet.
    """
    deployer = Account.objects.filter(kind=AccountKind.DEPLOYER).order_by("pk").first()
    if deployer is None:
        raise KeystoreError(
            "No deployer account to pay from. Run `manage.py deploy_contracts`, which makes it."
        )
    return transaction_enqueue(
        account=deployer,
        contract="",
        function="",
        args=[],
        to=account.address,
        value=wei,
        idempotency_key=idempotency_key or f"account:{account.address}:fund",
        reference="funding",
    )


def transaction_retry(row_id: int) -> OutgoingTransaction:
    """Put a failed row that never got a nonce, or whose call was reverted, back in the queue.

    A reverted transaction has spent its nonce, so it is signed anew: the revert was its only
    effect. Raises IdempotencyConflict when the row is in another state.
    """
    changed = OutgoingTransaction.objects.filter(
        pk=row_id, status__in=(OutgoingStatus.FAILED, OutgoingStatus.CANCELLED)
    ).update(
        status=OutgoingStatus.QUEUED,
        nonce=None,
        tx_hash="",
        replaced_hashes=[],
        raw_transaction="",
        sent_at=None,
        broadcast_at=None,
        confirmed_at=None,
        block_number=None,
        gas_used=None,
        effective_gas_price=None,
        error_name="",
        error="",
        attempted_at=None,
    )
    row = OutgoingTransaction.objects.get(pk=row_id)
    if not changed:
        raise IdempotencyConflict(
            f"Row {row_id} is {row.status}; only a failed or cancelled one can be retried."
        )
    wake_sender_on_commit(row.account_id)
    return row


def account_send(account_id: int, *, client: ChainClient | None = None) -> int:
    """Sign and broadcast the account's queue, in order; returns how many were broadcast.

    Safe to run in any number of threads and processes at once. Node errors leave the rows
    queued with the reason; `outbox_tick` comes back to them.
    """
    client = client or client_current()
    network = network_current()
    sent = 0
    while True:
        row = (
            OutgoingTransaction.objects.filter(
                network=network, account_id=account_id, status=OutgoingStatus.QUEUED
            )
            .select_related("account", "network")
            .order_by("pk")
            .first()
        )
        if row is None:
            return sent
        try:
            signed = _prepare(row, client)
            if signed is None:
                continue  # failed for good, or another sender has it: on to the next
            broadcast(signed, client)
            sent += 1
        except ChainError as error:
            _note(row, error)
            return sent


@dataclass(frozen=True, slots=True)
class _Quote:
    gas: int
    fees: Fees
    mined: int  # transactions of the account mined so far


def _prepare(row: OutgoingTransaction, client: ChainClient) -> OutgoingTransaction | None:
    """Queued -> sent. None when the row is no longer ours to send.

    Raises ChainError when the row must wait.
    """
    signer = signing_account(row.account)  # decrypts, so before any lock
    try:
        quote = _quote(row, client)
    except (ContractReverted, CallFailed) as error:
        if _in_flight(row):
            raise  # an earlier one of this account may be what it needs
        _fail(row, error)
        return None
    try:
        with transaction.atomic():
            # PostgreSQL locks the row, SQLite the database: nonces are given one at a time.
            Account.objects.select_for_update().get(pk=row.account_id)
            fresh = OutgoingTransaction.objects.select_for_update().get(pk=row.pk)
            if fresh.status != OutgoingStatus.QUEUED:
                return None
            _sign(fresh, quote, signer, client.chain_id(), _next_nonce(fresh, quote.mined))
            return fresh
    except IntegrityError as error:
        raise InconsistentAnswer(
            f"The node counts {quote.mined} transactions of {row.account.address}, but a later one "
            "is confirmed in the database. The node lags behind, or its chain is older than the "
            "database; then run `manage.py resync`."
        ) from error


def _quote(row: OutgoingTransaction, client: ChainClient) -> _Quote:
    """Everything signing needs, in one request.

    Raises ContractReverted when the call would fail on top of what waits to be mined.
    """
    request = call_object(
        to=row.to or None, data=row.data, sender=row.account.address, value=row.value
    )
    gas, count, head, balance, code = client.try_batch(
        [
            ("eth_estimateGas", (request, "pending")),
            ("eth_getTransactionCount", (row.account.address, "latest")),
            ("eth_getBlockByNumber", ("latest", False)),
            ("eth_getBalance", (row.account.address, "pending")),
            ("eth_getCode", (row.to, "latest")),
        ]
    )
    for answer in (count, head, balance, code):
        if isinstance(answer, ChainError):
            raise answer
    if row.data != "0x" and code == "0x":
        # A call to an address without code succeeds and does nothing.
        raise NotDeployed(
            f"{row.contract or 'The contract'} has no code at {row.to} on chain "
            f"{row.network.chain_id}. Run `manage.py deploy_contracts`; after a restart of the "
            "development chain, `manage.py resync` too."
        )
    if isinstance(gas, ChainError) and not isinstance(gas, InsufficientFunds):
        raise gas
    fees = client.fees(parse_header(head))
    have = int(balance, 16)
    if isinstance(gas, InsufficientFunds) or have < row.value + int(gas, 16) * fees.max_fee:
        need = row.value if isinstance(gas, ChainError) else row.value + int(gas, 16) * fees.max_fee
        raise InsufficientFunds(
            f"{row.account.address} ({row.account.label}) has {have} wei and needs at least "
            f"{need} wei for {row.function or 'the transfer'}. Send it ETH; it goes out by itself."
        )
    plain = row.data == "0x" and code == "0x"
    gas_limit = int(gas, 16) if plain else min(int(int(gas, 16) * GAS_MARGIN), _gas_cap(head))
    return _Quote(gas=gas_limit, fees=fees, mined=int(count, 16))


def _gas_cap(head: dict[str, Any]) -> int:
    return int(head["gasLimit"], 16)


def _in_flight(row: OutgoingTransaction) -> bool:
    """Whether the answer could still change: an earlier row of this account is not mined."""
    return OutgoingTransaction.objects.filter(
        network_id=row.network_id, account_id=row.account_id, status=OutgoingStatus.SENT
    ).exists()


def _next_nonce(row: OutgoingTransaction, mined: int) -> int:
    """One past everything mined and everything of ours in flight. Under the account's lock."""
    highest = OutgoingTransaction.objects.filter(
        network_id=row.network_id, account_id=row.account_id, status=OutgoingStatus.SENT
    ).aggregate(highest=Max("nonce"))["highest"]
    return mined if highest is None else max(mined, highest + 1)


def _sign(
    row: OutgoingTransaction, quote: _Quote, signer: Any, chain_id: int, nonce: int
) -> None:
    call: dict[str, Any] = {
        "type": 2,
        "chainId": chain_id,
        "nonce": nonce,
        "value": row.value,
        "data": row.data,
        "gas": quote.gas,
        "maxFeePerGas": quote.fees.max_fee,
        "maxPriorityFeePerGas": quote.fees.priority_fee,
    }
    if row.to:
        call["to"] = row.to
    signed = signer.sign_transaction(call)
    now = timezone.now()
    row.status = OutgoingStatus.SENT
    row.nonce = nonce
    row.gas_limit = quote.gas
    row.max_fee_per_gas = quote.fees.max_fee
    row.raw_transaction = "0x" + bytes(signed.raw_transaction).hex()
    row.tx_hash = "0x" + bytes(signed.hash).hex()
    row.attempts += 1
    row.attempted_at = row.sent_at = now
    row.error_name = row.error = ""
    row.save()


def broadcast(row: OutgoingTransaction, client: ChainClient) -> None:
    """Give the stored bytes to the node. Any number of times: the hash stays the same.

    Raises ChainError when the node did not take them; the row stays sent and is tried again.
    """
    try:
        client.send_raw(row.raw_transaction)
    except AlreadyKnown:
        logger.debug("node already has %s", row.tx_hash)
    except NonceTaken:
        if not any(client.knows_transactions(sorted(settle.hashes_of(row)))):
            settle.requeue(
                row,
                f"Nonce {row.nonce} was used by a transaction that is not ours; signed anew.",
            )
            wake_sender_on_commit(row.account_id)
            return
    OutgoingTransaction.objects.filter(pk=row.pk).update(broadcast_at=timezone.now(), error="")


def outbox_tick(*, client: ChainClient | None = None) -> None:
    """Pick up what was left: queued rows nobody sends, sent rows no node seems to have."""
    client = client or client_current()
    network = network_current()
    try:
        _rebroadcast(network, client)
        for account_id in _accounts_to_try(network):
            account_send(account_id, client=client)
    except (NodeUnavailable, NodeTimeout) as error:
        logger.warning("outbox waits for the node: %s", error)


def _accounts_to_try(network: Network) -> list[int]:
    """Accounts whose oldest queued row waited long enough: 2 s, doubling with each failed try."""
    now = timezone.now()
    queue = OutgoingTransaction.objects.filter(
        network=network, status=OutgoingStatus.QUEUED, queued_at__lt=now - FORGOTTEN_AFTER
    ).order_by("pk")
    accounts: dict[int, bool] = {}
    for row in queue.only("account_id", "attempts", "attempted_at", "queued_at")[:TICK_ROWS]:
        if row.account_id not in accounts:
            wait = min(2 ** min(row.attempts, 10), RETRY_SECONDS_MAX)
            last = row.attempted_at
            accounts[row.account_id] = last is None or last < now - timedelta(seconds=wait)
    return [account_id for account_id, due in accounts.items() if due]


def _rebroadcast(network: Network, client: ChainClient) -> None:
    """In the order they were first sent, which is the order they were mined in."""
    now = timezone.now()
    rows = [
        row
        for row in OutgoingTransaction.objects.filter(network=network, status=OutgoingStatus.SENT)
        .select_related("account", "network")
        .order_by("sent_at", "pk")[:TICK_ROWS]
        if (row.broadcast_at or row.sent_at or now)
        < now - (BROADCAST_AGAIN_AFTER if row.broadcast_at else FORGOTTEN_AFTER)
    ]
    if not rows:
        return
    receipts = client.receipts([row.tx_hash for row in rows])
    unmined = [row for row, receipt in zip(rows, receipts, strict=True) if receipt is None]
    known = client.knows_transactions([row.tx_hash for row in unmined])
    for row, waiting in zip(unmined, known, strict=True):
        if not waiting:
            try:
                broadcast(row, client)
            except (NodeUnavailable, NodeTimeout):
                raise
            except ChainError as error:
                _note(row, error)
    _settle_missed(network, client, rows, receipts)


def _settle_missed(
    network: Network, client: ChainClient, rows: Sequence[OutgoingTransaction], receipts: Any
) -> None:
    """Rows mined in blocks that sync has already passed: settle them here."""
    cursor = SyncCursor.objects.filter(network=network).first()
    for row, receipt in zip(rows, receipts, strict=True):
        if receipt is None or cursor is None or receipt.block_number > cursor.block_number:
            continue  # sync will come to it
        settle.settle(row, receipt, revert_of(row, receipt, client))
        wake_sender_on_commit(row.account_id)


def revert_of(row: OutgoingTransaction, receipt: Any, client: ChainClient) -> Any:
    """Why the mined transaction failed; None when it did not."""
    if receipt.succeeded:
        return None
    request = call_object(
        to=row.to or None, data=row.data, sender=row.account.address, value=row.value
    )
    return client.revert_reason(
        request, receipt.block_number, receipt.gas_used, row.gas_limit or receipt.gas_used
    )


def _fail(row: OutgoingTransaction, error: ContractReverted | CallFailed) -> None:
    """The node refused the call before it was signed: nothing was sent, no nonce was used."""
    OutgoingTransaction.objects.filter(pk=row.pk, status=OutgoingStatus.QUEUED).update(
        status=OutgoingStatus.FAILED,
        error_name=error.name if isinstance(error, ContractReverted) else type(error).__name__,
        error=str(error),
        attempts=F("attempts") + 1,
        attempted_at=timezone.now(),
    )
    logger.info("outgoing %s refused: %s", row.pk, error)


def _note(row: OutgoingTransaction, error: ChainError) -> None:
    """Say on the row why it still waits."""
    OutgoingTransaction.objects.filter(pk=row.pk, status__in=settle.OPEN).update(
        error_name=type(error).__name__,
        error=str(error),
        attempts=F("attempts") + 1,
        attempted_at=timezone.now(),
    )


def _address_of(network: Network, contract: str) -> str:
    addresses = deployment(network.chain_id).addresses
    if contract not in addresses:
        raise NotDeployed(
            f"Chain {network.chain_id} has no {contract}; deployed are "
            f"{', '.join(sorted(addresses)) or 'none'}. Run `manage.py deploy_contracts`."
        )
    return addresses[contract]
