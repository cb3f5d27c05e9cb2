"""The page of one task, its parts, and the pages under it: timeline and artefacts."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import render
from django.views.decorators.http import require_GET
from eth_utils.address import is_checksum_address

from chain.errors import ChainError
from sessions_app.formats import words
from sessions_app.live.parts import parts_context
from sessions_app.models import Task
from sessions_app.publish import ALL_PARTS, Part
from sessions_app.selectors.task.artefacts import task_artefacts
from sessions_app.selectors.task.config import check_config
from sessions_app.selectors.task.data import TaskData
from sessions_app.selectors.task.page import TaskPage
from sessions_app.selectors.task.series import task_series
from sessions_app.selectors.task.timeline import KINDS, Filter, timeline
from sessions_app.views.base import find_task, page, viewer, whole_number

ARTEFACTS_PAGE = 25


@login_required
@require_GET
def task_detail(request: HttpRequest, pk: int) -> HttpResponse:
    task = find_task(pk)
    context = {**parts_context(task, viewer(request)), "series": task_series(task)}
    return page(request, "pages/task.html", context, nav="tasks")


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
    wanted = [part for part in ALL_PARTS if not names or part in names]
    return show_parts(request, find_task(pk), wanted)


def show_parts(
    request: HttpRequest, task: Task, names: list[Part], *, note: str = "", tone: str = "ok"
) -> HttpResponse:
    """What an action answers: the parts it changed, and a note of what it did."""
    context = parts_context(task, viewer(request)) | {"names": names, "note": note, "tone": tone}
    response = render(request, "partials/task_parts.html", context)
    response["X-Live-Seq"] = str(context["task"].seq)
    return response


@login_required
@require_GET
def task_config_check(request: HttpRequest, pk: int) -> HttpResponse:
    """Recomputes the hash of the stored configuration and asks the contract for its own."""
    context: dict[str, Any] = {}
    try:
        context = vars(check_config(find_task(pk)))
    except (ChainError, ValueError) as error:
        context["error"] = str(error)
    return render(request, "partials/task_config_check.html", context)


@login_required
@require_GET
def task_timeline(request: HttpRequest, pk: int) -> HttpResponse:
    task = find_task(pk)
    wanted = timeline_filter(request)
    try:
        lines = timeline(task, wanted, before=request.GET.get("before", ""))
    except ValueError as error:
        raise Http404("before is the place of a line: block and index, as in 120.3.") from error
    context = {
        "task": task,
        "timeline": lines,
        "wanted": wanted,
        "kinds": {name: label for name, (label, _) in KINDS.items()},
        "first_page": not request.GET.get("before"),
    }
    if request.GET.get("part"):
        return render(request, "partials/task_timeline.html", context)
    return page(request, "pages/task_timeline.html", context, nav="tasks")


def timeline_filter(request: HttpRequest) -> Filter:
    """Raises Http404 for a filter that means nothing."""
    kind, address = request.GET.get("kind", ""), request.GET.get("participant", "")
    if kind and kind not in KINDS:
        raise Http404(f"There is no kind {words(kind)!r}; use {', '.join(KINDS)}.")
    if address and not is_checksum_address(address):
        raise Http404(f"participant={address} is not an address.")
    return Filter(kind, address, whole_number(request, "round"))


@login_required
@require_GET
def task_artefacts_page(request: HttpRequest, pk: int) -> HttpResponse:
    task = find_task(pk)
    data = TaskData(task)
    before = whole_number(request, "before")
    context = {
        "task": TaskPage(data, viewer(request)),
        "artefacts": task_artefacts(task, data.names, before=before, limit=ARTEFACTS_PAGE),
        "first_page": before is None,
        "whole": True,  # with the updates of each round; the task page leads here
    }
    return page(request, "pages/task_artefacts.html", context, nav="tasks")
