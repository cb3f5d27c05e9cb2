"""What an operator does to a task that runs: pause, resume, remove a participant, top up the pool.

The contract knows neither a pause nor a removal. A pause here means that no training is handed to
the hosted participants; a removal means that a hosted participant leaves by its own key.
"""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from chain.models import OutgoingTransaction
from sessions_app import audit, publish
from sessions_app.access import require
from sessions_app.errors import InvalidTask, NotAllowed, WrongStage
from sessions_app.formats import amount as flt
from sessions_app.models import Participant, Seat, Task, TaskNote, TopUp, User
from sessions_app.selectors.balances import token_balance
from sessions_app.services.calls import chain_errors_as_ours, task_call

MAX_UINT96 = 2**96 - 1


def task_pause(*, task: Task, by: User) -> Task:
    """Hand out no more training. What is under way ends and counts; deadlines run on.

    Raises NotAllowed and WrongStage.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task.pk)
        require(by, "task.pause", task)
        if task.phase != Task.Phase.RUNNING:
            raise WrongStage(
                f"Task {task.pk} is {_state(task)}; only a running task can be paused."
            )
        if task.paused_at is not None:
            raise WrongStage(f"Task {task.pk} is paused since {task.paused_at:%H:%M:%S} UTC.")
        task.paused_at = timezone.now()
        task.save(update_fields=("paused_at",))
        note(task, TaskNote.Kind.PAUSED, f"{by.short_name} paused the training", by)
        audit.record(by, "task.pause", task)
        publish.task_changed(task.pk)
    return task


def task_resume(*, task: Task, by: User) -> Task:
    """Go on where a pause stopped. Raises NotAllowed and WrongStage."""
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task.pk)
        require(by, "task.pause", task)
        if task.paused_at is None:
            raise WrongStage(f"Task {task.pk} is not paused.")
        task.paused_at = None
        task.save(update_fields=("paused_at",))
        note(task, TaskNote.Kind.RESUMED, f"{by.short_name} resumed the training", by)
        audit.record(by, "task.resume", task)
        publish.task_changed(task.pk)
        publish.task_wake(task.pk)
    return task


@chain_errors_as_ours
def participant_remove(*, task: Task, address: str, by: User) -> OutgoingTransaction:
    """A hosted participant leaves: it is no longer awaited and keeps what it earned.

    Raises NotAllowed for one whose key is not held here, and WrongStage.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task.pk)
        require(by, "task.remove", task)
        member = task.members.filter(address=address).first()
        if member is None:
            raise WrongStage(f"{address} has not joined task {task.pk}.")
        if task.is_finished:
            raise WrongStage(
                f"Task {task.pk} is {_state(task)}; nobody needs to leave it any more."
            )
        if member.status != Participant.Status.ACTIVE:
            raise WrongStage(f"{address} is {member.get_status_display().lower()} already.")
        seat = Seat.objects.select_related("account").filter(task=task, account__address=address)
        hosted = seat.first()
        if hosted is None:
            raise NotAllowed(
                f"The key of {address} is not held here, and the contract lets nobody but the "
                "participant itself leave. Its evaluators can slash it, by quorum on published "
                "evidence; a participant that only stays silent is not awaited after the deadline."
            )
        if task.members.filter(status=Participant.Status.ACTIVE).count() < 2:
            raise WrongStage(
                f"{hosted.account.label} is the last participant of task {task.pk}. Cancel the "
                "task instead."
            )
        sent = task_call(
            task, hosted.account, "leave", [task.onchain_id], key=f"leave:{address}", at_once=True
        )
        Seat.objects.filter(pk=hosted.pk).update(removed_at=timezone.now())
        text = f"{by.short_name} removed {hosted.account.label}; it leaves on chain"
        note(task, TaskNote.Kind.REMOVED, text, by)
        audit.record(by, "task.remove", task, {"address": address})
        publish.task_changed(task.pk)
        return sent


@chain_errors_as_ours
def pool_top_up(*, task: Task, amount: int, by: User) -> TopUp:
    """Add ``amount`` wei to the pool from the operator's account, over two transactions.

    Raises NotAllowed, WrongStage and InvalidTask.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task.pk)
        require(by, "task.top_up", task)
        if task.phase not in (Task.Phase.OPEN, Task.Phase.RUNNING):
            raise WrongStage(
                f"Task {task.pk} is {_state(task)}; a pool grows while a task is open or running."
            )
        if task.stopping or (
            task.phase == Task.Phase.RUNNING and task.current_round == task.rounds
        ):
            raise WrongStage(
                f"Round {task.current_round} of {task.rounds} is the last one, and its reward is "
                "fixed. A top-up counts for the rounds after the running one."
            )
        account = task.operator_account
        if account is None:
            raise NotAllowed(
                f"The key of {task.operator_address} is not held here. Send topUp from that wallet."
            )
        if not 0 < amount <= MAX_UINT96:
            raise InvalidTask(
                f"A top-up of {flt(amount)} FLT is outside 0 to 79,228,162,514 FLT.", field="amount"
            )
        balance = token_balance(account.address)
        if balance < amount:
            raise InvalidTask(
                f"The top-up is {flt(amount)} FLT but {account.label} holds {flt(balance)} FLT.",
                field="amount",
            )
        row = TopUp.objects.create(task=task, amount=amount, by=by)
        text = f"{by.short_name} asked to add {flt(amount)} FLT to the pool"
        note(task, TaskNote.Kind.TOPPED_UP, text, by)
        audit.record(by, "task.top_up", task, {"amount_wei": str(amount)})
        publish.task_changed(task.pk)
        publish.task_wake(task.pk)
    return row


def note(task: Task, kind: TaskNote.Kind, text: str, by: User | None) -> TaskNote:
    """A line in the task's timeline, inside the transaction of what it tells."""
    return TaskNote.objects.create(
        task=task, kind=kind, text=text, by=by, round_number=task.current_round or None
    )


def _state(task: Task) -> str:
    if task.phase == Task.Phase.NONE:
        return str(task.get_stage_display()).lower()
    return str(task.get_phase_display()).lower()
