"""What stands before a task: half-filled wizards, templates, and prices of other networks."""

from __future__ import annotations

from django.db import models

from chain.fields import WeiField
from sessions_app.models.people import User
from sessions_app.models.work import Task


class TaskDraft(models.Model):
    """A task wizard in progress. ``values`` holds each field's text as it was typed, valid or
    not, so that nothing is lost; what is absent has its default.

    ``task`` is the unstarted task that this draft changes; without one, finishing makes a new
    task. ``version`` grows with each save and ``editor`` names the browser page that saved last:
    a page that knows an older version of another page's work is told instead of overwriting it.
    ``turn`` counts what that page has sent: requests may overtake each other on their way.
    """

    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="task_drafts")
    values = models.JSONField(default=dict, blank=True)
    step = models.CharField(max_length=12, default="data")
    origin = models.CharField(max_length=160, blank=True, default="")
    task = models.OneToOneField(
        Task, null=True, blank=True, on_delete=models.CASCADE, related_name="draft_change"
    )
    version = models.PositiveIntegerField(default=0)
    editor = models.CharField(max_length=32, blank=True, default="")
    turn = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("-updated_at",)

    def __str__(self) -> str:
        return f"draft {self.pk}: {self.title}"

    @property
    def title(self) -> str:
        return str(self.values.get("title") or "").strip() or "Untitled draft"


class TaskTemplate(models.Model):
    """Settings to start tasks from, made from a task; ``values`` as in TaskDraft."""

    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="task_templates")
    name = models.CharField(max_length=80)
    description = models.CharField(max_length=240, blank=True, default="")
    values = models.JSONField(default=dict)
    shared = models.BooleanField(default=False)  # with everyone who may create tasks
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "pk")
        constraints = (
            models.UniqueConstraint(fields=("owner", "name"), name="template_name_once"),
        )

    def __str__(self) -> str:
        return f"template {self.name}"


class NetworkPrice(models.Model):
    """The gas price of another network as a person typed it, for comparing quotes. Nothing is
    ever asked of that network."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="network_prices")
    name = models.CharField(max_length=40)
    gas_price = WeiField()  # wei per gas
    coin_price = models.DecimalField(  # of one whole coin (ETH), in the person's currency
        max_digits=16, decimal_places=2, null=True, blank=True
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("user", "name"), name="network_price_once"),)

    def __str__(self) -> str:
        return f"{self.name}: {self.gas_price} wei per gas"
