"""Which updates there are, and who may read which bytes when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone

from sessions_app.models import Participant, Round, RoundRun, Task, TrainingRun, Update, Upload
from training.specs import TaskConfig

NO_CONTENT = "0x" + "0" * 64  # of an update whose bytes nobody has published
LATE = 1  # seconds after the deadline in which a block may still be on its way to us


@dataclass(frozen=True)
class PublishedUpdate:
    """`content_hash` is empty where the bytes were never published; `size` in bytes."""

    participant: str
    index: int
    update_hash: str
    samples: int
    content_hash: str


def updates_complete(round_: Round, active: Sequence[Participant]) -> bool:
    """Everyone has submitted, or the deadline has passed and somebody has."""
    submitted = set(round_.updates.values_list("participant_id", flat=True))
    if submitted and {member.pk for member in active} <= submitted:
        return True
    return bool(submitted) and timezone.now().timestamp() > round_.update_deadline + LATE


def updates_closed(round_: Round) -> bool:
    """Whether no update can be added to the round any more. From here on no upload is taken, so
    every evaluator sees the same ones, and members may read them."""
    if round_.phase != Round.Phase.UPDATES:
        return True
    active = list(round_.task.members.filter(status=Participant.Status.ACTIVE))
    past = timezone.now().timestamp() > round_.update_deadline + LATE
    return past or updates_complete(round_, active)


def published_updates(round_: Round) -> list[PublishedUpdate]:
    """The updates that the chain has, with the hash of the bytes behind each."""
    contents = _contents(round_)
    submitted = Update.objects.filter(round=round_).select_related("participant")
    return [
        PublishedUpdate(
            participant=update.participant.address,
            index=update.participant.index,
            update_hash=update.update_hash,
            samples=update.samples,
            content_hash=contents.get(update.participant.address, ""),
        )
        for update in submitted.order_by("participant__index")
    ]


def _contents(round_: Round) -> dict[str, str]:
    """Content hash by participant: trained here, or uploaded."""
    trained = (
        TrainingRun.objects.filter(seat__task=round_.task_id, round_number=round_.number)
        .exclude(content_hash="")
        .values_list("seat__account__address", "content_hash")
    )
    uploaded = Upload.objects.filter(
        task=round_.task_id, round_number=round_.number, completed_at__isnull=False
    ).values_list("address", "content_hash")
    return {**dict(trained), **dict(uploaded)}


def readable_blobs(task: Task) -> set[str]:
    """What members and evaluators may download: models, held-out samples, updates of closed
    rounds."""
    found = {task.initial_model_hash, task.model_hash}
    for round_ in task.round_set.all():
        found |= {round_.base_model_hash, round_.model_hash}
        if updates_closed(round_):
            found |= {update.content_hash for update in published_updates(round_)}
    runs = RoundRun.objects.filter(task=task).exclude(model_hash="")
    closed = task.round_set.exclude(phase=Round.Phase.UPDATES).values("number")
    found |= set(runs.filter(number__in=closed).values_list("model_hash", flat=True))
    if task.config:
        schema = TaskConfig.from_dict(task.config).dataset.schema
        found |= {schema.evaluation} if schema else set()
    return found - {""}


def slot_of(task: Task, address: str) -> int | None:
    """The share of a public data set that an outside member trains on, and the seed of private
    training: the places after the hosted ones, in the order of joining. None for no member."""
    hosted = set(task.seats.values_list("account__address", flat=True))
    members = task.members.order_by("index").values_list("address", flat=True)
    outside = [member for member in members if member not in hosted]
    return task.hosted_places + outside.index(address) if address in outside else None
