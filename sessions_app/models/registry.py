"""What people decide about models, and the files made of them. Versions themselves are not rows:
they are the finalised rounds of a task, as the chain has them."""

from __future__ import annotations

from django.db import models

from chain.fields import HashField
from sessions_app.models.people import User
from sessions_app.models.work import Task


class ModelDecision(models.Model):
    """Somebody put a version into production, took it out, or retired it. Never changed: where
    each version stands now follows from all decisions in order (selectors.registry).

    `model_hash` is what was decided on: after a reorg a round may end in another model, to which
    the decision then does not apply.
    """

    class Action(models.TextChoices):
        PROMOTE = "promote", "Promoted"
        ROLL_BACK = "rollback", "Rolled back to"
        RETIRE = "retire", "Retired"
        RESTORE = "restore", "Restored"

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="model_decisions")
    number = models.PositiveIntegerField()  # version = round
    model_hash = HashField()
    action = models.CharField(max_length=8, choices=Action.choices)
    note = models.CharField(max_length=500, blank=True, default="")
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("task_id", "pk")

    def __str__(self) -> str:
        return f"{self.get_action_display()} version {self.number} of task {self.task_id}"


class ModelFile(models.Model):
    """A model in a format that runs without this project, made once by a training worker."""

    class Status(models.TextChoices):
        QUEUED = "queued", "Waiting for a training worker"
        MAKING = "making", "Being made"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="model_files")
    model_hash = HashField()
    format = models.CharField(max_length=12)
    status = models.CharField(max_length=6, choices=Status.choices, default=Status.QUEUED)
    stage = models.CharField(max_length=20, blank=True, default="")
    done = models.PositiveSmallIntegerField(default=0)  # of `total` stages
    total = models.PositiveSmallIntegerField(default=5)
    file = models.CharField(max_length=120, blank=True, default="")  # relative to BLOB_ROOT
    sha256 = models.CharField(max_length=64, blank=True, default="")
    bytes = models.PositiveBigIntegerField(null=True, blank=True)
    # Largest deviation from our own logits, relative to the largest one, on `checked` samples.
    max_difference = models.FloatField(null=True, blank=True)
    checked = models.PositiveIntegerField(null=True, blank=True)
    made_with = models.CharField(max_length=60, blank=True, default="")
    seconds = models.FloatField(null=True, blank=True)
    error = models.TextField(blank=True, default="")
    requested_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    requested_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("task", "model_hash", "format"), name="model_file_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.format} of {self.model_hash} ({self.status})"

    @property
    def under_way(self) -> bool:
        return self.status in (self.Status.QUEUED, self.Status.MAKING)
