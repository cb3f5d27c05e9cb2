"""The model registry: a registered model is a task, its versions are the finalised rounds.

Everything but the stage comes from the chain's rows. The stage follows from what people decided
(ModelDecision, oldest first), as long as the chain still has the model that they decided on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from django.db.models import Count, Sum

from sessions_app.errors import NoSuchVersion
from sessions_app.models import ModelDecision, Round, Task, Update
from sessions_app.selectors.task.config import config_labels, task_config
from training.blobs import BlobStore
from training.errors import BlobCorrupt, BlobMissing, SpecError, TrainingError

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
    stands = standing(decisions, hashes)
    store = _store()
    staged = [
        replace(v, stage=stands.stage(v.number), stored=_exists(store, v.model_hash))
        for v in versions
    ]
    by_number = {v.number: v for v in staged}
    config = task_config(task)
    return RegisteredModel(
        task=task,
        labels=config_labels(config) if config else ["Another client's task"],
        versions=staged,
        decisions=[_told(d, hashes) for d in reversed(decisions)],
        production=by_number.get(stands.production),
        before=by_number.get(stands.before),
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


def standing(decisions: Iterable[ModelDecision], hashes: dict[int, str]) -> _Standing:
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
