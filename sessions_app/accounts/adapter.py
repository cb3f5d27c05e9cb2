"""What allauth asks us: who may sign up, in which role, from which address."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse

from sessions_app.middleware import client_address
from sessions_app.models import Invitation, User
from sessions_app.services.invitations import invitation_accept, invitation_open

# Where a session keeps the code of the invitation that its visitor opened.
SESSION_KEY = "invitation"
# Whether they opened the link that was mailed, which proves the address.
MAILED_KEY = "invitation_mailed"


def invitation_of(request: HttpRequest) -> Invitation | None:
    """The invitation this visitor came with, if it can still be used."""
    code = request.session.get(SESSION_KEY, "")
    return invitation_open(code) if code else None


def shown_as(user: User) -> str:
    """How allauth's messages call somebody. Who came with a wallet has 42 letters as username."""
    return user.short_name


class Adapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return settings.SIGN_UP_OPEN or invitation_of(request) is not None

    def clean_email(self, email: str) -> str:
        invitation = invitation_of(self.request)
        if invitation and invitation.email and invitation.email.lower() != email.lower():
            raise ValidationError(
                f"The invitation was sent to {invitation.email}; use that address, or ask for an "
                "invitation to yours."
            )
        return str(super().clean_email(email))

    def save_user(
        self, request: HttpRequest, user: Any, form: forms.BaseForm, commit: bool = True
    ) -> Any:
        """The new account and the use of its invitation are one change: a link works once."""
        with transaction.atomic():
            saved: User = super().save_user(request, user, form, commit)
            invitation = invitation_of(request)
            if invitation is not None and commit:
                invitation_accept(code=invitation.code, by=saved)
                if request.session.get(MAILED_KEY):
                    self.stash_verified_email(request, invitation.email)
        request.session.pop(SESSION_KEY, None)
        request.session.pop(MAILED_KEY, None)
        return saved

    def get_signup_redirect_url(self, request: HttpRequest) -> str:
        """To the task they were invited to, or home."""
        found = Invitation.objects.filter(used_by=request.user.pk, task__isnull=False).first()
        return reverse("task", args=(found.task_id,)) if found else reverse("home")

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)


class SecondFactors(DefaultMFAAdapter):
    def generate_authenticator_name(self, user: Any, type: Any) -> str:
        """What the form to add a key begins with. allauth's own "Master key" sounds as if it
        opened everything."""
        kind = "Security key" if type == Authenticator.Type.WEBAUTHN else str(type.label)
        number = Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1
        return kind if number == 1 else f"{kind} {number}"
