"""What we ask the training workers to do, and where their answers go.

Jobs carry hashes of blobs, never weights. They are sent when the transaction that decided on
them is committed, so a worker never meets a row that does not exist yet.
"""

from __future__ import annotations

from collections.abc import Sequence

from celery import Signature, signature
from celery import Task as CeleryTask
from django.conf import settings
from django.db import transaction

from sessions_app.models import ModelFile, Round, RoundRun, Task, TrainingRun
from training import tasks as training_tasks
from training.jobs import in_groups
from training.specs import AggregateJob, TrainJob, UpdateRef

PROGRESS = "sessions_app.tasks.training_progress"
FILE_PROGRESS = "sessions_app.tasks.model_file_progress"


def model_initialise(task: Task) -> None:
    assert task.config is not None
    _send_on_commit(
        training_tasks.initialise_model,
        task.config,
        done=signature("sessions_app.tasks.model_ready", args=(task.pk,)),
        failed=signature("sessions_app.tasks.job_failed", args=("model", task.pk)),
    )


def updates_train(task: Task, round_: Round, runs: Sequence[TrainingRun]) -> None:
    """Short trainings go together, but what has failed before goes alone."""
    assert task.config is not None
    epochs = task.config["local"]["epochs"]
    fresh = [run for run in runs if run.attempts <= 1]
    groups = in_groups(
        fresh, lambda run: run.seat.samples * epochs, settings.CELERY_WORKER_CONCURRENCY
    )
    for group in [*groups, *([run] for run in runs if run.attempts > 1)]:
        _group_train(task, round_, group)


def _group_train(task: Task, round_: Round, runs: list[TrainingRun]) -> None:
    assert task.config is not None
    assert task.onchain_id is not None
    jobs = [
        TrainJob(
            config=task.config,
            round=round_.number,
            slot=run.seat.slot,
            participant=run.seat.account.address,
            task_id=task.onchain_id,
            model_ref=round_.base_model_hash,
        ).to_dict()
        for run in runs
    ]
    keys = [run.pk for run in runs]
    _send_on_commit(
        training_tasks.train_updates,
        jobs,
        failed=signature("sessions_app.tasks.job_failed", args=("updates", keys)),
        progress=PROGRESS,
        answers=[signature("sessions_app.tasks.update_ready", args=(key,)) for key in keys],
    )


def round_aggregate(
    task: Task, round_: Round, run: RoundRun, updates: list[UpdateRef], members: list[str]
) -> None:
    assert task.config is not None
    assert task.onchain_id is not None
    before = task.round_runs.filter(number=round_.number - 1).first()
    job = AggregateJob(
        config=task.config,
        task_id=task.onchain_id,
        round=round_.number,
        model_ref=round_.base_model_hash,
        updates=updates,
        members=members,
        state_ref=(before.result or {}).get("state_ref", "") if before else "",
    )
    _send_on_commit(
        training_tasks.aggregate_round,
        job.to_dict(),
        done=signature("sessions_app.tasks.aggregate_ready", args=(run.pk,)),
        failed=signature("sessions_app.tasks.job_failed", args=("aggregate", run.pk)),
    )


def model_export(row: ModelFile) -> None:
    assert row.task.config is not None
    _send_on_commit(
        training_tasks.export_model,
        row.task.config,
        row.model_hash,
        row.format,
        done=signature("sessions_app.tasks.model_file_ready", args=(row.pk,)),
        failed=signature("sessions_app.tasks.job_failed", args=("file", row.pk)),
        progress=FILE_PROGRESS,
        subject={"file": row.pk},
    )


def _send_on_commit(
    task: CeleryTask,
    *payload: object,
    failed: Signature,
    done: Signature | None = None,
    **kwargs: object,
) -> None:
    transaction.on_commit(
        lambda: task.apply_async(args=payload, kwargs=kwargs, link=done, link_error=failed)
    )
