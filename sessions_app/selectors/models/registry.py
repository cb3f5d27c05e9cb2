"""The model registry: a registered model is a task, its versions are the finalised rounds.

Everything but the stage comes from the chain's rows. The stage follows from what people decided
(ModelDecision, oldest first), as long as the chain still has the model that they decided on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Sum

from sessions_app.access import addresses_of
from sessions_app.errors import NoSuchVersion
from sessions_app.models import ModelDecision, Round, Task, Update, User
from sessions_app.selectors.task.config import config_labels, task_config
from training.blobs import BlobStore
from training.errors import BlobCorrupt, BlobMissing, SpecError, TrainingError

PAGE_LENGTH = 50
Stage = Literal["initial", "candidate", "production", "retired"]
STAGES: dict[Stage, tuple[str, str]] = {  # label, tone of the pill
    "initial": ("Untrained", ""),
    "candidate": ("Candidate", "run"),
    "production": ("Production", "ok"),
    "retired": ("Retired", ""),
}


@dataclass(frozen=True)
class Version:
    """One finalised round. Version 0 is the model before round 1: its `tx_hash` created the task.

    `loss` is what our evaluator measured; None for rounds that others evaluated.
    """

    task_id: int
    number: int
    model_hash: str
    base_hash: str
    accuracy_ppm: int | None
    loss: float | None
    tx_hash: str
    block: int | None
    time: int | None  # unix seconds
    participants: int = 0
    samples: int = 0
    stage: Stage = "candidate"
    stored: bool = False  # is there a blob of that name? Whether it is intact: bytes_of

    @property
    def label(self) -> str:
        return STAGES[self.stage][0]

    @property
    def tone(self) -> str:
        return STAGES[self.stage][1]

    def as_json(self) -> dict[str, Any]:
        """Accuracy 0 to 1; time in unix seconds."""
        return {
            "version": self.number,
            "stage": self.stage,
            "model_hash": self.model_hash,
            "base_model_hash": self.base_hash or None,
            "accuracy": None if self.accuracy_ppm is None else self.accuracy_ppm / 1e6,
            "loss": self.loss,
            "participants": self.participants,
            "samples": self.samples,
            "transaction": self.tx_hash or None,
            "block": self.block,
            "time": self.time,
            "stored": self.stored,
        }


@dataclass(frozen=True)
class Decision:
    number: int
    action: str
    text: str  # "Promoted version 3"
    note: str
    by: str
    at: datetime
    holds: bool  # does the chain still have the model that was decided on?


@dataclass(frozen=True)
class RegisteredModel:
    """A task as a model. `versions` ascending, version 0 first when its hash is known."""

    task: Task
    labels: Sequence[str]
    versions: Sequence[Version]
    decisions: Sequence[Decision]  # newest first
    production: Version | None
    before: Version | None  # what a roll-back would put into production
    config_known: bool

    @property
    def latest(self) -> Version | None:
        return self.versions[-1] if self.versions else None

    @property
    def best(self) -> Version | None:
        """The most accurate; of equals the earliest."""
        scored = [v for v in self.versions if v.accuracy_ppm is not None]
        return max(scored, key=lambda v: (v.accuracy_ppm or 0, -v.number), default=None)

    def version(self, number: int) -> Version:
        """Raises NoSuchVersion."""
        for version in self.versions:
            if version.number == number:
                return version
        if not self.versions:
            raise NoSuchVersion(
                f"Model {self.task.pk} has no version yet: its task is not on chain. Start it."
            )
        raise NoSuchVersion(
            f"Model {self.task.pk} has no version {number}; it has "
            f"{self.versions[0].number} to {self.versions[-1].number}. A version appears when "
            "its round is final."
        )

    def served(self) -> Version:
        """The version that answers when none is named. Raises NoSuchVersion."""
        if self.production is not None:
            return self.production
        trained = [v.number for v in self.versions if v.number and v.stage != "retired"]
        if not trained:
            raise NoSuchVersion(f"Model {self.task.pk} has no trained version yet.")
        raise NoSuchVersion(
            f"No version of model {self.task.pk} is in production. Promote one, or name one: "
            f"version={trained[-1]} is the latest."
        )


def registered_model(task: Task) -> RegisteredModel:
    """Five queries, and a look into the blob store for each version."""
    versions = _versions(task)
    hashes = {v.number: v.model_hash for v in versions}
    decisions = list(task.model_decisions.select_related("by"))
    standing = _standing(decisions, hashes)
    store = _store()
    staged = [
        replace(v, stage=standing.stage(v.number), stored=_exists(store, v.model_hash))
        for v in versions
    ]
    by_number = {v.number: v for v in staged}
    config = task_config(task)
    return RegisteredModel(
        task=task,
        labels=config_labels(config) if config else ["Another client's task"],
        versions=staged,
        decisions=[_told(d, hashes) for d in reversed(decisions)],
        production=by_number.get(standing.production),
        before=by_number.get(standing.before),
        config_known=config is not None,
    )


@dataclass
class _Standing:
    """`production` is -1 when nothing is; `history` holds what is or was, oldest first."""

    production: int = -1
    history: list[int] = field(default_factory=list)
    retired: set[int] = field(default_factory=set)

    @property
    def before(self) -> int:
        earlier = [number for number in self.history if number != self.production]
        return earlier[-1] if earlier else -1

    def stage(self, number: int) -> Stage:
        if number == self.production:
            return "production"
        if number in self.retired:
            return "retired"
        return "candidate" if number else "initial"


def _standing(decisions: Iterable[ModelDecision], hashes: dict[int, str]) -> _Standing:
    """A fold over the decisions that still hold."""
    now = _Standing()
    for decision in decisions:
        number = decision.number
        if hashes.get(number) != decision.model_hash:
            continue
        others = [n for n in now.history if n != number]
        match decision.action:
            case ModelDecision.Action.PROMOTE:
                now.history, now.production = [*others, number], number
                now.retired.discard(number)
            case ModelDecision.Action.ROLL_BACK:
                at = now.history.index(number) if number in now.history else len(now.history)
                now.history, now.production = [*now.history[:at], number], number
            case ModelDecision.Action.RETIRE:
                now.history = others
                now.retired.add(number)
                if now.production == number:
                    now.production = -1
            case ModelDecision.Action.RESTORE:
                now.retired.discard(number)
    return now


def _told(decision: ModelDecision, hashes: dict[int, str]) -> Decision:
    words = f"{decision.get_action_display()} version {decision.number}"
    return Decision(
        number=decision.number,
        action=decision.action,
        text=words,
        note=decision.note,
        by=decision.by.short_name if decision.by else "someone who left",
        at=decision.at,
        holds=hashes.get(decision.number) == decision.model_hash,
    )


def _versions(task: Task) -> list[Version]:
    """Three queries."""
    finalized = task.round_set.filter(phase=Round.Phase.FINALIZED).order_by("number")
    losses = dict(task.round_runs.exclude(loss=None).values_list("number", "loss"))
    updates = {
        number: (people, samples)
        for number, people, samples in Update.objects.filter(round__task=task)
        .values_list("round__number")
        .annotate(people=Count("pk"), sum=Sum("samples"))
    }
    versions = [
        Version(
            task_id=task.pk,
            number=r.number,
            model_hash=r.model_hash,
            base_hash=r.base_model_hash,
            accuracy_ppm=r.accuracy_ppm,
            loss=losses.get(r.number),
            tx_hash=r.finalized_tx,
            block=r.finalized_block,
            time=r.finalized_time,
            participants=updates.get(r.number, (0, 0))[0],
            samples=updates.get(r.number, (0, 0))[1],
        )
        for r in finalized
    ]
    initial = versions[0].base_hash if versions else task.model_hash
    if task.onchain_id is None or not initial:
        return versions
    zero = Version(
        task_id=task.pk,
        number=0,
        model_hash=initial,
        base_hash="",
        accuracy_ppm=None,
        loss=None,
        tx_hash=task.created_tx,
        block=task.created_block,
        time=None,
    )
    return [zero, *versions]


# --- bytes ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bytes:
    """What the blob store has under a model's hash. `trouble` says what is wrong, and what next."""

    state: Literal["match", "missing", "differ"]
    size: int = 0
    trouble: str = ""


def bytes_of(version: Version) -> Bytes:
    """Reads and hashes the blob (hashing once for an unchanged file)."""
    what = f"Version {version.number} of model {version.task_id}"
    try:
        size = len(BlobStore.default().open(version.model_hash))
    except BlobMissing:
        return Bytes(
            "missing",
            trouble=f"{what} is not stored here: no file is named {version.model_hash}. The chain "
            "only has its hash. Copy the file into BLOB_ROOT, or train the task again: the same "
            "seed gives the same bytes.",
        )
    except BlobCorrupt as error:
        return Bytes(
            "differ",
            trouble=f"{what} is refused: the stored bytes are not the model that the chain names. "
            f"Blob {error}",
        )
    except SpecError as error:
        return Bytes("missing", trouble=f"{what} has no model hash on chain: {error}")
    return Bytes("match", size)


def _store() -> BlobStore | None:
    try:
        return BlobStore.default()
    except TrainingError:
        return None


def _exists(store: BlobStore | None, model_hash: str) -> bool:
    return store is not None and store.exists(model_hash)


# --- list -----------------------------------------------------------------------------------


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
    served = {pk: _standing(rows, hashes.get(pk, {})).production for pk, rows in decided.items()}
    return {pk: number for pk, number in served.items() if number > 0}


# --- two versions ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """`distance`: L2 norm of the difference of all weights, and relative to version `a`'s norm;
    None unless both are stored and intact."""

    a: Version
    b: Version
    accuracy_change_ppm: int | None
    loss_change: float | None
    distance: float | None
    relative: float | None
    trouble: str


def compare_versions(a: Version, b: Version) -> Comparison:
    distance = relative = None
    trouble = " ".join(found.trouble for found in (bytes_of(a), bytes_of(b)) if found.trouble)
    if not trouble:
        try:
            distance, norm = _distance(a.model_hash, b.model_hash)
            relative = distance / norm if norm else None
        except TrainingError as error:
            trouble = str(error)
    known = a.accuracy_ppm is not None and b.accuracy_ppm is not None
    return Comparison(
        a=a,
        b=b,
        accuracy_change_ppm=(b.accuracy_ppm or 0) - (a.accuracy_ppm or 0) if known else None,
        loss_change=b.loss - a.loss if a.loss is not None and b.loss is not None else None,
        distance=distance,
        relative=relative,
        trouble=trouble,
    )


@lru_cache(maxsize=256)
def _distance(first: str, second: str) -> tuple[float, float]:
    """‖second - first‖ and ‖first‖ over all tensors, in float64."""
    import numpy as np

    store = BlobStore.default()
    a, b = store.open_weights(first), store.open_weights(second)
    if {n: t.shape for n, t in a.items()} != {n: t.shape for n, t in b.items()}:
        raise BlobCorrupt("The two versions have other tensors, so no distance can be told.")
    squares = sum(float(np.square(b[n].astype(np.float64) - a[n]).sum()) for n in a)
    norm = sum(float(np.square(a[n].astype(np.float64)).sum()) for n in a)
    return squares**0.5, norm**0.5
