"""Tasks in lists, and the home page of each role."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Count, F, FloatField, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Cast
from django.utils import timezone

from chain.models import OutgoingStatus, OutgoingTransaction
from sessions_app.access import addresses_of
from sessions_app.formats import count, exact_amount
from sessions_app.models import (
    Invitation,
    Participant,
    Round,
    Task,
    TokenBalance,
    TrainingRun,
    User,
)
from sessions_app.selectors.chrome import ChainStatus, chain_status
from sessions_app.selectors.health import Health, health
from sessions_app.selectors.pills import Pill, task_pill
from sessions_app.selectors.task.config import config_labels, task_config

LIST_LENGTH = 50


@dataclass(frozen=True)
class TaskRow:
    pk: int
    title: str
    pill: Pill
    labels: str
    owner: str
    rounds_done: int
    rounds: int
    accuracy_ppm: int | None
    members: int
    max_members: int
    pool: int
    allocated: int
    created_at: datetime
    mine: bool

    @property
    def progress(self) -> int:
        return round(100 * self.rounds_done / self.rounds) if self.rounds else 0


@dataclass(frozen=True)
class TaskList:
    rows: Sequence[TaskRow]
    total: int
    filter: str
    counts: dict[str, int]
    next_before: int | None


FILTERS: dict[str, Q] = {
    "all": Q(),
    "running": Q(phase__in=(Task.Phase.OPEN, Task.Phase.RUNNING))
    | Q(stage__in=(Task.Stage.PREPARING, Task.Stage.FUNDING)),
    "drafts": Q(stage__in=(Task.Stage.DRAFT, Task.Stage.FAILED)),
    "ended": Q(phase__in=(Task.Phase.COMPLETED, Task.Phase.CANCELLED)),
}


def task_list(viewer: User, *, kind: str = "all", before: int | None = None) -> TaskList:
    """The newest tasks of a kind, ``LIST_LENGTH`` a page. Two queries."""
    counts = Task.objects.aggregate(**{name: Count("pk", filter=q) for name, q in FILTERS.items()})
    tasks = Task.objects.filter(FILTERS[kind])
    if before is not None:
        tasks = tasks.filter(pk__lt=before)
    rows = task_rows(tasks, viewer, limit=LIST_LENGTH + 1)
    more = len(rows) > LIST_LENGTH
    rows = rows[:LIST_LENGTH]
    return TaskList(rows, counts[kind], kind, counts, rows[-1].pk if more else None)


TASK_COLUMNS = (
    *("task", "title", "state", "configuration", "owner", "rounds_done", "rounds"),
    *("accuracy_percent", "members", "max_members", "pool_flt", "allocated_flt", "created_at"),
)
EXPORTED = 10_000  # rows of a file


def task_records(viewer: User, kind: str) -> Iterator[dict[str, Any]]:
    """All tasks of a kind, newest first."""
    for row in task_rows(Task.objects.filter(FILTERS[kind]), viewer, limit=EXPORTED):
        yield {
            "task": row.pk,
            "title": row.title,
            "state": row.pill.label,
            "configuration": row.labels,
            "owner": row.owner,
            "rounds_done": row.rounds_done,
            "rounds": row.rounds,
            "accuracy_percent": row.accuracy_ppm / 10_000 if row.accuracy_ppm is not None else None,
            "members": row.members,
            "max_members": row.max_members,
            "pool_flt": exact_amount(row.pool),
            "allocated_flt": exact_amount(row.allocated),
            "created_at": row.created_at.isoformat(timespec="seconds"),
        }


def task_rows(tasks: QuerySet[Task], viewer: User, *, limit: int) -> list[TaskRow]:
    """One query."""
    finalized = Round.objects.filter(task=OuterRef("pk"), phase=Round.Phase.FINALIZED)
    found = (
        tasks.select_related("owner")
        .annotate(
            member_count=Count("members", distinct=True),
            rounds_done=Count(
                "round_set", filter=Q(round_set__phase=Round.Phase.FINALIZED), distinct=True
            ),
            accuracy=Subquery(finalized.order_by("-number").values("accuracy_ppm")[:1]),
        )
        .order_by("-pk")[:limit]
    )
    rows = []
    for task in found:
        config = task_config(task)
        rows.append(
            TaskRow(
                pk=task.pk,
                title=task.title,
                pill=task_pill(task),
                labels=" · ".join(config_labels(config)) if config else "Another client's task",
                owner=task.owner.short_name if task.owner else "another client",
                rounds_done=task.rounds_done,
                rounds=task.rounds,
                accuracy_ppm=task.accuracy,
                members=task.member_count,
                max_members=task.max_participants,
                pool=task.pool_funded or task.pool,
                allocated=task.pool_allocated,
                created_at=task.created_at,
                mine=task.owner_id == viewer.pk,
            )
        )
    return rows


@dataclass(frozen=True)
class Need:
    """Something that waits for the reader: what, and where to do it."""

    title: str
    detail: str
    task_pk: int
    action: str
    tone: str = "wait"


@dataclass(frozen=True)
class OperatorHome:
    sentence: str
    tasks: Sequence[TaskRow]
    needs: Sequence[Need]
    balance: int
    escrow: int
    gas_used: int
    gas_fee: int
    running: int


def operator_home(user: User) -> OperatorHome:
    """Six queries."""
    mine = Task.objects.filter(owner=user)
    rows = task_rows(mine, user, limit=8)
    alive = mine.filter(phase__in=(Task.Phase.OPEN, Task.Phase.RUNNING))
    escrow = sum(
        max(funded - allocated - returned, 0)
        for funded, allocated, returned in alive.values_list(
            "pool_funded", "pool_allocated", "pool_returned"
        )
    )
    running = mine.filter(FILTERS["running"]).count()
    needs = _operator_needs(mine)
    fee = Cast(F("gas_used"), FloatField()) * F("effective_gas_price")
    gas = OutgoingTransaction.objects.filter(
        account_id=user.account_id or -1, gas_used__isnull=False
    ).aggregate(gas=Sum("gas_used"), fee=Sum(fee))
    if not rows:
        sentence = "You have no task yet. Create the first one: it takes a minute."
    elif needs:
        sentence = f"{count(len(needs), 'thing')} {'needs' if len(needs) == 1 else 'need'} you."
    elif running:
        sentence = f"{count(running, 'task')} under way, nothing needs you."
    else:
        sentence = "Nothing is running and nothing needs you."
    return OperatorHome(
        sentence=sentence,
        tasks=rows,
        needs=needs,
        balance=_balance(user),
        escrow=escrow,
        gas_used=gas["gas"] or 0,
        gas_fee=round(gas["fee"] or 0),
        running=running,
    )


def _operator_needs(mine: QuerySet[Task]) -> list[Need]:
    needs = []
    waiting = mine.filter(stage__in=(Task.Stage.FAILED, Task.Stage.DRAFT)).order_by("-pk")
    for task in waiting.only("pk", "title", "stage", "failure")[:5]:
        if task.stage == Task.Stage.FAILED:
            needs.append(Need(task.title, task.failure, task.pk, "See the cause", "bad"))
        else:
            needs.append(Need(task.title, "A draft, not started yet.", task.pk, "Open the draft"))
    failed = OutgoingTransaction.objects.filter(
        status=OutgoingStatus.FAILED,
        reference__startswith="task:",
        queued_at__gte=timezone.now() - timedelta(days=1),
    )
    references = {f"task:{pk}" for pk in mine.order_by("-pk").values_list("pk", flat=True)[:200]}
    for row in failed.filter(reference__in=references).order_by("-pk")[:3]:
        pk = int(row.reference.split(":")[1])
        needs.append(
            Need(f"Task {pk}: {row.function} failed", row.error, pk, "See the task", "bad")
        )
    return needs


@dataclass(frozen=True)
class SeatRow:
    task: TaskRow
    earned: int
    claimed: int
    stake: int

    @property
    def claimable(self) -> int:
        return max(self.earned - self.claimed, 0)


@dataclass(frozen=True)
class JoinRow:
    task: TaskRow
    invited: bool


@dataclass(frozen=True)
class ParticipantHome:
    sentence: str
    address: str
    seats: Sequence[SeatRow]
    to_join: Sequence[JoinRow]
    balance: int
    earned: int
    claimable: int
    staked: int


def participant_home(user: User) -> ParticipantHome:
    """Six queries. Counts what the hosted account and the linked wallets have."""
    addresses = addresses_of(user)
    address = user.account.address if user.account else min(addresses, default="")
    members: dict[int, list[Participant]] = {}
    for m in Participant.objects.filter(address__in=addresses):
        members.setdefault(m.task_id, []).append(m)
    involved = Task.objects.filter(
        Q(pk__in=members) | Q(seats__account_id=user.account_id or -1)
    ).distinct()
    seats = []
    for row in task_rows(involved, user, limit=LIST_LENGTH):
        mine = members.get(row.pk, [])
        seats.append(
            SeatRow(
                row,
                sum(m.earned for m in mine),
                sum(m.claimed for m in mine),
                sum(m.stake - m.stake_returned for m in mine),
            )
        )
    invited = set(
        Invitation.objects.filter(used_by=user, task__isnull=False).values_list(
            "task_id", flat=True
        )
    )
    free = (
        Task.objects.filter(phase=Task.Phase.OPEN, hosted_places__lt=F("max_participants"))
        .exclude(pk__in=members)
        .annotate(joined=Count("members", distinct=True))
        .filter(joined__lt=F("max_participants"))
    )
    to_join = [JoinRow(row, row.pk in invited) for row in task_rows(free, user, limit=8)]
    to_join.sort(key=lambda row: not row.invited)
    all_members = [m for rows in members.values() for m in rows]
    claimable = sum(max(m.earned - m.claimed, 0) for m in all_members)
    running = sum(row.task.pill.label == "Running" for row in seats)
    if any(row.invited for row in to_join):
        sentence = "You are invited to a task: read its terms, then join from your wallet."
    elif not address:
        sentence = "Link a wallet under Settings to join tasks and earn rewards."
    elif claimable:
        sentence = "You have earned rewards that you have not claimed yet."
    elif running:
        sentence = f"You are training in {count(running, 'task')}; nothing needs you."
    else:
        sentence = "Nothing is running. You are listed here as soon as a task has a seat for you."
    return ParticipantHome(
        sentence=sentence,
        address=address,
        seats=seats,
        to_join=to_join,
        balance=_balance(user),
        earned=sum(m.earned for m in all_members),
        claimable=claimable,
        staked=sum(m.stake - m.stake_returned for m in all_members),
    )


@dataclass(frozen=True)
class AdminHome:
    sentence: str
    chain: ChainStatus
    outbox: dict[str, int]
    training: dict[str, int]
    failed: Sequence[OutgoingTransaction]
    tasks: Sequence[TaskRow]
    users: int
    disk_free: int  # bytes
    disk_total: int
    health: Health


def admin_home(user: User) -> AdminHome:
    """Seven queries."""
    chain = chain_status()
    outbox = OutgoingTransaction.objects.aggregate(
        **{s.value: Count("pk", filter=Q(status=s)) for s in OutgoingStatus}
    )
    training = TrainingRun.objects.aggregate(
        **{s.value: Count("pk", filter=Q(status=s)) for s in TrainingRun.Status}
    )
    failed = list(
        OutgoingTransaction.objects.filter(status=OutgoingStatus.FAILED)
        .select_related("account")
        .order_by("-pk")[:5]
    )
    home = Path(settings.BCFL_HOME)
    disk = shutil.disk_usage(home if home.exists() else home.parent)
    sentence = (
        f"The chain is followed up to block {chain.block:,}."
        if chain.ok
        else f"{chain.label}: {chain.message}"
    )
    return AdminHome(
        sentence=sentence,
        chain=chain,
        outbox=outbox,
        training=training,
        failed=failed,
        tasks=task_rows(Task.objects.all(), user, limit=6),
        users=User.objects.filter(is_active=True).count(),
        disk_free=disk.free,
        disk_total=disk.total,
        health=health(),
    )


def _balance(user: User) -> int:
    """FLT of the user's hosted account in wei. One query."""
    if user.account is None:
        return 0
    row = TokenBalance.objects.filter(
        address=user.account.address,
        network__chain_id=settings.NETWORKS[settings.CHAIN_NETWORK]["chain_id"],
    ).first()
    return row.balance if row else 0
