"""The list of tasks."""

from __future__ import annotations

from functools import partial

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from sessions_app.forms.review import draft_rows
from sessions_app.selectors.tasks import FILTERS, TASK_COLUMNS, task_list, task_records
from sessions_app.views.base import page, viewer, whole_number
from sessions_app.views.files import file_asked


@login_required
@require_GET
def task_index(request: HttpRequest) -> HttpResponse:
    kind = request.GET.get("show", "all")
    if kind not in FILTERS:
        raise Http404(f"There is no list “{kind}”; use {', '.join(FILTERS)}.")
    records = partial(task_records, viewer(request), kind)
    if file := file_asked(request, records, TASK_COLUMNS, f"tasks-{kind}"):
        return file
    found = task_list(viewer(request), kind=kind, before=whole_number(request, "before"))
    context = {"tasks": found, "filters": list(FILTERS)}
    if kind == "drafts":
        context["drafts"] = draft_rows(viewer(request))
    if request.GET.get("part"):
        return render(request, "partials/task_table.html", context)
    return page(request, "pages/tasks.html", context, nav="tasks")
