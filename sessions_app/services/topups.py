"""Additions to pools on their way to the chain, one step at each look of the orchestrator.

A call that needs an approval is refused until the approval is mined, so it goes out after it.
"""

from __future__ import annotations

from chain.models import Account, OutgoingStatus, OutgoingTransaction
from chain.selectors import contract_address
from sessions_app import publish
from sessions_app.models import Task, TopUp
from sessions_app.services.calls import task_call


def allowance_needed(account: Account) -> int:
    """Wei that the coordinator must be allowed to take from an operator's account.

    An approval replaces the one before it, so each covers everything that is under way.
    """
    launching = Task.objects.filter(operator_account=account, stage=Task.Stage.FUNDING)
    waiting = TopUp.objects.filter(task__operator_account=account, status=TopUp.Status.ASKED)
    pools = launching.values_list("pool", flat=True)
    return sum(pools) + sum(waiting.values_list("amount", flat=True))


def top_ups_advance(task: Task) -> None:
    """Called with the task's row locked."""
    account = task.operator_account
    if account is None:
        return
    for row in task.top_ups.filter(status=TopUp.Status.ASKED):
        _advance(task, account, row)


def _advance(task: Task, account: Account, row: TopUp) -> None:
    key = f"topup:{row.pk}"
    sent = _approval(task, account, key=f"{key}:approve")
    if sent.status == OutgoingStatus.CONFIRMED:
        sent = task_call(task, account, "topUp", [task.onchain_id, row.amount], key=key)
        if sent.status == OutgoingStatus.CONFIRMED:
            row.status = TopUp.Status.DONE
    if sent.status == OutgoingStatus.FAILED:
        row.status, row.error = TopUp.Status.FAILED, sent.error
    if row.status != TopUp.Status.ASKED:
        row.save(update_fields=("status", "error"))
        publish.task_changed(task.pk, ("head", "now", "kpis"))


def _approval(task: Task, account: Account, *, key: str) -> OutgoingTransaction:
    """The approval that was asked for, whatever its amount, or one for all that is under way."""
    asked = OutgoingTransaction.objects.filter(idempotency_key=f"{task.reference}:{key}").first()
    if asked is not None:
        return asked
    coordinator = contract_address("FLCoordinator")
    amount = allowance_needed(account)
    return task_call(task, account, "approve", [coordinator, amount], contract="FLToken", key=key)
