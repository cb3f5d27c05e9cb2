"""Invitations: those sent, a new one, and the page that an invited person opens."""

from __future__ import annotations

from functools import partial

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from sessions_app.accounts.adapter import MAILED_KEY, SESSION_KEY
from sessions_app.accounts.forms import InvitationForm
from sessions_app.errors import BcflError, InvalidInvitation
from sessions_app.models import Invitation
from sessions_app.selectors.people.accounts import (
    INVITATION_COLUMNS,
    invitation_list,
    invitation_records,
)
from sessions_app.services import invitations as service
from sessions_app.views.base import acts, page, viewer
from sessions_app.views.files import file_asked


@login_required
@acts("invitation.create")
def invitations(request: HttpRequest) -> HttpResponse:
    """Those the person may see, and the form for a new one (``?task=5`` names its task)."""
    user = viewer(request)
    records = partial(invitation_records, user)
    if file := file_asked(request, records, INVITATION_COLUMNS, "invitations"):
        return file
    initial = {"task": request.GET.get("task")} if request.GET.get("task", "").isdigit() else {}
    form = InvitationForm(request.POST or None, by=user, initial=initial)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            sent = service.invitation_create(
                by=user,
                role=data["role"],
                email=data["email"],
                task=data["task"],
                days=data["days"],
                message=data["message"],
            )
            messages.success(
                request,
                f"Invited {sent.email}; the link is below too."
                if sent.email
                else "The link is ready: copy it from the list.",
            )
            return redirect("invitations")
        except InvalidInvitation as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
    context = {
        "form": form,
        "invitations": invitation_list(user),
        "site_url": settings.SITE_URL,
    }
    status = 422 if form.is_bound else 200
    return page(request, "pages/invitations.html", context, nav="admin", status=status)


@login_required
@require_POST
@acts("invitation.revoke")
def invitation_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    invitation = get_object_or_404(Invitation, pk=pk)
    try:
        service.invitation_revoke(invitation=invitation, by=viewer(request))
        messages.success(request, "The invitation is closed; its link works no longer.")
    except InvalidInvitation as error:
        messages.error(request, str(error))
    return redirect("invitations")


@never_cache
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest, code: str) -> HttpResponse:
    """Where the link leads. Open to strangers: taking it needs an account, new or old."""
    found = service.invitation_find(code)
    if found is None:
        raise Http404("There is no such invitation. Look whether the link was copied whole.")
    trouble = ""
    if request.method == "POST":
        if found.state == "open" and not request.user.is_authenticated:
            request.session[SESSION_KEY] = found.code
            signature = request.GET.get("mailed", "")
            request.session[MAILED_KEY] = service.came_by_mail(found, signature)
            return redirect("account_signup")
        try:
            service.invitation_accept(code=code, by=viewer(request))
            messages.success(request, "The invitation is yours.")
            return redirect("task", found.task_id) if found.task_id else redirect("home")
        except BcflError as error:
            trouble = str(error)
    context = {"invitation": found, "trouble": trouble}
    status = 409 if trouble else 200 if found.state == "open" else 410
    return render(request, "pages/invitation.html", context, status=status)
