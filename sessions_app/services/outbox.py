"""What a person may do to a transaction that failed."""

from __future__ import annotations

from chain.models import OutgoingTransaction
from chain.outbox import transaction_retry
from sessions_app import audit, publish
from sessions_app.access import require
from sessions_app.models import Task, User
from sessions_app.services.calls import chain_errors_as_ours


@chain_errors_as_ours
def outgoing_retry(*, row_id: int, by: User) -> OutgoingTransaction:
    """Put a failed or cancelled transaction of the outbox back in the queue.

    Raises OutgoingTransaction.DoesNotExist, NotAllowed, and ChainTrouble when it is in another
    state by now.
    """
    row = OutgoingTransaction.objects.get(pk=row_id)
    kind, _, number = row.reference.partition(":")
    task = Task.objects.filter(pk=number).first() if kind == "task" else None
    require(by, "transaction.retry", row)
    row = transaction_retry(row.pk)
    audit.record(by, "transaction.retry", row, {"function": row.function})
    if task is not None:
        publish.task_changed(task.pk)
        publish.task_wake(task.pk)
    return row
