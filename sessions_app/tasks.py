"""Celery entry points of this room: load, call one function, return. Queue `control`."""

from __future__ import annotations

import os
from typing import Any

from celery import shared_task
from celery.signals import worker_ready

from sessions_app.models import TrainingRun
from sessions_app.rounds import orchestrator
from sessions_app.rounds import steps as round_steps
from sessions_app.services import models as model_services
from sessions_app.services import outreach, uploads, webhooks


@shared_task
def advance_task(task_id: int) -> None:
    orchestrator.task_advance(task_id)


@shared_task
def tick() -> None:
    """Every two seconds: whatever no event has moved (a lost message, a lease, a deadline)."""
    for task_id in orchestrator.unfinished_tasks():
        orchestrator.task_advance(task_id)


@shared_task
def tell_people() -> None:
    """Every two seconds: the bell, mails and webhooks of what has happened since the last time."""
    outreach.advance()
    for pk in webhooks.deliveries_due():
        deliver_webhook.delay(pk)


@shared_task
def deliver_webhook(pk: int) -> None:
    webhooks.deliver(pk)


@shared_task
def clean_uploads() -> None:
    """Every hour: updates of ended tasks past their time."""
    uploads.uploads_clean()


@shared_task
def model_ready(result: dict[str, Any], task_id: int) -> None:
    orchestrator.model_prepared(task_id, model_hash=result["model_hash"], samples=result["samples"])


@shared_task
def update_ready(result: dict[str, Any], run_id: int) -> None:
    if "error" in result:
        round_steps.training_failed(run_id, result["error"])
    else:
        round_steps.update_trained(run_id, result)


@shared_task
def aggregate_ready(result: dict[str, Any], run_id: int) -> None:
    round_steps.round_aggregated(run_id, result)


@shared_task
def model_file_ready(result: dict[str, Any], row_id: int) -> None:
    model_services.file_made(row_id, result)


@shared_task
def model_file_progress(payload: dict[str, Any]) -> None:
    model_services.file_progress(
        payload["file"], stage=payload["stage"], done=payload["done"], total=payload["total"]
    )


@shared_task
def job_failed(request: Any, error: Exception, traceback: Any, kind: str, pk: Any) -> None:
    """Celery calls this in the worker whose job raised (an error callback of three and more)."""
    message = f"{type(error).__name__}: {error}"
    if kind == "model":
        orchestrator.model_failed(pk, f"The initial model could not be made. {message}")
    elif kind == "updates":
        for run_id in pk:
            round_steps.training_failed(run_id, message)
    elif kind == "file":
        model_services.file_failed(pk, str(error))
    else:
        round_steps.aggregation_failed(pk, message)


@shared_task
def training_progress(payload: dict[str, Any]) -> None:
    run = (
        TrainingRun.objects.select_related("seat")
        .filter(
            seat__task__onchain_id=payload["task_id"],
            seat__slot=payload["slot"],
            round_number=payload["round"],
        )
        .first()
    )
    if run is not None:
        round_steps.training_beat(
            run,
            done=payload["done"],
            total=payload["total"],
            speed=payload.get("samples_per_second"),
        )


@shared_task
def training_worker_ready() -> None:
    """Sent by a training worker when it starts."""
    for task_id in round_steps.release_lost_work():
        orchestrator.task_advance(task_id)


@worker_ready.connect
def announce_training_worker(**_: Any) -> None:
    """A worker that replaces a killed one need not wait for the dead one's leases to run out."""
    if os.environ.get("BCFL_ROLE") == "training":
        training_worker_ready.delay()
