"""From what the chain says of a signed transaction to the row that asked for it.

Shared by sync (which sees every block) and the outbox (which asks for what sync missed).
Every change is guarded by the status it starts from, so doing it twice is doing it once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.utils import timezone

from chain.errors import ContractReverted
from chain.models import Network, OutgoingStatus, OutgoingTransaction
from chain.wire import Receipt

OPEN = (OutgoingStatus.QUEUED, OutgoingStatus.SENT)
MINED = (OutgoingStatus.CONFIRMED, OutgoingStatus.FAILED)


def settle(
    row: OutgoingTransaction, receipt: Receipt, reverted: ContractReverted | None
) -> bool:
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
        )
    )


def unsettle(network: Network, tx_hashes: Collection[str]) -> list[int]:
    """The blocks of these transactions are gone: back to sent, to be broadcast again unchanged.

    The same signed bytes, so still at most one effect. Returns the ids of the changed rows.
    """
    rows = OutgoingTransaction.objects.filter(
        network=network, status__in=MINED, tx_hash__in=tx_hashes
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
        error="The block that held it was dropped by a reorganisation; it is sent again.",
    )
    return changed


def requeue(row: OutgoingTransaction, why: str) -> bool:
    """The row's nonce was used by another transaction, so its bytes can never be mined: sign
    anew. False when its status changed meanwhile."""
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
