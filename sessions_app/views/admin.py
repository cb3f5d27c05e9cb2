"""Administration: accounts, the audit log, and jobs on chain and database."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from sessions_app.errors import NotAllowed, WrongStage
from sessions_app.models import MaintenanceJob, User
from sessions_app.selectors.ledger.contract import contract_list
from sessions_app.selectors.people.accounts import (
    USER_COLUMNS,
    audit_actions,
    audit_export,
    audit_list,
    user_list,
    user_records,
)
from sessions_app.selectors.people.news import JOB_COLUMNS, job_records
from sessions_app.services import maintenance as jobs
from sessions_app.services import people
from sessions_app.views.base import acts, page, viewer
from sessions_app.views.files import file_asked

JOBS_SHOWN = 20


def _query(request: HttpRequest) -> str:
    """The filter without its place in the list."""
    query = request.GET.copy()
    query.pop("before", None)
    return query.urlencode()


@login_required
@require_GET
@acts("user.list")
def users(request: HttpRequest) -> HttpResponse:
    given = request.GET.dict()
    if file := file_asked(request, lambda: user_records(given), USER_COLUMNS, "users"):
        return file
    context = {
        "found": user_list(given),
        "roles": User.Role.choices,
        "query": _query(request),
    }
    return page(request, "pages/users.html", context, nav="admin")


@login_required
@require_POST
@acts("user.change_role")
def user_role(request: HttpRequest, pk: int) -> HttpResponse:
    user = get_object_or_404(User, pk=pk)
    try:
        people.user_change_role(user=user, role=request.POST.get("role", ""), by=viewer(request))
        role = user.get_role_display().lower()
        messages.success(request, f"{user.short_name} is now {role}.")
    except (WrongStage, NotAllowed) as error:
        messages.error(request, str(error))
    return redirect("users")


@login_required
@require_POST
@acts("user.activate")
def user_active(request: HttpRequest, pk: int) -> HttpResponse:
    user = get_object_or_404(User, pk=pk)
    active = request.POST.get("active") == "1"
    try:
        people.user_set_active(user=user, active=active, by=viewer(request))
        word = "open again" if active else "closed; its sessions have ended"
        messages.success(request, f"The account of {user.short_name} is {word}.")
    except NotAllowed as error:
        messages.error(request, str(error))
    return redirect("users")


@login_required
@require_GET
@acts("audit.view")
def audit(request: HttpRequest) -> HttpResponse:
    given = request.GET.dict()
    style = given.get("format", "")
    if style:
        if style not in ("csv", "json"):
            raise Http404(f"There is no format “{style[:20]}”; use csv or json.")
        kind = "text/csv; charset=utf-8" if style == "csv" else "application/json"
        answer = HttpResponse(audit_export(given, style), content_type=kind)
        answer["Content-Disposition"] = f'attachment; filename="audit.{style}"'
        return answer
    context = {"found": audit_list(given), "actions": audit_actions(), "query": _query(request)}
    return page(request, "pages/audit.html", context, nav="admin")


@login_required
@acts("maintenance.run")
def maintenance(request: HttpRequest) -> HttpResponse:
    """Jobs on chain and database: start one, watch it, read what it found (``?part=1``)."""
    trouble = ""
    if request.method == "POST":
        start = request.POST.get("from_block", "").strip()
        try:
            if start and not start.isdigit():
                raise WrongStage(f"{start[:20]} is not a block number.")
            jobs.job_request(
                kind=request.POST.get("kind", ""),
                by=viewer(request),
                from_block=int(start) if start else None,
            )
            return redirect("maintenance")
        except WrongStage as error:
            trouble = str(error)
    if file := file_asked(request, job_records, JOB_COLUMNS, "jobs"):
        return file
    rows = list(MaintenanceJob.objects.select_related("requested_by")[:JOBS_SHOWN])
    context = {
        "jobs": [(job, None if job.is_over else jobs.progress_of(job.pk)) for job in rows],
        "running": any(not job.is_over for job in rows),
        "trouble": trouble,
        "kinds": MaintenanceJob.Kind,
    }
    if request.GET.get("part"):
        return render(request, "partials/jobs.html", context)
    context["contracts"] = contract_list()
    status = 409 if trouble else 200
    return page(request, "pages/maintenance.html", context, nav="admin", status=status)
