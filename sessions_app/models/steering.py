"""What an operator does to a task while it runs, and what happened to it off chain."""

from __future__ import annotations

from django.db import models

from chain.fields import WeiField
from sessions_app.models.people import User
from sessions_app.models.work import Task


class TaskNote(models.Model):
    """A line of a task's timeline that no contract event tells."""

    class Kind(models.TextChoices):
        PAUSED = "paused", "Paused"
        RESUMED = "resumed", "Resumed"
        CANCELLED = "cancelled", "Cancellation asked for"
        INVITED = "invited", "Invited"
        REMOVED = "removed", "Removed"
        TOPPED_UP = "topped_up", "Top-up asked for"

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="notes")
    kind = models.CharField(max_length=9, choices=Kind.choices)
    text = models.CharField(max_length=300)
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    round_number = models.PositiveIntegerField(null=True, blank=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("at", "pk")
        indexes = (models.Index(fields=("task", "at"), name="task_note_order"),)

    def __str__(self) -> str:
        return f"{self.kind} of task {self.task_id}"


class TopUp(models.Model):
    """An addition to a pool on its way: first the approval, then the call."""

    class Status(models.TextChoices):
        ASKED = "asked", "On its way"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="top_ups")
    amount = WeiField()
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    asked_at = models.DateTimeField(auto_now_add=True)
    status = models.CharField(max_length=6, choices=Status.choices, default=Status.ASKED)
    error = models.TextField(blank=True, default="")

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.amount} wei for task {self.task_id} ({self.status})"
