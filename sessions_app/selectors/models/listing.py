"""Models in a list: each with its newest, its best, and the version that people put to work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery

from sessions_app.access import addresses_of
from sessions_app.models import ModelDecision, Round, Task, User
from sessions_app.selectors.models.registry import standing
from sessions_app.selectors.task.config import config_labels, task_config

PAGE_LENGTH = 50


@dataclass(frozen=True)
class ModelRow:
    pk: int
    title: str
    labels: str
    owner: str
    may_try: bool
    versions: int
    latest: int
    latest_ppm: int | None
    best_ppm: int | None
    production: int | None
    production_ppm: int | None

    def as_json(self) -> dict[str, Any]:
        """Accuracies 0 to 1."""

        def share(ppm: int | None) -> float | None:
            return None if ppm is None else ppm / 1e6

        return {
            "id": self.pk,
            "title": self.title,
            "trained_as": self.labels,
            "owner": self.owner,
            "versions": self.versions,
            "latest_accuracy": share(self.latest_ppm),
            "best_accuracy": share(self.best_ppm),
            "production_version": self.production,
            "production_accuracy": share(self.production_ppm),
        }


@dataclass(frozen=True)
class ModelList:
    rows: Sequence[ModelRow]
    filter: str
    query: str
    counts: dict[str, int]
    next_before: int | None


FILTERS = ("all", "production", "waiting", "mine")


def model_list(
    viewer: User,
    *,
    kind: str = "all",
    query: str = "",
    before: int | None = None,
    length: int = PAGE_LENGTH,
) -> ModelList:
    """Models with at least one finalised round, newest first. A constant number of queries."""
    finalized = Round.objects.filter(task=OuterRef("pk"), phase=Round.Phase.FINALIZED)
    found = Task.objects.filter(Exists(finalized))
    if query:
        found = found.filter(Q(title__icontains=query) | Q(round_set__model_hash=query)).distinct()
    served = _production_of(found)
    chosen: dict[str, QuerySet[Task]] = {
        "all": found,
        "production": found.filter(pk__in=served),
        "waiting": found.exclude(pk__in=served),
        "mine": found.filter(owner=viewer),
    }
    counts = {name: tasks.count() for name, tasks in chosen.items()}
    tasks = chosen[kind]
    if before is not None:
        tasks = tasks.filter(pk__lt=before)
    ordered = finalized.order_by("-number")
    page = list(
        tasks.select_related("owner")
        .annotate(
            latest=Subquery(ordered.values("number")[:1]),
            latest_ppm=Subquery(ordered.values("accuracy_ppm")[:1]),
            best_ppm=Subquery(
                finalized.order_by(F("accuracy_ppm").desc(nulls_last=True)).values("accuracy_ppm")[
                    :1
                ]
            ),
        )
        .order_by("-pk")[: length + 1]
    )
    more = len(page) > length
    page = page[:length]
    accuracies = {
        (task, number): ppm
        for task, number, ppm in Round.objects.filter(task__in=[t.pk for t in page]).values_list(
            "task_id", "number", "accuracy_ppm"
        )
    }
    usable = _usable(viewer, [task.pk for task in page])
    rows = []
    for task in page:
        config = task_config(task)
        number = served.get(task.pk)
        rows.append(
            ModelRow(
                pk=task.pk,
                title=task.title,
                labels=" · ".join(config_labels(config)) if config else "Another client's task",
                owner=task.owner.short_name if task.owner else "another client",
                may_try=task.pk in usable,
                versions=task.latest,
                latest=task.latest,
                latest_ppm=task.latest_ppm,
                best_ppm=task.best_ppm,
                production=number,
                production_ppm=accuracies.get((task.pk, number)) if number else None,
            )
        )
    return ModelList(rows, kind, query, counts, page[-1].pk if more and page else None)


def _usable(viewer: User, tasks: list[int]) -> set[int]:
    """Those whose models this person may ask: as the action model.predict, for a whole list."""
    if viewer.is_admin:
        return set(tasks)
    found = Task.objects.filter(
        Q(owner=viewer)
        | Q(seats__account=viewer.account_id or -1)
        | Q(members__address__in=addresses_of(viewer)),
        pk__in=tasks,
    )
    return set(found.values_list("pk", flat=True))


def _production_of(tasks: QuerySet[Task]) -> dict[int, int]:
    """Task → version in production, for those that have one. Two queries."""
    decided: dict[int, list[ModelDecision]] = {}
    for decision in ModelDecision.objects.filter(task__in=tasks.values("pk")).order_by("pk"):
        decided.setdefault(decision.task_id, []).append(decision)
    hashes: dict[int, dict[int, str]] = {}
    rounds = Round.objects.filter(task__in=decided, phase=Round.Phase.FINALIZED)
    for task, number, model_hash in rounds.values_list("task_id", "number", "model_hash"):
        hashes.setdefault(task, {})[number] = model_hash
    served = {pk: standing(rows, hashes.get(pk, {})).production for pk, rows in decided.items()}
    return {pk: number for pk, number in served.items() if number > 0}
