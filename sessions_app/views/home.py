"""Home by role, health of the workers, the theme, search."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery import current_app
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST
from kombu.exceptions import OperationalError

from sessions_app.access import addresses_of
from sessions_app.models import User
from sessions_app.selectors.health import CHECK_COLUMNS, check_records, health
from sessions_app.selectors.ledger import find, find_named
from sessions_app.selectors.people.profile import earnings_of
from sessions_app.selectors.tasks import (
    AdminHome,
    OperatorHome,
    ParticipantHome,
    admin_home,
    operator_home,
    participant_home,
)
from sessions_app.views.base import acts, page, viewer
from sessions_app.views.files import file_asked

THEME_COOKIE_SECONDS = 365 * 24 * 3600
PING_SECONDS = 0.7


@login_required
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """The same part serves the first load and the live update (``?part=1``)."""
    user = viewer(request)
    data: AdminHome | OperatorHome | ParticipantHome
    if user.role == User.Role.ADMIN:
        template, data = "partials/home_admin.html", admin_home(user)
    elif user.role == User.Role.OPERATOR:
        template, data = "partials/home_operator.html", operator_home(user)
    else:
        template, data = "partials/home_participant.html", participant_home(user)
    context: dict[str, Any] = {"home": data, "part": template}
    if request.GET.get("part"):
        return render(request, template, context)
    if isinstance(data, ParticipantHome):
        context["earnings"] = earnings_of(sorted(addresses_of(user)))
    return page(request, "pages/home.html", context, nav="home")


@login_required
@require_GET
@acts("health.view")
def health_page(request: HttpRequest) -> HttpResponse:
    found = health()
    checks = partial(check_records, found.checks)
    if file := file_asked(request, checks, CHECK_COLUMNS, "health"):
        return file
    context = {"health": found}
    if request.GET.get("part"):
        return render(request, "partials/health.html", context)
    return page(request, "pages/health.html", context, nav="health")


@login_required
@require_GET
@acts("health.view")
def workers(request: HttpRequest) -> HttpResponse:
    """Asks the workers whether they are there; takes up to ``PING_SECONDS``."""
    trouble = ""
    answers: list[str] = []
    try:
        replies = current_app.control.ping(timeout=PING_SECONDS) or []
        answers = sorted(name for reply in replies for name in reply)
    except (OperationalError, OSError) as error:
        trouble = f"The queue (Redis) does not answer: {error}. Start it, then reload."
    context = {
        "trouble": trouble,
        "workers": answers,
        "training": any("training" in name for name in answers),
        "control": any("control" in name for name in answers),
    }
    return render(request, "partials/workers.html", context)


@login_required
@require_GET
def search(request: HttpRequest) -> HttpResponse:
    """Every hash, address, block number, task and name leads to its page."""
    query = request.GET.get("q", "").strip()
    target = find(query) if query else reverse("ledger")
    if target:
        return redirect(target)
    found = find_named(query)
    if found:
        context = {"query": query, "found": found}
        return page(request, "pages/search.html", context, nav="ledger")
    return page(request, "pages/not_found_search.html", {"query": query}, nav="ledger", status=404)


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Remember the theme: with the person when signed in, and in a cookie for the sign-in page."""
    value = request.POST.get("theme", "")
    if value not in User.Theme.values:
        known = ", ".join(User.Theme.values)
        return HttpResponseBadRequest(f"{value!r} is no theme; use one of {known}.")
    if request.user.is_authenticated:
        User.objects.filter(pk=request.user.pk).update(theme=value)
    response = HttpResponse(status=204)
    if "HX-Request" not in request.headers and "text/html" in request.headers.get("Accept", ""):
        response = redirect("settings" if request.user.is_authenticated else "login")
    response.set_cookie("theme", value, max_age=THEME_COOKIE_SECONDS, samesite="Lax")
    return response
