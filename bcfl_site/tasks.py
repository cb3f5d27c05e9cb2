"""Celery tasks that need all rooms: maintenance started from the browser."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from django.utils import timezone

from bcfl_site.reconciliation import reconcile
from chain.network import client_current, network_current
from chain.resyncing import resync
from sessions_app.models import MaintenanceJob
from sessions_app.projection.tables import TaskProjection, rebuild
from sessions_app.services import maintenance

SHOWN = 200  # differences that are kept; the count tells of the others


@shared_task(name=maintenance.TASK)
def run(pk: int) -> None:
    """Does a job once; what goes wrong stands in its row, for the page to tell."""
    claimed = MaintenanceJob.objects.filter(pk=pk, status=MaintenanceJob.Status.QUEUED).update(
        status=MaintenanceJob.Status.RUNNING, started_at=timezone.now()
    )
    if not claimed:
        return
    job = MaintenanceJob.objects.get(pk=pk)
    try:
        job.result = _do(job)
        job.status = MaintenanceJob.Status.DONE
    except Exception as error:
        job.error = f"{type(error).__name__}: {error}"
        job.status = MaintenanceJob.Status.FAILED
        raise
    finally:
        job.finished_at = timezone.now()
        job.save()


def _do(job: MaintenanceJob) -> dict[str, Any]:
    network = network_current()
    if job.kind == MaintenanceJob.Kind.REBUILD:
        return {"folded": rebuild(network, progress=_progress(job))}
    if job.kind == MaintenanceJob.Kind.RESYNC:
        report, sent, waiting = resync(network, client_current(), TaskProjection(), job.from_block)
        return {
            "orphaned_blocks": report.orphaned_blocks,
            "block": report.block_number,
            "head": report.head_number,
            "sent_again": sent,
            "waiting": waiting,
        }
    found = reconcile(network, client_current(), progress=_progress(job))
    return {
        "passed": not found.differences,
        "block": found.block_number,
        "block_hash": found.block_hash,
        "compared": found.compared,
        "different": len(found.differences),
        "wei_different": str(found.wei),
        "differences": [
            {name: str(value) for name, value in entry.items()}
            for entry in found.differences[:SHOWN]
        ],
    }


def _progress(job: MaintenanceJob) -> Any:
    return lambda done, total: maintenance.progress_set(job.pk, done, total)
