"""Settings: everything a person decides about their own account."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from sessions_app.accounts.forms import ProfileForm
from sessions_app.errors import InvalidToken, InvalidWebhook, WrongStage
from sessions_app.models import ApiToken, Notification, Webhook
from sessions_app.selectors.people.news import (
    DELIVERY_COLUMNS,
    NEWS_COLUMNS,
    SESSION_COLUMNS,
    TOKEN_COLUMNS,
    delivery_records,
    news_records,
    session_records,
    token_records,
)
from sessions_app.services import notifications as notices
from sessions_app.services import outreach, people, webhooks
from sessions_app.services.tokens import token_create, token_revoke, tokens_of
from sessions_app.views.base import acts, page, viewer
from sessions_app.views.files import download, file_asked

NEWS_SHOWN = 100
DELIVERIES_SHOWN = 50


class TokenForm(forms.Form):
    name = forms.CharField(max_length=80, label="Name", help_text="What it is for.")
    scope = forms.ChoiceField(choices=ApiToken.Scope.choices, label="May")
    days = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=3650,
        initial=90,
        label="Works for, days",
        help_text="Empty: until you revoke it.",
    )


class WebhookForm(forms.Form):
    url = forms.URLField(label="Address", assume_scheme="https", max_length=500)
    events = forms.MultipleChoiceField(
        choices=[(name, what) for name, (what, _) in outreach.EVENTS.items()],
        widget=forms.CheckboxSelectMultiple,
        label="Tell it when",
    )


@login_required
@acts("profile.change")
def settings_page(request: HttpRequest) -> HttpResponse:
    user = viewer(request)
    form = ProfileForm(request.POST or None, instance=user)
    if request.method == "POST" and form.is_valid():
        people.profile_change(user=user, **form.cleaned_data)
        messages.success(request, "Profile saved.")
        return redirect("settings")
    return _settings(request, form=form)


def _settings(request: HttpRequest, *, status: int = 200, **forms_: Any) -> HttpResponse:
    user = viewer(request)
    kinds = set(Authenticator.objects.filter(user=user).values_list("type", flat=True))
    context = {
        "form": ProfileForm(instance=user),
        "token_form": TokenForm(),
        "hook_form": WebhookForm(),
        "tokens": tokens_of(user),
        "hooks": user.webhooks.all(),
        "mfa": kinds & {Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN},
        "unverified": EmailAddress.objects.filter(user=user, verified=False).first(),
        "sessions": _sessions(request),
        "session_key": request.session.session_key,
        "events": [
            (name, what, outreach.ways_of(user, name))
            for name, (what, _) in outreach.EVENTS.items()
        ],
        **forms_,
    }
    return page(request, "pages/settings.html", context, nav="settings", status=status)


def _sessions(request: HttpRequest) -> list[UserSession]:
    """The person's open sessions, this one among them."""
    # allauth notes a session at its own sign-in; this one may have begun without it.
    UserSession.objects.create_from_request(request)
    return people.sessions_of(viewer(request))


@login_required
@require_GET
def sessions_file(request: HttpRequest, style: str) -> HttpResponse:
    rows = session_records(_sessions(request), current=request.session.session_key)
    return download(rows, SESSION_COLUMNS, "sessions", style)


@login_required
@require_GET
def tokens_file(request: HttpRequest, style: str) -> HttpResponse:
    rows = token_records(tokens_of(viewer(request)))
    return download(rows, TOKEN_COLUMNS, "api-tokens", style)


@login_required
@require_POST
@acts("session.end")
def sessions_end(request: HttpRequest) -> HttpResponse:
    """Signs the person out everywhere but here."""
    user = viewer(request)
    ended = people.sessions_end_others(user=user, keep=request.session.session_key or "")
    messages.success(request, f"{ended} other session{'' if ended == 1 else 's'} ended.")
    return redirect("settings")


@login_required
@require_POST
@acts("session.end")
def session_end(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        people.session_end(user=viewer(request), pk=pk)
        messages.success(request, "The session is ended; whoever used it has to sign in again.")
    except WrongStage as error:
        messages.error(request, str(error))
    return redirect("settings")


@login_required
@require_POST
@acts("token.create")
def token_new(request: HttpRequest) -> HttpResponse:
    """The page that follows shows the token; nothing can show it again."""
    user = viewer(request)
    form = TokenForm(request.POST)
    if form.is_valid():
        data = form.cleaned_data
        try:
            token, text = token_create(
                user=user, name=data["name"], scope=data["scope"], days=data["days"]
            )
            response = page(
                request, "pages/token.html", {"token": token, "text": text}, nav="settings"
            )
            response["Cache-Control"] = "no-store"
            return response
        except InvalidToken as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
    return _settings(request, status=422, token_form=form)


@login_required
@require_POST
@acts("token.revoke")
def token_end(request: HttpRequest, pk: int) -> HttpResponse:
    token = token_revoke(user=viewer(request), pk=pk)
    messages.success(request, f"The token “{token.name}” works no longer.")
    return redirect("settings")


@login_required
@require_POST
@acts("webhook.create")
def webhook_new(request: HttpRequest) -> HttpResponse:
    form = WebhookForm(request.POST)
    if form.is_valid():
        data = form.cleaned_data
        try:
            hook = webhooks.webhook_create(
                user=viewer(request), url=data["url"], events=data["events"]
            )
            messages.success(request, "The webhook is set. Its secret is on this page.")
            return redirect("webhook", hook.pk)
        except InvalidWebhook as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
    return _settings(request, status=422, hook_form=form)


@login_required
@acts("webhook.change")
def webhook(request: HttpRequest, pk: int) -> HttpResponse:
    """Its secret, its deliveries; send a ping, or remove it."""
    user = viewer(request)
    hook = get_object_or_404(Webhook, pk=pk, user=user)
    if request.method == "POST":
        if request.POST.get("do") == "remove":
            webhooks.webhook_delete(webhook=hook, by=user)
            messages.success(request, "The webhook is removed.")
            return redirect("settings")
        webhooks.webhook_test(webhook=hook, by=user)
        messages.success(request, "A ping is on its way; its result appears below.")
        return redirect("webhook", pk)
    file = file_asked(
        request, lambda: delivery_records(hook), DELIVERY_COLUMNS, f"webhook-{pk}-deliveries"
    )
    if file:
        return file
    context = {
        "hook": hook,
        "told": [outreach.EVENTS[name][0] for name in hook.events if name in outreach.EVENTS],
        "deliveries": hook.deliveries.all()[:DELIVERIES_SHOWN],
    }
    if request.GET.get("part"):
        return render(request, "partials/deliveries.html", context)
    return page(request, "pages/webhook.html", context, nav="settings")


@login_required
@require_POST
@acts("notification.preferences")
def notification_choices(request: HttpRequest) -> HttpResponse:
    user = viewer(request)
    chosen = {
        name: [way for way in outreach.WAYS if request.POST.get(f"{name}:{way}")]
        for name in outreach.EVENTS
    }
    notices.notifications_choose(user=user, ways=chosen)
    messages.success(request, "Saved. What has come already stays.")
    return redirect("settings")


@login_required
@acts("notification.read")
def notifications(request: HttpRequest) -> HttpResponse:
    """The newest hundred; POST marks all as read."""
    user = viewer(request)
    mine = Notification.objects.filter(user=user)
    if request.method == "POST":
        notices.notifications_read(user=user)
        return redirect("notifications")
    if file := file_asked(request, lambda: news_records(user), NEWS_COLUMNS, "notifications"):
        return file
    context = {"news": mine.select_related("task")[:NEWS_SHOWN]}
    return page(request, "pages/notifications.html", context, nav="")


@login_required
@require_GET
def bell(request: HttpRequest) -> HttpResponse:
    unread = Notification.objects.filter(user=viewer(request), read_at=None).count()
    return render(request, "partials/bell.html", {"unread": unread})
