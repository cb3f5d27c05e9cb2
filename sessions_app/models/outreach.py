"""How news leaves the console: notifications, webhooks, and jobs that admins start."""

from __future__ import annotations

import secrets
import uuid

from django.db import models

from chain.models import Network
from sessions_app.models.people import User
from sessions_app.models.sealed import SealedField
from sessions_app.models.work import Task


class OutreachCursor(models.Model):
    """Up to which stored log everybody has been told. The log's key only grows."""

    network = models.OneToOneField(
        Network, primary_key=True, on_delete=models.CASCADE, related_name="+"
    )
    log_id = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"told up to log {self.log_id}"


class Notification(models.Model):
    """One piece of news for one person. News of the same key replace one another."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notifications")
    key = models.CharField(max_length=100)  # "reward.earned:5"
    event = models.CharField(max_length=32)
    title = models.CharField(max_length=200)
    text = models.CharField(max_length=500, blank=True, default="")
    task = models.ForeignKey(
        Task, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    tone = models.CharField(max_length=8, default="")  # of the dot: ok, bad, wait, run, chain
    at = models.DateTimeField()
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-at", "-pk")
        constraints = (models.UniqueConstraint(fields=("user", "key"), name="notification_once"),)
        indexes = (models.Index(fields=("user", "read_at"), name="notification_unread"),)

    def __str__(self) -> str:
        return self.title


def webhook_secret() -> str:
    return "whsec_" + secrets.token_urlsafe(32)


class Webhook(models.Model):
    """Where a person wants to be told by HTTP, and with which secret it is signed."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="webhooks")
    url = models.URLField(max_length=500)
    events = models.JSONField(default=list)  # names of sessions_app.services.outreach.EVENTS
    secret = SealedField(max_length=255, default=webhook_secret, editable=False)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.url


class WebhookDelivery(models.Model):
    """One message to one webhook, and every try to hand it over."""

    class Status(models.TextChoices):
        WAITING = "waiting", "Waiting"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Given up"

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    key = models.CharField(max_length=100)
    event = models.CharField(max_length=32)
    data = models.JSONField(default=dict)
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True, blank=True)  # of the next try
    response_status = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-pk",)
        constraints = (models.UniqueConstraint(fields=("webhook", "key"), name="delivery_once"),)
        indexes = (models.Index(fields=("status", "next_at"), name="delivery_due"),)

    def __str__(self) -> str:
        return f"{self.event} to {self.webhook_id} ({self.status})"


class MaintenanceJob(models.Model):
    """Resync, rebuild or reconcile, started from the browser and run by the control worker."""

    class Kind(models.TextChoices):
        RECONCILE = "reconcile", "Re-audit from the chain alone"
        RESYNC = "resync", "Resync"
        REBUILD = "rebuild", "Rebuild the projection"

    class Status(models.TextChoices):
        QUEUED = "queued", "Waiting for the control worker"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    kind = models.CharField(max_length=9, choices=Kind.choices)
    from_block = models.PositiveBigIntegerField(null=True, blank=True)  # of a resync
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.QUEUED)
    requested_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True)
    error = models.TextField(blank=True, default="")

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} ({self.status})"

    @property
    def is_over(self) -> bool:
        return self.status in (self.Status.DONE, self.Status.FAILED)
