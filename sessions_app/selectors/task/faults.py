"""What is wrong with a task right now: cause, culprit, next step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from sessions_app.formats import and_list, duration, words
from sessions_app.models import RoundRun, Task, TrainingRun
from sessions_app.selectors.task.data import TaskData

# Seconds without a word from a worker before the page says so. It reports four times a second, but
# nothing while it loads TensorFlow or compiles a model that it has not trained before.
SILENT_AFTER = 5.0
STARTS_IN = 20.0


@dataclass(frozen=True)
class Silence:
    """A training of which nothing is heard: ``since`` when, and ``from_`` when on it is a fault."""

    address: str
    run: TrainingRun
    since: datetime
    patience: float

    @property
    def from_(self) -> datetime:
        return self.since + timedelta(seconds=self.patience)


@dataclass(frozen=True)
class Fault:
    """What went wrong, whose it is, and what to do next."""

    title: str
    cause: str
    next_step: str
    tx_hash: str = ""
    tone: str = "bad"


def task_faults(data: TaskData) -> Sequence[Fault]:
    """Most important first; empty when all is well."""
    return [
        *_launch(data),
        *_chain(data),
        *_calls(data),
        *_work(data),
        *_workers(data),
        *_rewards(data),
    ]


def silences(data: TaskData) -> list[Silence]:
    """Trainings of the running round that a worker should report on, whether it does or not."""
    task = data.task
    if task.phase != Task.Phase.RUNNING or task.paused_at is not None:
        return []
    current = {a: r for a, r in data.training.items() if r.round_number == task.current_round}
    training = {a: r for a, r in current.items() if r.status == TrainingRun.Status.TRAINING}
    lease = timedelta(seconds=settings.TRAINING_LEASE_SECONDS)
    found = [
        Silence(address, run, run.lease_until - lease, SILENT_AFTER if run.done else STARTS_IN)
        for address, run in training.items()
        if run.lease_until is not None
    ]
    if training:
        return found  # the others wait for their turn
    return [
        Silence(address, run, run.lease_until - TrainingRun.QUEUE_LEASE, STARTS_IN)
        for address, run in current.items()
        if run.status == TrainingRun.Status.QUEUED and run.lease_until is not None
    ]


def _launch(data: TaskData) -> list[Fault]:
    task = data.task
    if task.stage != Task.Stage.FAILED:
        return []
    cause = task.failure or "The launch stopped without telling why; look at the worker's log."
    return [Fault("The launch failed", cause, "Change the draft if needed, then start it again.")]


def _chain(data: TaskData) -> list[Fault]:
    chain = data.chain
    if chain.ok or data.task.stage == Task.Stage.DRAFT:
        return []
    cause = chain.message or f"The follower stands at block {chain.block:,}."
    next_step = "This page shows the last state that was read; it goes on by itself afterwards."
    return [Fault(chain.label, cause, next_step)]


def _calls(data: TaskData) -> list[Fault]:
    """Transactions of this task that were refused or reverted, and those that cannot get out."""
    faults = []
    for row in data.failed_calls:
        where = f"block {row.block_number:,}" if row.block_number else "before it was sent"
        name = row.error_name or "refused"
        faults.append(
            Fault(
                f"{words(row.function).capitalize()} by {row.account.label} failed",
                f"{(row.error or name).rstrip('.')} ({where}).",
                "The transaction page shows the call."
                if row.tx_hash and row.block_number
                else "It never reached the chain and cost nothing.",
                row.tx_hash if row.block_number else "",
            )
        )
    for row in data.pending_calls:
        if row.error:
            faults.append(
                Fault(
                    f"{words(row.function).capitalize()} by {row.account.label} is waiting",
                    row.error,
                    "It is tried again every few seconds.",
                    tone="wait",
                )
            )
    return faults


def _work(data: TaskData) -> list[Fault]:
    """Training and aggregation that gave up, or lost their worker and are tried again."""
    if data.task.is_finished:
        return []
    faults = []
    for address, run in data.training.items():
        if not run.error:
            continue
        failed = run.status == TrainingRun.Status.FAILED
        name = data.names.name(address)
        faults.append(
            Fault(
                f"Training of {name} in round {run.round_number} "
                + ("failed" if failed else f"is tried again (attempt {run.attempts + 1})"),
                run.error,
                "The round goes on without it after the deadline." if failed else "",
                tone="bad" if failed else "wait",
            )
        )
    current = data.runs.get(data.task.current_round)
    if current is not None and current.error:
        failed = current.status == RoundRun.Status.FAILED
        faults.append(
            Fault(
                f"Aggregation of round {current.number} "
                + ("failed" if failed else "is tried again"),
                current.error,
                "The contract lets anyone move the task on after its deadline." if failed else "",
                tone="bad" if failed else "wait",
            )
        )
    return faults


def _workers(data: TaskData) -> list[Fault]:
    """Workers that went silent, before their lease is over and the work is handed on."""
    silent = [silence for silence in silences(data) if data.now >= silence.from_]
    if not silent:
        return []
    longest = duration(max((data.now - silence.since).total_seconds() for silence in silent))
    names = and_list([data.names.name(silence.address) for silence in silent], most=4)
    if silent[0].run.status == TrainingRun.Status.QUEUED:
        title = "No worker has begun to train"
        cause = f"The work of {names} has waited for {longest}: workers are busy, or away."
        step = "Health names the workers that answer; start another, or wait for the other tasks."
    else:
        title = f"The worker that trains for {names} is silent"
        cause = f"Nothing was heard of it for {longest}; it may have ended."
        step = (
            f"After {duration(settings.TRAINING_LEASE_SECONDS)} of silence the work is handed to "
            "another worker. The training worker's log says why it ended."
        )
    return [Fault(title, cause, step, tone="wait")]


def _rewards(data: TaskData) -> list[Fault]:
    wrong = [str(r.number) for r in data.finalized if r.rewards_match is False]
    if not wrong:
        return []
    return [
        Fault(
            f"Rewards of round {', '.join(wrong)} do not match the chain",
            "The Merkle root on chain differs from the one recomputed from the scores.",
            "Nothing is credited here for these rounds. Ask the evaluators for their calculation.",
        )
    ]
