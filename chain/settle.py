"""From what the chain says of a signed transaction to the row that asked for it.

Shared by sync (which sees every block) and the outbox (which asks for what sync missed).
Every change is guarded by the status it starts from, so doing it twice is doing it once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.utils import timezone

from chain.calls import json_value
from chain.errors import ContractReverted
from chain.models import Network, OutgoingStatus, OutgoingTransaction
from chain.wire import MinedTransaction, Receipt

OPEN = (OutgoingStatus.QUEUED, OutgoingStatus.SENT)
MINED = (OutgoingStatus.CONFIRMED, OutgoingStatus.FAILED)


def settle(row: OutgoingTransaction, receipt: Receipt, reverted: ContractReverted | None) -> bool:
    """Record that the row's transaction was mined. False when somebody already did."""
    status = OutgoingStatus.CONFIRMED if receipt.succeeded else OutgoingStatus.FAILED
    return bool(
        OutgoingTransaction.objects.filter(pk=row.pk, status=OutgoingStatus.SENT).update(
            status=status,
            tx_hash=receipt.tx_hash,
            gas_used=receipt.gas_used,
            effective_gas_price=receipt.effective_gas_price,
            block_number=receipt.block_number,
            confirmed_at=timezone.now(),
            error_name=reverted.name if reverted else "",
            error=reverted.sentence if reverted else "",
            error_args=json_value(reverted.arguments) if reverted else {},
        )
    )


def unsettle(network: Network, above: int) -> list[int]:
    """Blocks higher than `above` are gone: what they held goes back to sent, to be broadcast again.

    The same signed bytes, so still at most one effect. Returns the ids of the changed rows.
    """
    rows = OutgoingTransaction.objects.filter(
        network=network, status__in=MINED, block_number__gt=above
    )
    changed = list(rows.values_list("pk", flat=True))
    OutgoingTransaction.objects.filter(pk__in=changed).update(
        status=OutgoingStatus.SENT,
        broadcast_at=None,
        block_number=None,
        gas_used=None,
        effective_gas_price=None,
        confirmed_at=None,
        error_name="",
        error_args={},
        error="The block that held it was dropped by a reorganisation; it is sent again.",
    )
    return changed


def settle_mined(
    network: Network,
    transactions: Sequence[MinedTransaction],
    reverted: Mapping[str, ContractReverted],
) -> list[int]:
    """Match mined transactions with what we have in flight, by sender and nonce.

    A nonce of ours that went to bytes which are not ours means that ours can never be mined:
    those rows are signed anew. Returns the ids of the changed rows.
    """
    in_flight = sent_by_nonce(network)
    changed = []
    for mined in transactions:
        row = in_flight.get((mined.from_address, mined.nonce))
        if row is None:
            continue
        if mined.hash in hashes_of(row):
            done = settle(row, mined.receipt, reverted.get(mined.hash))
        else:
            done = requeue(row, f"Nonce {mined.nonce} went to {mined.hash}, which is not ours.")
        if done:
            changed.append(row.pk)
    return changed


def cancel_for_new_chain(network: Network, old_genesis: str) -> list[int]:
    """The development chain was started anew: nothing we asked of the old one is still wanted.

    The rows stay as a record; nonces and keys are freed for the new chain.
    """
    changed = []
    for row in OutgoingTransaction.objects.filter(network=network).exclude(
        status=OutgoingStatus.CANCELLED, nonce=None
    ):
        row.idempotency_key = f"{old_genesis[:10]}:{row.pk}:{row.idempotency_key}"[:200]
        row.status = OutgoingStatus.CANCELLED
        row.nonce = None
        row.raw_transaction = ""
        row.error_name = "ChainReplaced"
        row.error = "The development chain it was meant for was started anew."
        row.save()
        changed.append(row.pk)
    return changed


def requeue(row: OutgoingTransaction, why: str) -> bool:
    """The row's nonce was used by another transaction, so its bytes can never be mined: sign
    anew. False when its status changed meanwhile.

    Only for who has seen the block with the other transaction: a node that says "nonce too low"
    may mean the row's own bytes, mined a moment ago.
    """
    return bool(
        OutgoingTransaction.objects.filter(
            pk=row.pk, status=OutgoingStatus.SENT, tx_hash=row.tx_hash
        ).update(
            status=OutgoingStatus.QUEUED,
            nonce=None,
            tx_hash="",
            replaced_hashes=[],
            raw_transaction="",
            sent_at=None,
            broadcast_at=None,
            error=why,
        )
    )


def sent_by_nonce(network: Network) -> Mapping[tuple[str, int], OutgoingTransaction]:
    """Every row in flight, by (sender address, nonce)."""
    rows = OutgoingTransaction.objects.filter(
        network=network, status=OutgoingStatus.SENT
    ).select_related("account")
    return {(row.account.address, row.nonce): row for row in rows if row.nonce is not None}


def hashes_of(row: OutgoingTransaction) -> set[str]:
    """Every hash under which the row's transaction may be mined."""
    return {row.tx_hash, *row.replaced_hashes}


def waiting_accounts(network: Network, mined: Sequence[MinedTransaction]) -> list[int]:
    """Accounts touched by these transactions whose queue waited for something like them."""
    touched = {t.from_address for t in mined} | {t.to_address for t in mined}
    rows = OutgoingTransaction.objects.filter(
        network=network,
        status=OutgoingStatus.QUEUED,
        attempted_at__isnull=False,
        account__address__in=touched,
    )
    return list(rows.values_list("account_id", flat=True).distinct())
