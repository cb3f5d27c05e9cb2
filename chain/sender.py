"""Queued rows into signed bytes, and signed bytes to the node.

A row goes queued -> sent -> confirmed | failed. Between queued and sent it gets its nonce, its
fee and its signature in one database transaction; the bytes are broadcast only after that
commit. A process that dies anywhere leaves either no bytes (the row is still queued) or stored
bytes (anyone may broadcast them again: same nonce, same hash). Two senders of one account
cannot take the same row (its status is the guard) nor the same nonce (a unique constraint).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Max
from django.utils import timezone
from eth_account.signers.local import LocalAccount
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes

from chain import settle
from chain.accounts import signing_account
from chain.calls import json_value
from chain.client import ChainClient, call_object
from chain.errors import (
    AlreadyKnown,
    CallFailed,
    ChainError,
    ContractReverted,
    InconsistentAnswer,
    InsufficientFunds,
    NonceTaken,
    NotDeployed,
)
from chain.lines import reached
from chain.models import Account, OutgoingStatus, OutgoingTransaction
from chain.network import client_current, network_current
from chain.telling import outgoing_changed
from chain.wire import Fees, parse_header, quantity

logger = logging.getLogger(__name__)

FEE_STEP = 125  # per cent of the fee before, when it is raised; nodes ask for 110
GAS_MARGIN = 1.25  # the state may change between estimate and mining


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
            reached("send: stored")
            broadcast(signed, client)
            sent += 1
        except ChainError as error:
            note(row, error)
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
    reached("send: quoted")
    try:
        with transaction.atomic():
            # PostgreSQL locks the row, SQLite the database: nonces are given one at a time.
            Account.objects.select_for_update(no_key=True).get(pk=row.account_id)
            fresh = OutgoingTransaction.objects.select_for_update().get(pk=row.pk)
            if fresh.status != OutgoingStatus.QUEUED:
                return None
            _sign(fresh, quote, signer, client.chain_id(), _next_nonce(fresh, quote.mined))
            reached("send: signed")
            return fresh
    except IntegrityError as error:
        raise InconsistentAnswer(
            f"The node counts {quote.mined} transactions of {row.account.address}, but a later one "
            "is confirmed in the database. The node lags behind, or its chain is older than the "
            "database; then run manage.py resync."
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
            f"{row.network.chain_id}. Run manage.py deploy_contracts; after a restart of the "
            "development chain, manage.py resync too."
        )
    if isinstance(gas, ChainError) and not isinstance(gas, InsufficientFunds):
        raise gas
    header = parse_header(head)
    fees = client.fees(header)
    have = quantity("balance", balance)
    estimate = 0 if isinstance(gas, ChainError) else quantity("gas", gas)
    need = row.value + estimate * fees.max_fee
    if isinstance(gas, InsufficientFunds) or have < need:
        raise InsufficientFunds(
            f"{row.account.address} ({row.account.label}) has {have} wei and needs at least "
            f"{need} wei for {row.function or 'the transfer'}. Send it ETH; it goes out by itself."
        )
    plain = row.data == "0x" and code == "0x"
    gas_limit = estimate if plain else min(int(estimate * GAS_MARGIN), header.gas_limit)
    return _Quote(gas=gas_limit, fees=fees, mined=quantity("nonce", count))


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
    row: OutgoingTransaction,
    quote: _Quote,
    signer: LocalAccount,
    chain_id: int,
    nonce: int,
    *,
    max_fee: int = 0,
) -> None:
    max_fee = max(max_fee, quote.fees.max_fee)
    call: dict[str, Any] = {
        "type": 2,
        "chainId": chain_id,
        "nonce": nonce,
        "value": row.value,
        "data": row.data,
        "gas": quote.gas,
        "maxFeePerGas": max_fee,
        "maxPriorityFeePerGas": quote.fees.priority_fee,
    }
    if row.to:
        call["to"] = row.to
    signed = signer.sign_transaction(call)
    now = timezone.now()
    row.status = OutgoingStatus.SENT
    row.nonce = nonce
    row.gas_limit = quote.gas
    row.max_fee_per_gas = max_fee
    row.raw_transaction = "0x" + bytes(signed.raw_transaction).hex()
    row.tx_hash = "0x" + bytes(signed.hash).hex()
    row.attempts += 1
    row.attempted_at = row.sent_at = now
    row.error_name = row.error = ""
    row.error_args = {}
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
        # By these bytes or by others? A node counts the nonce before it shows the transaction, so
        # only a block tells: sync sees it, or `outbox_tick` asks at the height of the cursor.
        logger.debug("nonce %s of %s is used; a block will tell by what", row.nonce, row.tx_hash)
    reached("send: broadcast")
    OutgoingTransaction.objects.filter(pk=row.pk).update(broadcast_at=timezone.now(), error="")


def raise_fee(row: OutgoingTransaction, client: ChainClient) -> bool:
    """Sign a row that waits too long anew: same nonce and call, a higher fee.

    Whichever of the signed bytes is mined, the others never can be. A node replaces a waiting
    transaction only for a tenth more of both fees. False when the row is no longer waiting.
    """
    signer = signing_account(row.account)
    fees = client.fees()
    with transaction.atomic():
        fresh = (
            OutgoingTransaction.objects.select_for_update().select_related("account").get(pk=row.pk)
        )
        if fresh.status != OutgoingStatus.SENT or fresh.tx_hash != row.tx_hash:
            return False
        assert fresh.nonce is not None and fresh.gas_limit is not None  # noqa: PT018
        before = decode_fees(fresh.raw_transaction)
        raised = Fees(
            base_fee=fees.base_fee,
            priority_fee=max(fees.priority_fee, before.priority_fee * FEE_STEP // 100 + 1),
        )
        fresh.replaced_hashes = [*fresh.replaced_hashes, fresh.tx_hash]
        quote = _Quote(gas=fresh.gas_limit, fees=raised, mined=0)
        least = (fresh.max_fee_per_gas or 0) * FEE_STEP // 100 + 1
        _sign(fresh, quote, signer, client.chain_id(), fresh.nonce, max_fee=least)
    logger.info("outgoing %s: fee raised to %s wei per gas", fresh.pk, fresh.max_fee_per_gas)
    broadcast(fresh, client)
    return True


def decode_fees(raw_transaction: str) -> Fees:
    """The fees in the signed bytes of a type 2 transaction (EIP-1559); `base_fee` is unknown, 0."""
    signed = TypedTransaction.from_bytes(HexBytes(raw_transaction)).as_dict()
    return Fees(base_fee=0, priority_fee=int(signed["maxPriorityFeePerGas"]))


def _fail(row: OutgoingTransaction, error: ContractReverted | CallFailed) -> None:
    """The node refused the call before it was signed: nothing was sent, no nonce was used."""
    OutgoingTransaction.objects.filter(pk=row.pk, status=OutgoingStatus.QUEUED).update(
        status=OutgoingStatus.FAILED,
        error_name=error.name if isinstance(error, ContractReverted) else type(error).__name__,
        error=str(error),
        error_args=json_value(error.arguments) if isinstance(error, ContractReverted) else {},
        attempts=F("attempts") + 1,
        attempted_at=timezone.now(),
    )
    logger.info("outgoing %s refused: %s", row.pk, error)
    outgoing_changed(row.network, [row.pk])


def note(row: OutgoingTransaction, error: ChainError) -> None:
    """Say on the row why it still waits; to those who watch, once for each reason."""
    OutgoingTransaction.objects.filter(pk=row.pk, status__in=settle.OPEN).update(
        error_name=type(error).__name__,
        error=str(error),
        error_args={},
        attempts=F("attempts") + 1,
        attempted_at=timezone.now(),
    )
    if str(error) != row.error:
        outgoing_changed(row.network, [row.pk])
