"""Resync, rebuild, reconcile: asked for on a page, done by the control worker."""

from __future__ import annotations

from celery import current_app
from django.core.cache import cache
from django.db import transaction

from sessions_app import audit
from sessions_app.access import require
from sessions_app.errors import WrongStage
from sessions_app.models import MaintenanceJob, User

# By name: whoever runs it knows this room, not the other way round.
TASK = "maintenance.run"


def job_request(*, kind: str, by: User, from_block: int | None = None) -> MaintenanceJob:
    """Queue a job. Raises NotAllowed, and WrongStage while another one runs."""
    require(by, "maintenance.run")
    if kind not in MaintenanceJob.Kind.values:
        known = ", ".join(MaintenanceJob.Kind.values)
        raise WrongStage(f"There is no job “{kind}”; use one of {known}.")
    with transaction.atomic():
        open_ = MaintenanceJob.objects.select_for_update().filter(
            status__in=(MaintenanceJob.Status.QUEUED, MaintenanceJob.Status.RUNNING)
        )
        other = open_.first()
        if other is not None:
            raise WrongStage(
                f"“{other.get_kind_display()}” is {other.get_status_display().lower()}; wait for "
                "its end."
            )
        job = MaintenanceJob.objects.create(kind=kind, requested_by=by, from_block=from_block)
        audit.record(by, "maintenance.run", job, {"kind": kind, "from_block": from_block})
        transaction.on_commit(lambda: current_app.send_task(TASK, args=(job.pk,)))
    return job


def progress_set(pk: int, done: int, total: int) -> None:
    """Outside the database: a job's one transaction would hide it until the end."""
    cache.set(f"maintenance:{pk}", (done, total), timeout=3600)


def progress_of(pk: int) -> tuple[int, int] | None:
    found: tuple[int, int] | None = cache.get(f"maintenance:{pk}")
    return found
