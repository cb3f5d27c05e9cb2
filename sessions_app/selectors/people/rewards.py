"""The rewards page: what the reader earned and may claim, and what their tasks have paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q

from chain.models import Account, OutgoingStatus, OutgoingTransaction
from sessions_app.formats import amount, count, exact_amount
from sessions_app.models import Participant, Task, User
from sessions_app.selectors.ledger import BadQuery
from sessions_app.selectors.ledger.keyset import read_cursor
from sessions_app.selectors.ledger.rows import network_id
from sessions_app.selectors.people.mine import addresses_of
from sessions_app.selectors.people.people import Party, names_of
from sessions_app.selectors.people.profile import RewardRow, Seat, rewards_of, seats_of
from sessions_app.selectors.pills import Pill, task_pill

LINES = 25


@dataclass(frozen=True)
class MySeat:
    """``hosted``: the server holds the key and sends the claim; else the wallet signs it."""

    seat: Seat
    hosted: bool
    claiming: bool


@dataclass(frozen=True)
class Paid:
    """What one of the reader's own tasks has paid; amounts in wei."""

    task: Task
    pill: Pill
    pool: int
    credited: int
    claimed: int
    returned: int
    earners: int

    @property
    def unclaimed(self) -> int:
        return max(self.credited - self.claimed, 0)

    @property
    def left(self) -> int:
        return max(self.pool - self.credited - self.returned, 0)


@dataclass(frozen=True)
class RewardsPage:
    sentence: str
    addresses: Sequence[Party]
    earned: int
    claimed: int
    staked: int
    stake_due: int
    seats: Sequence[MySeat]
    lines: Sequence[RewardRow]
    older: str  # cursor; empty on the last page
    paid: Sequence[Paid]

    @property
    def claimable(self) -> int:
        return sum(mine.seat.claimable for mine in self.seats)

    @property
    def hosted_claimable(self) -> int:
        """What the server can claim at once: no wallet has to sign."""
        return sum(m.seat.claimable for m in self.seats if m.hosted and not m.claiming)

    @property
    def due_tasks(self) -> Sequence[MySeat]:
        return [mine for mine in self.seats if mine.seat.claimable]


def rewards_page(user: User, *, before: str = "") -> RewardsPage:
    """A constant number of queries. Raises BadQuery for a cursor that is none."""
    addresses = addresses_of(user)
    cursor = read_cursor(before)
    lines = rewards_of(addresses, before=cursor, limit=LINES + 1) if addresses else []
    seats = seats_of(addresses) if addresses else []
    hosted = set(Account.objects.filter(address__in=addresses).values_list("address", flat=True))
    waiting = claims_waiting([seat.task for seat in seats])
    mine = [
        MySeat(
            seat,
            seat.party.address in hosted,
            (seat.task.reference, seat.party.address) in waiting,
        )
        for seat in seats
    ]
    names = names_of(addresses)
    page = RewardsPage(
        sentence="",
        addresses=[names.party(address) for address in addresses],
        earned=sum(seat.earned for seat in seats),
        claimed=sum(seat.claimed for seat in seats),
        staked=sum(seat.stake_held for seat in seats),
        stake_due=sum(seat.stake_held for seat in seats if seat.stake_due),
        seats=mine,
        lines=lines[:LINES],
        older=lines[LINES - 1].cursor if len(lines) > LINES else "",
        paid=tasks_paid(user) if user.is_operator else [],
    )
    return RewardsPage(**{**page.__dict__, "sentence": _sentence(page)})


def claims_waiting(tasks: Sequence[Task]) -> set[tuple[str, str]]:
    """(task reference, address) of claims that are on their way. One query."""
    rows = OutgoingTransaction.objects.filter(
        reference__in={task.reference for task in tasks},
        function="claim",
        status__in=(OutgoingStatus.QUEUED, OutgoingStatus.SENT),
    )
    return set(rows.values_list("reference", "account__address"))


def tasks_paid(user: User) -> list[Paid]:
    """The reader's own tasks that were funded, newest first. Two queries."""
    tasks = list(
        Task.objects.filter(owner=user, network_id=network_id())
        .exclude(onchain_id=None)
        .defer("config")
        .annotate(earners=Count("members", filter=~Q(members__earned=0)))
        .order_by("-pk")[:50]
    )
    claimed: dict[int, int] = {}
    members = Participant.objects.filter(task__in=tasks)
    for pk, wei in members.values_list("task_id", "claimed"):
        claimed[pk] = claimed.get(pk, 0) + wei
    return [
        Paid(
            task=task,
            pill=task_pill(task),
            pool=task.pool_funded,
            credited=task.pool_allocated,
            claimed=claimed.get(task.pk, 0),
            returned=task.pool_returned,
            earners=task.earners,
        )
        for task in tasks
    ]


PAID_COLUMNS = (
    *("task", "title", "phase", "pool_flt", "credited_flt", "claimed_flt", "unclaimed_flt"),
    *("returned_flt", "left_flt", "earners"),
)


def paid_record(row: Paid) -> Mapping[str, Any]:
    return {
        "task": row.task.pk,
        "title": row.task.title,
        "phase": row.task.phase,
        "pool_flt": exact_amount(row.pool),
        "credited_flt": exact_amount(row.credited),
        "claimed_flt": exact_amount(row.claimed),
        "unclaimed_flt": exact_amount(row.unclaimed),
        "returned_flt": exact_amount(row.returned),
        "left_flt": exact_amount(row.left),
        "earners": row.earners,
    }


SEAT_COLUMNS = (
    *("task", "title", "phase", "address", "name", "status", "updates", "contribution"),
    *("earned_flt", "claimed_flt", "claimable_flt", "stake_flt", "joined_transaction"),
)


def seat_record(seat: Seat) -> Mapping[str, Any]:
    return {
        "task": seat.task.pk,
        "title": seat.task.title,
        "phase": seat.task.phase,
        "address": seat.party.address,
        "name": seat.party.name,
        "status": seat.status,
        "updates": seat.updates,
        "contribution": seat.contribution,
        "earned_flt": exact_amount(seat.earned),
        "claimed_flt": exact_amount(seat.claimed),
        "claimable_flt": exact_amount(seat.claimable),
        "stake_flt": exact_amount(seat.stake_held),
        "joined_transaction": seat.joined_tx,
    }


def _sentence(page: RewardsPage) -> str:
    """Where the reader is, and what is next."""
    if not page.addresses:
        paid = sum(row.credited for row in page.paid)
        if page.paid:
            return (
                f"Your tasks have credited {amount(paid, 2)} FLT. You have no account or wallet "
                "of your own that could earn; link one in Settings."
            )
        return "Rewards go to an address. Link your wallet, then join a task with it."
    due = page.due_tasks
    if due:
        return (
            f"You can claim {amount(page.claimable, 2)} FLT from {count(len(due), 'task')}; one "
            "proof pays all of a task."
        )
    running = [m.seat for m in page.seats if m.seat.active and m.seat.task.phase == "running"]
    if running:
        seat = running[0]
        return (
            f"Nothing to claim now. The next reward comes when round {seat.task.current_round} of "
            f"“{seat.task.title}” is final."
        )
    if page.earned:
        return f"All of the {amount(page.earned, 2)} FLT you earned has been claimed."
    if page.paid and not page.seats:
        paid = sum(row.credited for row in page.paid)
        waiting = sum(row.unclaimed for row in page.paid)
        text = f"Your tasks have credited {amount(paid, 2)} FLT to their participants"
        return f"{text}; {amount(waiting, 2)} FLT wait to be claimed." if waiting else f"{text}."
    return "Nothing earned yet. Rewards come with the first finalised round of a task you join."


__all__ = ["BadQuery", "MySeat", "Paid", "RewardsPage", "rewards_page", "tasks_paid"]
