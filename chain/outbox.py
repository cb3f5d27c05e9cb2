"""Send each asked-for transaction exactly once: asking, and looking after what was asked.

The sending itself is in `chain.sender`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from chain import settle
from chain.artifacts import deployment, load
from chain.calls import encode_call, json_value
from chain.client import ChainClient, call_object
from chain.errors import (
    CallFailed,
    ChainError,
    ContractReverted,
    IdempotencyConflict,
    KeystoreError,
    NodeTimeout,
    NodeUnavailable,
    NotDeployed,
    RetryableError,
    Underpriced,
)
from chain.models import (
    Account,
    AccountKind,
    Block,
    Network,
    OutgoingStatus,
    OutgoingTransaction,
    SyncCursor,
)
from chain.network import client_current, network_current
from chain.sender import account_send, broadcast, note, raise_fee
from chain.wake import wake_sender_on_commit
from chain.wire import Receipt, quantity

logger = logging.getLogger(__name__)

FORGOTTEN_AFTER = timedelta(seconds=2)  # a queued row nobody tried: its wake-up was lost
RETRY_SECONDS_MAX = 60
BROADCAST_AGAIN_AFTER = timedelta(seconds=5)
STUCK_AFTER = timedelta(seconds=60)  # signed so long ago, at the node, and still not mined
TICK_ROWS = 200

__all__ = [
    "account_fund_enqueue",
    "account_send",
    "outbox_rebroadcast",
    "outbox_tick",
    "transaction_enqueue",
    "transaction_retry",
]


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
            "No deployer account to pay from. Run manage.py deploy_contracts, which makes it."
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
        error_args={},
        attempted_at=None,
    )
    row = OutgoingTransaction.objects.get(pk=row_id)
    if not changed:
        raise IdempotencyConflict(
            f"Row {row_id} is {row.status}; only a failed or cancelled one can be retried."
        )
    wake_sender_on_commit(row.account_id)
    return row


def outbox_tick(*, client: ChainClient | None = None) -> None:
    """Pick up what was left: queued rows nobody sends, sent rows no node seems to have."""
    client = client or client_current()
    network = network_current()
    try:
        outbox_rebroadcast(network, client, everything=False)
        for account_id in _accounts_to_try(network):
            account_send(account_id, client=client)
    except RetryableError as error:
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
            last = row.attempted_at
            accounts[row.account_id] = last is None or last < now - _retry_wait(row.attempts)
    return [account_id for account_id, due in accounts.items() if due]


def _retry_wait(attempts: int) -> timedelta:
    return timedelta(seconds=min(2 ** min(attempts, 10), RETRY_SECONDS_MAX))


def outbox_rebroadcast(network: Network, client: ChainClient, *, everything: bool = True) -> int:
    """Give the node again what it has not: in the order of first sending, which is the order in
    which it was mined. Returns how many it took.

    `everything` False leaves out what was broadcast in the last seconds.
    """
    now = timezone.now()
    rows = [
        row
        for row in OutgoingTransaction.objects.filter(network=network, status=OutgoingStatus.SENT)
        .select_related("account", "network")
        .order_by("sent_at", "pk")[: None if everything else TICK_ROWS]
        if everything or _overdue(row, now)
    ]
    if not rows:
        return 0
    receipts = client.receipts([row.tx_hash for row in rows])
    unmined = [row for row, receipt in zip(rows, receipts, strict=True) if receipt is None]
    known = client.knows_transactions([row.tx_hash for row in unmined])
    slow = [row for row, waiting in zip(unmined, known, strict=True) if waiting]
    taken = 0
    for row, waiting in zip(unmined, known, strict=True):
        if not waiting:
            try:
                broadcast(row, client)
                taken += 1
            except (NodeUnavailable, NodeTimeout):
                raise
            except Underpriced as error:  # the node dropped it: blocks cost more than it offers
                note(row, error)
                slow.append(row)
            except ChainError as error:
                note(row, error)
    _settle_missed(network, client, rows, receipts)
    _raise_stuck(client, slow)
    lost = [row for row, waiting in zip(unmined, known, strict=True) if not waiting]
    _requeue_outrun(network, client, lost)
    return taken


def _raise_stuck(client: ChainClient, waiting: Sequence[OutgoingTransaction]) -> None:
    """Raise the fee of what has waited too long: the oldest nonce of each account, because the
    later ones wait for it, not for their fee."""
    first: dict[int, OutgoingTransaction] = {}
    for row in sorted(waiting, key=lambda row: row.nonce or 0):
        first.setdefault(row.account_id, row)
    for row in first.values():
        if row.sent_at is None or row.sent_at > timezone.now() - STUCK_AFTER:
            continue
        try:
            raise_fee(row, client)
        except (NodeUnavailable, NodeTimeout):
            raise
        except ChainError as error:
            note(row, error)


def _overdue(row: OutgoingTransaction, now: datetime) -> bool:
    if row.broadcast_at is not None:
        return row.broadcast_at < now - BROADCAST_AGAIN_AFTER
    return row.sent_at is None or row.sent_at < now - FORGOTTEN_AFTER


def _settle_missed(
    network: Network,
    client: ChainClient,
    rows: Sequence[OutgoingTransaction],
    receipts: Sequence[Receipt | None],
) -> None:
    """Rows mined in blocks that sync has already passed: settle them here."""
    cursor = SyncCursor.objects.filter(network=network).first()
    for row, receipt in zip(rows, receipts, strict=True):
        if receipt is None or cursor is None or receipt.block_number > cursor.block_number:
            continue  # sync will come to it
        # The receipt may be of a block that a reorg has dropped.
        held = Block.objects.filter(
            network=network, number=receipt.block_number, hash=receipt.block_hash
        )
        block = held.first()
        if block is None:
            continue
        reverted = _revert_of(row, receipt, block, client)
        with transaction.atomic():
            # Locked, so that no reorg drops it between this look and the commit.
            if held.select_for_update().first() is not None:
                settle.settle(row, receipt, reverted)
                wake_sender_on_commit(row.account_id)


def _requeue_outrun(
    network: Network, client: ChainClient, rows: Sequence[OutgoingTransaction]
) -> None:
    """Rows whose nonce went to another transaction in a block that sync has passed.

    Sync sees that itself, except where it reads only what touches our contracts, or when the
    block came while the row was being signed. If the nonce is used at the cursor's block and none
    of our hashes has a receipt, none ever will; unless a reorg came between the two answers, so
    the block must be the cursor's before and after, each asked for by itself.
    """
    cursor = SyncCursor.objects.filter(network=network).first()
    if cursor is None or cursor.block_number < 0:
        return

    def stands() -> bool:
        (header,) = client.headers([cursor.block_number])
        return header is not None and header.hash == cursor.block_hash

    for row in rows:
        if row.nonce is None or not stands():
            continue
        at = {"blockHash": cursor.block_hash}  # EIP-1898: a height may mean another block by now
        count, *receipts = client.try_batch(
            [
                ("eth_getTransactionCount", (row.account.address, at)),
                *(("eth_getTransactionReceipt", (h,)) for h in sorted(settle.hashes_of(row))),
            ]
        )
        if any(isinstance(answer, ChainError) for answer in (count, *receipts)) or any(receipts):
            continue  # a pruned state, a busy node; or mined after all, and sync will say so
        if quantity("nonce", count) > row.nonce and stands():
            settle.requeue(row, f"Nonce {row.nonce} went to a transaction that is not ours.")
            wake_sender_on_commit(row.account_id)


def _revert_of(
    row: OutgoingTransaction, receipt: Receipt, block: Block, client: ChainClient
) -> ContractReverted | None:
    """Why the mined transaction failed; None when it did not."""
    if receipt.succeeded:
        return None
    request = call_object(
        to=row.to or None, data=row.data, sender=row.account.address, value=row.value
    )
    return client.revert_reason(
        request,
        receipt.block_number,
        receipt.gas_used,
        row.gas_limit or receipt.gas_used,
        parent_hash=block.parent_hash,
    )


def _address_of(network: Network, contract: str) -> str:
    addresses = deployment(network.chain_id).addresses
    if contract not in addresses:
        raise NotDeployed(
            f"Chain {network.chain_id} has no {contract}; deployed are "
            f"{', '.join(sorted(addresses)) or 'none'}. Run manage.py deploy_contracts."
        )
    return addresses[contract]
