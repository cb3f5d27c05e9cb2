"""Everything that happened to a task, newest first: contract events and what we noted ourselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Q, QuerySet

from sessions_app.models import Task, TaskEvent, TaskNote
from sessions_app.selectors.people.people import Names, Party, names_of
from sessions_app.selectors.task.events import addresses_in, event_line

PAGE = 25

# What people filter by → the events of the contract that belong to it.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "updates": ("Updates", ("UpdateSubmitted", "UpdatesRelayed")),
    "rounds": (
        "Rounds and results",
        (
            "TaskStarted",
            "RoundOpened",
            "ScoringOpened",
            "ScoresSubmitted",
            "AggregatingOpened",
            "AggregateSubmitted",
            "RoundFinalized",
        ),
    ),
    "members": (
        "Participants",
        ("ParticipantJoined", "ParticipantLeft", "ParticipantSlashed", "SlashVoted"),
    ),
    "money": (
        "Money",
        (
            "TaskCreated",
            "PoolToppedUp",
            "PoolReturned",
            "RewardClaimed",
            "StakeReturned",
            "RewardsSwept",
        ),
    ),
    "task": ("Start and end", ("TaskCreated", "TaskStopping", "TaskCompleted", "TaskCancelled")),
    "notes": ("Off chain", ()),
}
_NOTE_TONES = {
    TaskNote.Kind.PAUSED: "wait",
    TaskNote.Kind.CANCELLED: "wait",
    TaskNote.Kind.REMOVED: "wait",
}


@dataclass(frozen=True)
class Filter:
    """Empty: all. ``round`` from 1."""

    kind: str = ""
    address: str = ""
    round: int | None = None

    @property
    def any(self) -> bool:
        return bool(self.kind or self.address or self.round)

    @property
    def query(self) -> str:
        parts = {"kind": self.kind, "participant": self.address, "round": self.round}
        return "&".join(f"{name}={value}" for name, value in parts.items() if value)


@dataclass(frozen=True)
class Line:
    """``tx_hash`` and ``block`` are empty for what happened off chain. ``at`` unix seconds."""

    name: str
    tone: str
    text: str
    at: float
    round: int | None
    tx_hash: str = ""
    block: int | None = None
    actor: str = ""


@dataclass(frozen=True)
class Timeline:
    """``older`` is what ``before`` of the next page must be, empty at the end."""

    lines: Sequence[Line]
    older: str
    total: int
    people: Sequence[Party]  # those to filter by


def timeline(task: Task, wanted: Filter, *, before: str = "", limit: int | None = PAGE) -> Timeline:
    """Six queries, whatever the numbers. ``before``: "block.index" of the last line shown;
    ``limit`` None: everything. Raises ValueError for a ``before`` that is none."""
    events = _events(task, wanted)
    notes = _notes(task, wanted)
    total = events.count() + notes.count()
    if before:
        block, index = (int(part) for part in before.split("."))
        events = events.filter(
            Q(block_number__lt=block) | Q(block_number=block, log_index__lt=index)
        )
        last = task.events.filter(block_number=block, log_index=index).first()
        if last is not None:
            notes = notes.filter(at__lt=_moment(last.block_time))
    rows = list(
        events.select_related("log")[: limit + 1] if limit else events.select_related("log")
    )
    more = limit is not None and len(rows) > limit
    rows = rows[:limit]
    if more:  # notes between the events of this page; older ones come with the next
        notes = notes.filter(at__gte=_moment(rows[-1].block_time))
    members = [m.address for m in task.members.order_by("index")]
    mentioned = {a for row in rows for a in addresses_in(row.log.args)}
    names = names_of([*members, *mentioned])
    lines = [*(_line(row, names) for row in rows), *(_noted(row) for row in notes)]
    # The latest first; within a second the chain's own order, which `rows` has already.
    lines.sort(key=lambda line: -line.at)
    older = f"{rows[-1].block_number}.{rows[-1].log_index}" if more else ""
    return Timeline(lines, older, total, [names.party(address) for address in members])


def _events(task: Task, wanted: Filter) -> QuerySet[TaskEvent]:
    events = task.events.order_by("-block_number", "-log_index")
    if wanted.kind:
        events = events.filter(name__in=KINDS[wanted.kind][1])
    if wanted.address:
        events = events.filter(actor=wanted.address)
    if wanted.round:
        events = events.filter(round_number=wanted.round)
    return events


def _notes(task: Task, wanted: Filter) -> QuerySet[TaskNote]:
    notes = task.notes.order_by("-at")
    if wanted.kind not in ("", "notes") or wanted.address:
        return notes.none()
    return notes.filter(round_number=wanted.round) if wanted.round else notes


def _line(row: TaskEvent, names: Names) -> Line:
    tone, text = event_line(row.name, row.log.args, names)
    return Line(
        row.name,
        tone,
        text,
        float(row.block_time),
        row.round_number,
        row.tx_hash,
        row.block_number,
        row.actor,
    )


def _noted(row: TaskNote) -> Line:
    tone = _NOTE_TONES.get(TaskNote.Kind(row.kind), "run")
    return Line(row.kind, tone, row.text, row.at.timestamp(), row.round_number)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)
