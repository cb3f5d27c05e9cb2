"""Every table and chart of a task as CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_GET

from sessions_app.formats import exact_amount
from sessions_app.selectors.task.artefacts import evidence_of, task_artefacts
from sessions_app.selectors.task.cost import task_cost
from sessions_app.selectors.task.data import TaskData
from sessions_app.selectors.task.page import TaskPage
from sessions_app.selectors.task.series import CHARTS, csv_text, task_series
from sessions_app.selectors.task.timeline import timeline
from sessions_app.views.base import download, find_task, viewer, whole_number
from sessions_app.views.task_page import timeline_filter
from training.blobs import BlobStore
from training.errors import BlobMissing

Rows = list[dict[str, Any]]
ALL_ROUNDS = 100_000


def _csv(rows: Rows, columns: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        cells = ["" if row[name] is None else row[name] for name in columns]
        writer.writerow([csv_text(cell) if isinstance(cell, str) else cell for cell in cells])
    return out.getvalue()


def _chart(request: HttpRequest) -> str:
    chart = request.GET.get("chart", "")
    if chart and chart not in CHARTS:
        raise Http404(f"There is no chart “{chart}”; use {', '.join(CHARTS)}.")
    return chart


@login_required
@require_GET
def series_json(request: HttpRequest, pk: int) -> HttpResponse:
    since = whole_number(request, "since_round", 0) or 0
    return JsonResponse(task_series(find_task(pk), since).as_json(_chart(request)))


@login_required
@require_GET
def series_csv(request: HttpRequest, pk: int) -> HttpResponse:
    chart = _chart(request)
    return download(task_series(find_task(pk)).as_csv(chart), f"task-{pk}-{chart or 'rounds'}.csv")


PARTICIPANT_COLUMNS = (
    "name",
    "address",
    "state",
    "samples",
    "accuracy",
    "contribution",
    "earned_flt",
    "claimed_flt",
    "stake_flt",
)


def _participants(request: HttpRequest, pk: int) -> Rows:
    rows = TaskPage(TaskData(find_task(pk)), viewer(request)).participants
    return [
        {
            "name": row.party.name,
            "address": row.party.address,
            "state": row.pill.label,
            "samples": row.samples,
            "accuracy": row.accuracy,
            "contribution": row.contribution,
            "earned_flt": exact_amount(row.earned),
            "claimed_flt": exact_amount(row.claimed),
            "stake_flt": exact_amount(row.stake),
        }
        for row in rows
    ]


@login_required
@require_GET
def participants_csv(request: HttpRequest, pk: int) -> HttpResponse:
    rows = _participants(request, pk)
    return download(_csv(rows, PARTICIPANT_COLUMNS), f"task-{pk}-participants.csv")


@login_required
@require_GET
def participants_json(request: HttpRequest, pk: int) -> HttpResponse:
    return JsonResponse({"participants": _participants(request, pk)})


COST_COLUMNS = ("call", "sent", "quoted_calls", "gas", "quoted_gas", "fee_eth")


def _cost(pk: int) -> Rows:
    return [
        {
            "call": row.function,
            "sent": row.count,
            "quoted_calls": row.quoted_count,
            "gas": row.gas,
            "quoted_gas": row.quoted_gas,
            "fee_eth": exact_amount(row.fee),
        }
        for row in task_cost(TaskData(find_task(pk))).rows
    ]


@login_required
@require_GET
def cost_csv(request: HttpRequest, pk: int) -> HttpResponse:
    return download(_csv(_cost(pk), COST_COLUMNS), f"task-{pk}-cost.csv")


@login_required
@require_GET
def cost_json(request: HttpRequest, pk: int) -> HttpResponse:
    return JsonResponse({"calls": _cost(pk)})


ARTEFACT_COLUMNS = (
    "round",
    "model_hash",
    "reward_root",
    "participant",
    "address",
    "update_hash",
    "content_hash",
    "samples",
    "refused",
    "evidence",
    "transaction",
)


def _artefacts(pk: int) -> Rows:
    """One row an update; the model of its round beside it."""
    task = find_task(pk)
    found = task_artefacts(task, TaskData(task).names, limit=ALL_ROUNDS)
    return [
        {
            "round": round_.number,
            "model_hash": round_.model_hash,
            "reward_root": round_.reward_root,
            "participant": update.party.name,
            "address": update.party.address,
            "update_hash": update.update_hash,
            "content_hash": update.content_hash,
            "samples": update.samples,
            "refused": update.reason,
            "evidence": round_.evidence if update.reason else "",
            "transaction": update.tx_hash,
        }
        for round_ in reversed(found.rounds)
        for update in round_.updates
    ]


@login_required
@require_GET
def artefacts_csv(request: HttpRequest, pk: int) -> HttpResponse:
    return download(_csv(_artefacts(pk), ARTEFACT_COLUMNS), f"task-{pk}-artefacts.csv")


@login_required
@require_GET
def artefacts_json(request: HttpRequest, pk: int) -> HttpResponse:
    return JsonResponse({"updates": _artefacts(pk)})


@login_required
@require_GET
def evidence_json(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """The very bytes whose keccak256 is the evidence hash."""
    ref = evidence_of(find_task(pk), number)
    if not ref:
        raise Http404(f"No update of round {number} of task {pk} was refused here.")
    try:
        document = BlobStore.default().get(ref)
    except BlobMissing as error:
        raise Http404(f"The document {ref} is not kept here any more.") from error
    return download(
        document, f"task-{pk}-round-{number}-evidence.json", content_type="application/json"
    )


TIMELINE_COLUMNS = ("time", "name", "text", "round", "actor", "block", "transaction")


def _timeline(request: HttpRequest, pk: int) -> Rows:
    lines = timeline(find_task(pk), timeline_filter(request), limit=None).lines
    return [
        {
            "time": datetime.fromtimestamp(line.at, tz=UTC).isoformat(timespec="seconds"),
            "name": line.name,
            "text": line.text,
            "round": line.round,
            "actor": line.actor,
            "block": line.block,
            "transaction": line.tx_hash,
        }
        for line in lines
    ]


@login_required
@require_GET
def timeline_csv(request: HttpRequest, pk: int) -> HttpResponse:
    return download(_csv(_timeline(request, pk), TIMELINE_COLUMNS), f"task-{pk}-timeline.csv")


@login_required
@require_GET
def timeline_json(request: HttpRequest, pk: int) -> HttpResponse:
    return JsonResponse({"events": _timeline(request, pk)})


@login_required
@require_GET
def config_json(request: HttpRequest, pk: int) -> HttpResponse:
    """The canonical configuration: its keccak256 is the hash on chain."""
    shown = TaskPage(TaskData(find_task(pk)), viewer(request))
    if not shown.config_json:
        raise Http404(f"Task {pk} was created by another client; its configuration is not here.")
    return HttpResponse(shown.config_json, content_type="application/json")
