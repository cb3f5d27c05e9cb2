"""The state machine that carries a task from start to end.

`task_advance` looks at what the chain says and what our own rows say, and does what is next. It
is called on every event and by a periodic tick, by any process, as often as anyone likes: each
step is idempotent (outbox keys, unique rows, leases), so any process may die at any line.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from chain.accounts import PREFUNDED
from chain.fields import UINT256_MAX
from chain.models import Account, OutgoingTransaction
from chain.outbox import account_fund_enqueue, transaction_enqueue
from chain.selectors import contract_address
from sessions_app import publish
from sessions_app.models import Participant, Seat, Task, TokenBalance
from sessions_app.rounds import steps as round_steps
from sessions_app.services import topups
from sessions_app.services.calls import keeper, task_call, task_terms
from sessions_app.services.claims import stakes_return
from sessions_app.services.jobs import model_initialise

PREPARE_LEASE = timedelta(seconds=90)  # TensorFlow's import included
GAS_MONEY = 10**18  # wei: thousands of submissions at the development chain's gas price
STAKES_PREFUNDED = 20  # how many stakes a hosted participant receives from the treasury at once


def task_advance(task_id: int) -> None:
    """Do what is next for a task, if anything is."""
    with transaction.atomic():
        # The row lock keeps two processes from taking the same step side by side.
        task = Task.objects.select_for_update().filter(pk=task_id).first()
        if task is None:
            return
        step = _STEPS.get((task.stage, task.phase))
        if step is not None:
            step(task)


def unfinished_tasks() -> list[int]:
    """Tasks that the periodic tick looks after."""
    ended = (Task.Phase.COMPLETED, Task.Phase.CANCELLED)
    launched = Task.objects.exclude(stage__in=(Task.Stage.DRAFT, Task.Stage.FAILED))
    open_runs = Task.objects.filter(
        phase__in=ended, round_runs__finalized_at=None, round_runs__isnull=False
    )
    owed = Participant.objects.filter(
        task__phase__in=ended,
        status=Participant.Status.ACTIVE,
        address__in=Seat.objects.values("account__address"),
    ).exclude(stake=F("stake_returned"))
    ids = {*launched.exclude(phase__in=ended).values_list("pk", flat=True)}
    ids |= {*open_runs.values_list("pk", flat=True), *owed.values_list("task_id", flat=True)}
    return sorted(ids)


def model_prepared(task_id: int, *, model_hash: str, samples: list[int]) -> None:
    """The initial model lies in the blob store; `samples` is the size of each slot's share."""
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task_id)
        if task.stage != Task.Stage.PREPARING:
            return  # delivered twice
        for seat in task.seats.all():
            Seat.objects.filter(pk=seat.pk).update(samples=samples[seat.slot])
        task.initial_model_hash = model_hash
        task.stage = Task.Stage.FUNDING
        task.save(update_fields=("initial_model_hash", "stage"))
        publish.task_changed(task.pk, ("head", "now"))
        publish.task_wake(task.pk)


def model_failed(task_id: int, message: str) -> None:
    """The initial model could not be made. On a busy machine a second worker may have been asked
    for it: what becomes of that job is no matter once the model is there."""
    _launch_failed(task_id, Task.Stage.PREPARING, message)


def _launch_failed(task_id: int, during: Task.Stage, message: str) -> None:
    """Stop a launch and say why. Nothing is lost: the draft can be changed and started again."""
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task_id)
        if task.stage == during:
            task.stage = Task.Stage.FAILED
            task.failure = message
            task.save(update_fields=("stage", "failure"))
            publish.task_changed(task.pk)


# --- steps ----------------------------------------------------------------------------------


def _prepare(task: Task) -> None:
    now = timezone.now()
    if task.prepare_requested_at and now - task.prepare_requested_at < PREPARE_LEASE:
        return
    task.prepare_requested_at = now
    task.save(update_fields=("prepare_requested_at",))
    model_initialise(task)


def _fund(task: Task) -> None:
    account = task.operator_account
    if account is None:
        return  # a wallet signs it
    assert task.launched_at is not None  # task_launch set it
    # A launch that failed and was started again is another attempt, with keys of its own.
    attempt = int(task.launched_at.timestamp())
    approve = _pool_approval(task, account, key=f"approve:{attempt}")
    sent = [approve]
    # One after the other: a call that needs the approval is refused while it is not mined.
    if approve.status == OutgoingTransaction.Status.CONFIRMED:
        create = task_call(task, account, "createTask", [task_terms(task)], key=f"create:{attempt}")
        sent.append(create)
    for row in sent:
        if row.status == OutgoingTransaction.Status.FAILED:
            why = f"{row.function} was refused: {row.error}"
            _launch_failed(task.pk, Task.Stage.FUNDING, why)
            return


def _pool_approval(task: Task, account: Account, *, key: str) -> OutgoingTransaction:
    """An allowance for this pool and for every other launch of the account that is under way.

    An approval replaces the one before it; two launches side by side must not undo each other.
    """
    asked = OutgoingTransaction.objects.filter(idempotency_key=f"{task.reference}:{key}").first()
    if asked is not None:
        return asked
    total = topups.allowance_needed(account)
    coordinator = contract_address("FLCoordinator")
    return task_call(task, account, "approve", [coordinator, total], contract="FLToken", key=key)


def _stake_approval(task: Task, account: Account) -> OutgoingTransaction:
    """A hosted participant lets the coordinator take stakes, once for all tasks.

    An allowance of 2**256 - 1 is not used up (OpenZeppelin ERC20), so joining several tasks at
    once needs no order.
    """
    coordinator = contract_address("FLCoordinator")
    return transaction_enqueue(
        account=account,
        contract="FLToken",
        function="approve",
        args=[coordinator, UINT256_MAX],
        idempotency_key=f"account:{account.address}:stakes:{coordinator}",
        reference=task.reference,
    )


def _join(task: Task) -> None:
    topups.top_ups_advance(task)
    joined = set(task.members.values_list("address", flat=True))
    seats = task.seats.filter(removed_at=None).select_related("account")
    waiting = [seat for seat in seats if seat.account.address not in joined]
    if len(joined) < task.max_participants:
        for seat in waiting:
            _join_seat(task, seat)
    account = keeper(task)
    if account is None:
        return
    enough = len(joined) >= task.min_participants
    over = _joining_is_over(task)
    # Whoever joins takes a place; the hosted ones cannot know who will come from outside.
    # Before the join time is over the contract lets the operator alone start.
    full = len(joined) >= task.max_participants and account == task.operator_account
    if enough and (over or full):
        task_call(task, account, "start", [task.onchain_id], key="start")
    elif over:
        task_call(task, account, "expire", [task.onchain_id], key="expire:open")


def _joining_is_over(task: Task) -> bool:
    placed = task.events.filter(name="TaskCreated").first()
    if placed is None:
        return False
    deadline = placed.block_time + task.join_seconds + round_steps.EXPIRE_GRACE
    return timezone.now().timestamp() > deadline


def _join_seat(task: Task, seat: Seat) -> None:
    address = seat.account.address
    _send_gas_money(seat.account)
    if task.stake and not _has_tokens(address, task.stake):
        _send_stake(task, address)
        return  # the transfer's confirmation wakes us again
    if task.stake:
        approve = _stake_approval(task, seat.account)
        if approve.status != OutgoingTransaction.Status.CONFIRMED:
            return
    task_call(task, seat.account, "join", [task.onchain_id, seat.samples], key=f"join:{address}")


def _has_tokens(address: str, amount: int) -> bool:
    row = TokenBalance.objects.filter(address=address).order_by("-block_number").first()
    return row is not None and row.balance >= amount


def _send_stake(task: Task, address: str) -> None:
    """Hosted participants get their stake from the treasury of the development chain."""
    treasury = Account.objects.filter(kind="deployer").order_by("pk").first()
    if treasury is None:
        return
    task_call(
        task,
        treasury,
        "transfer",
        [address, STAKES_PREFUNDED * task.stake],
        contract="FLToken",
        key=f"stake-fund:{address}",
    )


def _send_gas_money(account: Account) -> None:
    """Accounts beyond those that the development chain starts with get ETH from the treasury.

    Their transactions wait in the outbox until it has arrived.
    """
    if account.derivation_index is None or account.derivation_index < PREFUNDED:
        return
    account_fund_enqueue(account, wei=GAS_MONEY)


def _run(task: Task) -> None:
    topups.top_ups_advance(task)
    round_steps.close_finished_rounds(task)
    round_steps.advance_round(task)


def _end(task: Task) -> None:
    round_steps.close_finished_rounds(task)
    stakes_return(task=task)


_STEPS: dict[tuple[str, str], Callable[[Task], None]] = {
    (Task.Stage.PREPARING, Task.Phase.NONE): _prepare,
    (Task.Stage.FUNDING, Task.Phase.NONE): _fund,
    (Task.Stage.PLACED, Task.Phase.OPEN): _join,
    (Task.Stage.PLACED, Task.Phase.RUNNING): _run,
    (Task.Stage.PLACED, Task.Phase.COMPLETED): _end,
    (Task.Stage.PLACED, Task.Phase.CANCELLED): _end,
}
