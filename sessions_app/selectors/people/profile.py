"""One participant over all tasks: what was earned, paid, staked, refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, FloatField, Q, QuerySet, Sum
from django.db.models.functions import Cast

from sessions_app.formats import exact_amount
from sessions_app.models import Claim, Participant, Reward, Round, RoundRun, Task, TokenBalance
from sessions_app.selectors.ledger.rows import chain_id, network_id
from sessions_app.selectors.people.participants import Person, iso, participant_one
from sessions_app.selectors.people.people import Party, names_of
from sessions_app.selectors.pills import Pill, task_pill

SHOWN = 20
CHART_POINTS = 500


@dataclass(frozen=True)
class Seat:
    """A membership. ``contribution``: mean share of the reward over its finalised rounds with an
    update, 0 to 1; amounts in wei."""

    task: Task
    pill: Pill
    status: str
    party: Party
    updates: int
    contribution: float | None
    earned: int
    claimed: int
    stake: int
    stake_returned: int
    joined_tx: str
    mode: str
    active: bool

    @property
    def claimable(self) -> int:
        return max(self.earned - self.claimed, 0)

    @property
    def stake_held(self) -> int:
        """Still in the contract; a slashed stake is gone."""
        return 0 if self.status == "Slashed" else self.stake - self.stake_returned

    @property
    def stake_due(self) -> bool:
        return self.stake_held > 0 and self.task.is_finished


@dataclass(frozen=True)
class RewardRow:
    task_pk: int
    task_title: str
    round: int
    party: Party
    score: int
    amount: int
    cumulative: int
    share: float | None  # of the round's reward, 0 to 1
    time: int | None
    tx_hash: str
    cursor: str  # its place in a list, newest first


@dataclass(frozen=True)
class Refused:
    """An update that was not averaged, and why."""

    task_pk: int
    task_title: str
    round: int
    reason: str


@dataclass(frozen=True)
class EarningsPoint:
    time: int  # unix seconds
    total: int  # wei, over all tasks so far


@dataclass(frozen=True)
class Earnings:
    points: Sequence[EarningsPoint]

    @property
    def chart(self) -> Mapping[str, Any]:
        return {
            "time": [point.time for point in self.points],
            "balance": [float(exact_amount(point.total)) for point in self.points],
        }


@dataclass(frozen=True)
class Profile:
    party: Party
    person: Person | None
    balance: int
    seats: Sequence[Seat]
    rewards: Sequence[RewardRow]
    more_rewards: bool
    claims: Sequence[Claim]
    refused: Sequence[Refused]
    earnings: Earnings


def profile(address: str) -> Profile:
    """A constant number of queries; an address that never joined has an empty profile."""
    rewards = reward_rows(_rewards([address]), limit=SHOWN + 1)
    members = Participant.objects.filter(task__network_id=network_id(), address=address)
    held = TokenBalance.objects.filter(network_id=network_id(), address=address).first()
    claims = Claim.objects.filter(participant__in=members).select_related(
        "participant__task", "log__block"
    )
    return Profile(
        party=names_of([address], chain_id()).party(address),
        person=participant_one(address),
        balance=held.balance if held else 0,
        seats=seats_of([address]),
        rewards=rewards[:SHOWN],
        more_rewards=len(rewards) > SHOWN,
        claims=list(claims.order_by("-block_number", "-pk")[:SHOWN]),
        refused=_refused(address, members),
        earnings=earnings_of([address]),
    )


def seats_of(addresses: Sequence[str]) -> list[Seat]:
    """Memberships of these addresses, newest task first. Two queries."""
    paid = Q(rewards__round__reward__gt=0)
    share = Cast("rewards__amount", FloatField()) / Cast("rewards__round__reward", FloatField())
    rows = (
        Participant.objects.filter(task__network_id=network_id(), address__in=addresses)
        .select_related("task")
        .defer("task__config")
        .annotate(shares=Sum(share, filter=paid))
        .order_by("-task_id", "index")
    )
    members = list(rows)
    counts = {
        pk: (updates, finals)
        for pk, updates, finals in Participant.objects.filter(pk__in=[m.pk for m in members])
        .annotate(
            n=Count("updates"),
            finals=Count(
                "updates",
                filter=Q(
                    updates__round__phase=Round.Phase.FINALIZED, updates__round__rewards_match=True
                ),
            ),
        )
        .values_list("pk", "n", "finals")
    }
    names = names_of(addresses, chain_id())

    def mean(member: Any) -> float | None:
        finals = counts[member.pk][1]
        return (member.shares or 0.0) / finals if finals else None

    return [
        Seat(
            task=member.task,
            pill=task_pill(member.task),
            status=member.get_status_display(),
            party=names.party(member.address),
            updates=counts[member.pk][0],
            contribution=(member.shares or 0.0) / finals
            if (finals := counts[member.pk][1])
            else None,
            earned=member.earned,
            claimed=member.claimed,
            stake=member.stake,
            stake_returned=member.stake_returned,
            joined_tx=member.joined_tx,
            mode=member.task.reward_mode,
            active=member.status == Participant.Status.ACTIVE,
        )
        for member in members
    ]


def _rewards(addresses: Sequence[str]) -> QuerySet[Reward]:
    return Reward.objects.filter(
        participant__address__in=addresses, participant__task__network_id=network_id()
    )


def rewards_of(
    addresses: Sequence[str], *, before: tuple[int, int] | None = None, limit: int
) -> list[RewardRow]:
    """Rewards above 0 of these addresses, newest first; `before`: (block, key) of the last row
    already shown. Two queries."""
    rows = _rewards(addresses).exclude(amount=0)
    if before is not None:
        block, key = before
        rows = rows.filter(
            Q(round__finalized_block__lt=block) | Q(round__finalized_block=block, pk__lt=key)
        )
    return reward_rows(rows, limit=limit)


def reward_rows(rewards: QuerySet[Reward], *, limit: int | None = None) -> list[RewardRow]:
    rows = list(
        rewards.select_related("round__task", "participant")
        .defer("round__task__config")
        .order_by("-round__finalized_block", "-pk")[:limit]
    )
    names = names_of({row.participant.address for row in rows}, chain_id())
    return [
        RewardRow(
            task_pk=row.round.task_id,
            task_title=row.round.task.title,
            round=row.round.number,
            party=names.party(row.participant.address),
            score=row.score,
            amount=row.amount,
            cumulative=row.cumulative,
            share=row.amount / row.round.reward if row.round.reward else None,
            time=row.round.finalized_time,
            tx_hash=row.round.finalized_tx,
            cursor=f"{row.round.finalized_block or 0}.{row.pk}",
        )
        for row in rows
    ]


def reward_record(row: RewardRow) -> Mapping[str, Any]:
    """A reward as exports and the API show it."""
    return {
        "task": row.task_pk,
        "title": row.task_title,
        "round": row.round,
        "address": row.party.address,
        "name": row.party.name,
        "score": row.score,
        "share": row.share,
        "amount_flt": exact_amount(row.amount),
        "amount_wei": str(row.amount),
        "cumulative_flt": exact_amount(row.cumulative),
        "time": iso(row.time) if row.time else None,
        "transaction": row.tx_hash,
    }


REWARD_COLUMNS = (
    *("task", "title", "round", "address", "name", "score", "share", "amount_flt", "amount_wei"),
    *("cumulative_flt", "time", "transaction"),
)


def all_rewards_of(addresses: Sequence[str]) -> list[RewardRow]:
    """For an export."""
    return reward_rows(_rewards(addresses).exclude(amount=0))


def earnings_of(addresses: Sequence[str]) -> Earnings:
    """Of these addresses together, over all tasks, after each of the latest paying rounds, oldest
    first. One query."""
    rows = list(
        _rewards(addresses)
        .exclude(amount=0)
        .order_by("-round__finalized_block", "-pk")
        .values_list("round__finalized_time", "amount")
    )
    total = 0
    points: dict[int, EarningsPoint] = {}
    for time, amount in reversed(rows):
        assert time is not None  # paid, so finalised
        total += amount
        points[time] = EarningsPoint(time, total)
    return Earnings(list(points.values())[-CHART_POINTS:])


def _refused(address: str, members: QuerySet[Participant]) -> list[Refused]:
    runs = (
        RoundRun.objects.filter(task__members__in=members, result__rejected__icontains=address)
        .order_by("-task_id", "-number")
        .values_list("task_id", "task__title", "number", "result__rejected")[:SHOWN]
    )
    return [
        Refused(task, title, number, reason)
        for task, title, number, pairs in runs
        for who, reason in pairs or ()
        if who.lower() == address.lower()
    ]
