"""One round, from the global model to the next: train, submit, score, aggregate.

Called by the orchestrator with the task's row locked.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from chain.models import Account, OutgoingTransaction
from sessions_app import publish
from sessions_app.models import (
    Participant,
    Round,
    RoundRun,
    Seat,
    Task,
    TrainingRun,
)
from sessions_app.rewards import reward_root, round_rewards
from sessions_app.selectors.people.members import member_places
from sessions_app.selectors.task.updates import NO_CONTENT, published_updates, updates_complete
from sessions_app.services import jobs
from sessions_app.services.calls import keeper, task_call
from sessions_app.services.relay import relay_signed
from training.scoring import pack_scores
from training.specs import UpdateRef

MAX_ATTEMPTS = 5  # of one training or aggregation that keeps losing its worker
LOST = "The worker that had it gave no sign of life any more; it was handed to another."
EXPIRE_GRACE = 5  # seconds after a deadline before we ask the contract to move on


def training_lease() -> timedelta:
    """How long a worker may be silent before its job is given to another."""
    return timedelta(seconds=settings.TRAINING_LEASE_SECONDS)


def close_finished_rounds(task: Task) -> None:
    """Note when rounds that the chain has finalised ended for us."""
    finalized = task.round_set.filter(phase=Round.Phase.FINALIZED).values("number")
    runs = task.round_runs.filter(finalized_at=None, number__in=finalized)
    closed = runs.update(finalized_at=timezone.now(), status=RoundRun.Status.FINALIZED)
    if closed:
        publish.task_changed(task.pk, ("kpis", "rounds", "charts"))


def advance_round(task: Task) -> None:
    round_ = task.round_set.filter(number=task.current_round).first()
    if round_ is None or round_.phase == Round.Phase.FINALIZED:
        return
    run, _ = RoundRun.objects.get_or_create(
        task=task, number=round_.number, defaults={"opened_at": timezone.now()}
    )
    active = list(task.members.filter(status=Participant.Status.ACTIVE))
    if round_.phase == Round.Phase.UPDATES:
        _train_and_submit(task, round_, active)
        relay_signed(task, round_, active)
    _note_progress(task, round_, run, active)
    if updates_complete(round_, active) or round_.phase != Round.Phase.UPDATES:
        _aggregate(task, round_, run)
    if run.status == RoundRun.Status.AGGREGATED:
        _submit_result(task, round_, run)
    _expire_if_stuck(task, round_)


def update_trained(run_id: int, result: dict[str, object]) -> None:
    """A worker has written an update: keep what it found and submit its hash on chain."""
    with transaction.atomic():
        run = (
            TrainingRun.objects.select_for_update(of=("self",))
            .select_related("seat__account", "seat__task")
            .get(pk=run_id)
        )
        if run.status == TrainingRun.Status.TRAINED:
            return  # delivered twice; seeded training makes both the same
        run.status = TrainingRun.Status.TRAINED
        for name in ("content_hash", "update_hash", "samples", "loss", "accuracy", "seconds"):
            setattr(run, name, result[name])
        run.done = run.total
        run.finished_at = timezone.now()
        run.error = ""
        run.save()
        _submit_update(run)
        publish.task_changed(run.seat.task_id, ("now", "participants"))


def training_beat(run: TrainingRun, *, done: int, total: int, speed: float | None) -> None:
    """A worker reports progress: the lease begins anew."""
    now = timezone.now()
    changed = TrainingRun.objects.filter(
        pk=run.pk, status__in=(TrainingRun.Status.QUEUED, TrainingRun.Status.TRAINING)
    ).update(
        status=TrainingRun.Status.TRAINING,
        started_at=run.started_at or now,
        lease_until=now + training_lease(),
        done=done,
        total=total,
        samples_per_second=speed,
    )
    if changed:
        publish.task_changed(run.seat.task_id, ("participants", "now"))


def round_aggregated(run_id: int, result: dict[str, object]) -> None:
    with transaction.atomic():
        run = RoundRun.objects.select_for_update(of=("self",)).get(pk=run_id)
        if run.status not in (RoundRun.Status.UPDATES, RoundRun.Status.AGGREGATING):
            return  # delivered twice
        run.status = RoundRun.Status.AGGREGATED
        run.aggregated_at = timezone.now()
        run.result = result
        for name in ("model_hash", "accuracy", "loss", "seconds_score", "seconds_aggregate"):
            setattr(run, name, result[name])
        run.error = ""
        run.save()
        publish.task_changed(run.task_id, ("now", "rounds"))
        publish.task_wake(run.task_id)


def training_failed(run_id: int, message: str) -> None:
    """A job raised: the next look at the round starts it again, up to MAX_ATTEMPTS times."""
    run = TrainingRun.objects.select_related("seat").get(pk=run_id)
    again = (TrainingRun.Status.QUEUED, TrainingRun.Status.TRAINING)
    with transaction.atomic():
        TrainingRun.objects.filter(pk=run_id, status__in=again).update(
            error=message, lease_until=timezone.now()
        )
        publish.task_changed(run.seat.task_id, ("now", "participants"))
        publish.task_wake(run.seat.task_id)


def aggregation_failed(run_id: int, message: str) -> None:
    run = RoundRun.objects.get(pk=run_id)
    with transaction.atomic():
        RoundRun.objects.filter(pk=run_id, status=RoundRun.Status.AGGREGATING).update(
            error=message, lease_until=timezone.now()
        )
        publish.task_changed(run.task_id, ("now",))
        publish.task_wake(run.task_id)


def release_lost_work() -> list[int]:
    """A training worker has just started: whatever no living worker reports on begins again.

    Returns the tasks concerned. A run that is nevertheless alive elsewhere is trained twice,
    which its seed makes harmless.
    """
    now = timezone.now()
    silent = now + training_lease() - timedelta(seconds=3)
    training = TrainingRun.objects.filter(status=TrainingRun.Status.TRAINING)
    lost = list(training.filter(lease_until__lt=silent).values_list("pk", flat=True))
    if not training.exclude(pk__in=lost).exists():
        queued = TrainingRun.objects.filter(status=TrainingRun.Status.QUEUED)
        lost += queued.values_list("pk", flat=True)
    TrainingRun.objects.filter(pk__in=lost).update(lease_until=now)
    rounds = RoundRun.objects.filter(status=RoundRun.Status.AGGREGATING)
    tasks = set(rounds.values_list("task_id", flat=True))
    rounds.update(lease_until=now)
    tasks |= set(Seat.objects.filter(runs__in=lost).values_list("task_id", flat=True))
    preparing = Task.objects.filter(stage=Task.Stage.PREPARING)
    tasks |= set(preparing.values_list("pk", flat=True))
    preparing.update(prepare_requested_at=None)
    return sorted(tasks)


# --- inside ---------------------------------------------------------------------------------


def _train_and_submit(task: Task, round_: Round, active: list[Participant]) -> None:
    addresses = {member.address for member in active}
    submitted = set(round_.updates.values_list("participant__address", flat=True))
    now = timezone.now()
    due = []
    for seat in task.seats.select_related("account"):
        if seat.account.address not in addresses - submitted:
            continue
        run, created = TrainingRun.objects.select_related("seat__account").get_or_create(
            seat=seat, round_number=round_.number
        )
        if run.status == TrainingRun.Status.TRAINED:
            _submit_update(run)
        elif (
            task.paused_at is None
            and (created or _lease_is_over(run.lease_until, now))
            and _take_up(task, run, now)
        ):
            due.append(run)
    if due:
        jobs.updates_train(task, round_, due)


def _take_up(task: Task, run: TrainingRun, now: datetime) -> bool:
    """Notes that the run goes to a worker; False when too many have lost it."""
    if run.attempts >= MAX_ATTEMPTS:
        if run.status != TrainingRun.Status.FAILED:
            run.status = TrainingRun.Status.FAILED
            run.error = run.error or (
                f"Training was started {MAX_ATTEMPTS} times and no worker finished it. Look at "
                "the training worker's log; the round goes on without this update."
            )
            run.save(update_fields=("status", "error"))
            publish.task_changed(task.pk, ("now", "participants"))
        return False
    if run.attempts and not run.error:
        run.error = LOST
    run.status = TrainingRun.Status.QUEUED
    run.attempts += 1
    run.lease_until = now + TrainingRun.QUEUE_LEASE
    run.save(update_fields=("status", "attempts", "lease_until", "error"))
    if run.error:
        publish.task_changed(task.pk, ("now", "participants"))
    return True


def _submit_update(run: TrainingRun) -> None:
    task = run.seat.task
    task_call(
        task,
        run.seat.account,
        "submitUpdate",
        [task.onchain_id, run.round_number, run.update_hash, run.samples],
        key=f"round:{run.round_number}:update:{run.seat.slot}:{run.update_hash[2:10]}",
    )


def _note_progress(task: Task, round_: Round, run: RoundRun, active: list[Participant]) -> None:
    changed = []
    if run.trained_at is None:
        runs = TrainingRun.objects.filter(seat__task=task, round_number=round_.number)
        finished = [r.finished_at for r in runs]
        hosted = {seat.account.address for seat in task.seats.select_related("account")}
        outsiders = [member for member in active if member.address not in hosted]
        if outsiders:  # whose training is seen by its update alone
            if updates_complete(round_, active):
                run.trained_at = timezone.now()
                changed.append("trained_at")
        elif finished and all(finished):
            run.trained_at = max(at for at in finished if at)
            changed.append("trained_at")
    if run.updates_seen_at is None and (
        updates_complete(round_, active) or round_.phase != Round.Phase.UPDATES
    ):
        run.updates_seen_at = timezone.now()
        changed.append("updates_seen_at")
    if changed:
        run.save(update_fields=changed)


def _aggregate(task: Task, round_: Round, run: RoundRun) -> None:
    now = timezone.now()
    if task.config is None:
        return  # another client's task: we do not know what it trains
    if run.status not in (RoundRun.Status.UPDATES, RoundRun.Status.AGGREGATING):
        return
    if run.status == RoundRun.Status.AGGREGATING and not _lease_is_over(run.lease_until, now):
        return
    if run.attempts >= MAX_ATTEMPTS:
        run.status = RoundRun.Status.FAILED
        run.error = (
            f"Aggregation was started {MAX_ATTEMPTS} times and no worker finished it. Look at the "
            "training worker's log. After the deadline the contract gives all money back."
        )
        run.save(update_fields=("status", "error"))
        publish.task_changed(task.pk, ("now",))
        return
    updates = _update_refs(round_)
    if not updates:
        return
    if run.attempts and not run.error:
        run.error = LOST
    run.status = RoundRun.Status.AGGREGATING
    run.attempts += 1
    run.lease_until = now + timedelta(seconds=10) + 2 * training_lease()
    run.save(update_fields=("status", "attempts", "lease_until", "error"))
    jobs.round_aggregate(task, round_, run, updates, member_places(task))
    publish.task_changed(task.pk, ("now",))


def _update_refs(round_: Round) -> list[UpdateRef]:
    """Where the bytes behind each submitted hash lie. One without bytes is rejected by name."""
    return [
        UpdateRef(
            participant=update.participant,
            content_hash=update.content_hash or NO_CONTENT,
            samples=update.samples,
            index=update.index,
            update_hash=update.update_hash,
        )
        for update in published_updates(round_)
    ]


def _submit_result(task: Task, round_: Round, run: RoundRun) -> None:
    assert run.result is not None
    addresses = member_places(task)
    scored = set(round_.score_sheets.values_list("evaluator", flat=True))
    evaluators = list(task.evaluator_accounts.order_by("pk"))
    for account in evaluators:
        if account.address not in scored and round_.phase != Round.Phase.AGGREGATING:
            packed = pack_scores(run.result["scores"], addresses)
            _send(task, round_, account, "submitScores", ["0x" + packed.hex()])
    if round_.phase != Round.Phase.AGGREGATING:
        return  # the scores are not frozen yet, so nobody knows the rewards
    lines = round_rewards(
        mode=task.reward_mode,
        reward=round_reward(task, round_),
        addresses=addresses,
        score_sheets=list(
            round_.score_sheets.order_by("evaluator").values_list("scores", flat=True)
        ),
        samples=dict(round_.updates.values_list("participant__address", "samples")),
        earned_before=dict(task.members.values_list("address", "earned")),
    )
    assert task.onchain_id is not None
    root = reward_root(task.onchain_id, {line.address: line.cumulative for line in lines})
    accuracy_ppm = run.result["accuracy_ppm"]
    for account in evaluators:
        _send(task, round_, account, "submitAggregate", [run.model_hash, root, accuracy_ppm])


def round_reward(task: Task, round_: Round) -> int:
    """What the contract will credit for this round, in wei (its `roundReward`)."""
    return task.pool_left if round_.number == task.rounds else task.round_reward


def _send(
    task: Task, round_: Round, account: Account, function: str, args: list[object]
) -> OutgoingTransaction:
    return task_call(
        task,
        account,
        function,
        [task.onchain_id, round_.number, *args],
        # After a reorg the same step may have other arguments: another call. The contract takes
        # one of each kind from an evaluator.
        key=f"round:{round_.number}:{function}:{account.address}:{_digest(args)}",
    )


def _digest(args: list[object]) -> str:
    return hashlib.sha256(repr(args).encode()).hexdigest()[:8]


def _expire_if_stuck(task: Task, round_: Round) -> None:
    """After a missed deadline the contract lets anyone move the task on; we do it, but not while
    the task is paused here: it would end the task for a wait of our own making."""
    if task.paused_at is not None:
        return
    deadline = round_.phase_deadline
    if round_.phase == Round.Phase.UPDATES and round_.updates.exists():
        deadline += task.score_seconds  # those that came may still be scored for so long
    if timezone.now().timestamp() < deadline + EXPIRE_GRACE:
        return
    account = keeper(task)
    if account is not None:
        task_call(
            task,
            account,
            "expire",
            [task.onchain_id],
            key=f"round:{round_.number}:expire:{round_.phase}",
        )


def _lease_is_over(until: datetime | None, now: datetime) -> bool:
    return until is None or until <= now
