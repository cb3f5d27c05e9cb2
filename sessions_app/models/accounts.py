"""Around accounts: who was asked in, and who did what."""

from __future__ import annotations

import secrets

from django.db import models
from django.utils import timezone

from sessions_app.formats import amount, words
from sessions_app.models.people import User
from sessions_app.models.work import Task


def invitation_code() -> str:
    """192 random bits, for a link."""
    return secrets.token_urlsafe(24)


class Invitation(models.Model):
    """A link that lets one person sign up (or in) with a role, once, until it expires.

    With an e-mail address only that address can take it; without one, whoever has the link.
    """

    code = models.CharField(max_length=40, unique=True, default=invitation_code, editable=False)
    email = models.EmailField(blank=True, default="")
    role = models.CharField(max_length=12, choices=User.Role.choices, default=User.Role.PARTICIPANT)
    # What the invited person is asked to join.
    task = models.ForeignKey(
        Task, null=True, blank=True, on_delete=models.CASCADE, related_name="invitations"
    )
    message = models.CharField(max_length=300, blank=True, default="")
    invited_by = models.ForeignKey(
        User, null=True, on_delete=models.SET_NULL, related_name="invitations_sent"
    )
    mail_error = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="invitations_used"
    )
    used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"invitation {self.pk} for {self.email or 'whoever has the link'} ({self.role})"

    @property
    def state(self) -> str:
        """``open``, ``used``, ``revoked`` or ``expired``."""
        if self.used_at is not None:
            return "used"
        if self.revoked_at is not None:
            return "revoked"
        return "open" if self.expires_at > timezone.now() else "expired"


class AuditEntry(models.Model):
    """One thing that somebody did. Rows are only ever added."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="audit_entries"
    )
    actor_name = models.CharField(max_length=150, blank=True, default="")  # outlives the account
    action = models.CharField(max_length=40, db_index=True)
    target = models.CharField(max_length=80, blank=True, default="", db_index=True)  # "task:5"
    details = models.JSONField(default=dict, blank=True)
    address = models.CharField(max_length=45, blank=True, default="")  # network, not Ethereum

    class Meta:
        ordering = ("-pk",)
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.actor_name or 'the console'}: {self.action} {self.target}".strip()

    @property
    def task_pk(self) -> int | None:
        """The task that it was done to, if it was one."""
        kind, _, number = self.target.partition(":")
        return int(number) if kind == "task" and number.isdigit() else None

    @property
    def details_shown(self) -> dict[str, object]:
        """As a person reads them: names in words, amounts in FLT."""
        shown: dict[str, object] = {}
        for name, value in self.details.items():
            if value in (None, "", [], {}):
                continue
            if name.endswith("_wei") and str(value).isdigit():
                shown[words(name.removesuffix("_wei"))] = f"{amount(int(value))} FLT"
            else:
                listed = isinstance(value, list)
                shown[words(name)] = ", ".join(map(str, value)) if listed else value
        return shown
