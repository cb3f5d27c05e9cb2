"""Tasks: list, form, page, its parts and exports, and what can be done with one."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from sessions_app import services
from sessions_app.errors import BcflError
from sessions_app.formats import amount, count, exact_amount
from sessions_app.models import Task
from sessions_app.publish import ALL_PARTS
from sessions_app.selectors.quote import task_quote_now
from sessions_app.selectors.series import csv_text, task_series
from sessions_app.selectors.task_data import task_data, task_get
from sessions_app.selectors.task_page import TaskPage, task_page
from sessions_app.selectors.tasks import FILTERS, task_list
from sessions_app.task_review import draft_rows
from sessions_app.views.base import acts, is_htmx, page, viewer


def _task(pk: int) -> Task:
    try:
        return task_get(pk)
    except Task.DoesNotExist as error:
        raise Http404(
            f"There is no task {pk}. It may have been a draft that was deleted."
        ) from error


def _number(request: HttpRequest, name: str, default: int | None = None) -> int | None:
    """A whole number of the query string; 404 when it is something else."""
    text = request.GET.get(name, "")
    if not text:
        return default
    if not text.isdigit():
        raise Http404(f"{name}={text} is not a whole number.")
    return int(text)


@login_required
@require_GET
def task_index(request: HttpRequest) -> HttpResponse:
    kind = request.GET.get("show", "all")
    if kind not in FILTERS:
        raise Http404(f"There is no list “{kind}”; use {', '.join(FILTERS)}.")
    found = task_list(viewer(request), kind=kind, before=_number(request, "before"))
    context = {"tasks": found, "filters": list(FILTERS)}
    if kind == "drafts":
        context["drafts"] = draft_rows(viewer(request))
    if request.GET.get("part"):
        return render(request, "partials/task_table.html", context)
    return page(request, "pages/tasks.html", context, nav="tasks")


@login_required
@require_GET
def task_detail(request: HttpRequest, pk: int) -> HttpResponse:
    task = _task(pk)
    series = task_series(task)
    context = {**_task_context(request, task), "series": series}
    return page(request, "pages/task.html", context, nav="tasks")


def _task_context(request: HttpRequest, task: Task) -> dict[str, Any]:
    shown: TaskPage = task_page(task_data(task), viewer(request))
    now = task_quote_now(task) if shown.is_draft else None
    return {
        "task": shown,
        "quote_gas": now.gas if now else None,
        "quote_fee": now.total_fee if now else None,
        "all_parts": ALL_PARTS,
    }


@login_required
@require_GET
def task_parts(request: HttpRequest, pk: int) -> HttpResponse:
    """The named parts of the page as out-of-band swaps, with the live number they stand for."""
    names = [name for name in request.GET.get("names", "").split(",") if name]
    unknown = [name for name in names if name not in ALL_PARTS]
    if unknown:
        return HttpResponseBadRequest(
            f"There is no part {unknown[0]!r}; use {', '.join(ALL_PARTS)}."
        )
    return _parts(request, _task(pk), names or list(ALL_PARTS))


def _parts(
    request: HttpRequest, task: Task, names: list[str], *, note: str = "", tone: str = "ok"
) -> HttpResponse:
    context = _task_context(request, task)
    if "charts" in names:
        context["series"] = task_series(task)
    context |= {"names": names, "note": note, "tone": tone}
    response = render(request, "partials/task_parts.html", context)
    response["X-Live-Seq"] = str(context["task"].seq)
    return response


# --- exports --------------------------------------------------------------------------------


@login_required
@require_GET
def series_json(request: HttpRequest, pk: int) -> HttpResponse:
    return JsonResponse(task_series(_task(pk), _number(request, "since_round", 0) or 0).as_json())


@login_required
@require_GET
def series_csv(request: HttpRequest, pk: int) -> HttpResponse:
    return _download(task_series(_task(pk)).as_csv(), f"task-{pk}-rounds.csv")


_PARTICIPANT_COLUMNS = (
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


def _participant_rows(request: HttpRequest, pk: int) -> list[dict[str, Any]]:
    rows = task_page(task_data(_task(pk)), viewer(request)).participants
    return [
        dict(
            zip(
                _PARTICIPANT_COLUMNS,
                (
                    row.party.name,
                    row.party.address,
                    row.pill.label,
                    row.samples,
                    row.accuracy,
                    row.contribution,
                    exact_amount(row.earned),
                    exact_amount(row.claimed),
                    exact_amount(row.stake),
                ),
                strict=True,
            )
        )
        for row in rows
    ]


@login_required
@require_GET
def participants_csv(request: HttpRequest, pk: int) -> HttpResponse:
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="task-{pk}-participants.csv"'
    writer = csv.writer(response)
    writer.writerow(_PARTICIPANT_COLUMNS)
    for row in _participant_rows(request, pk):
        cells = ["" if value is None else value for value in row.values()]
        writer.writerow([csv_text(cell) if isinstance(cell, str) else cell for cell in cells])
    return response


@login_required
@require_GET
def participants_json(request: HttpRequest, pk: int) -> HttpResponse:
    return JsonResponse({"participants": _participant_rows(request, pk)})


@login_required
@require_GET
def config_json(request: HttpRequest, pk: int) -> HttpResponse:
    """The canonical configuration: its keccak256 is the hash on chain."""
    shown = task_page(task_data(_task(pk)), viewer(request))
    if not shown.config_json:
        raise Http404(f"Task {pk} was created by another client; its configuration is not here.")
    return HttpResponse(shown.config_json, content_type="application/json")


def _download(text: str, name: str) -> HttpResponse:
    response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


# --- actions --------------------------------------------------------------------------------


def _act(request: HttpRequest, pk: int, action: Callable[[Task], str]) -> HttpResponse:
    """Do it, then show the task: by parts for htmx, by a redirect without it."""
    task = _task(pk)
    tone = "ok"
    try:
        note = action(task)
    except BcflError as error:
        note, tone = str(error), "bad"
    if is_htmx(request):
        return _parts(request, _task(pk), list(ALL_PARTS), note=note, tone=tone)
    messages.add_message(request, messages.SUCCESS if tone == "ok" else messages.ERROR, note)
    return redirect("task", pk)


@login_required
@require_POST
@acts("task.launch")
def task_start(request: HttpRequest, pk: int) -> HttpResponse:
    def start(task: Task) -> str:
        services.task_launch(task=task, by=viewer(request))
        return "Started. The model is being prepared; the escrow follows."

    return _act(request, pk, start)


@login_required
@require_POST
@acts("task.cancel")
def task_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Ends a task on chain; a draft is deleted and the list is shown."""
    task = _task(pk)
    if task.onchain_id is None and task.stage in (Task.Stage.DRAFT, Task.Stage.FAILED):
        services.task_cancel(task=task, by=viewer(request))
        messages.success(request, f"The draft “{task.title}” was deleted.")
        return _go(request, reverse("tasks"))

    def cancel(task: Task) -> str:
        services.task_cancel(task=task, by=viewer(request))
        return "The cancellation is on its way to the chain."

    return _act(request, pk, cancel)


@login_required
@require_POST
@acts("reward.claim")
def task_claim(request: HttpRequest, pk: int) -> HttpResponse:
    """Pays one participant (``address``) or everyone the signed-in person may claim for."""

    def claim(task: Task) -> str:
        user = viewer(request)
        wanted = request.POST.get("address", "")
        rows = task_page(task_data(task), user).participants
        due = [r for r in rows if r.can_claim and wanted in ("", r.party.address)]
        if wanted and not due:
            services.rewards_claim(task=task, address=wanted, by=user)  # tells why not
        for row in due:
            services.rewards_claim(task=task, address=row.party.address, by=user)
        total = amount(sum(row.claimable for row in due), 2)
        return f"Claiming {total} FLT for {count(len(due), 'participant')}."

    return _act(request, pk, claim)


def _go(request: HttpRequest, url: str) -> HttpResponse:
    if is_htmx(request):
        response = HttpResponse(status=204)
        response["HX-Redirect"] = url
        return response
    return redirect(url)
