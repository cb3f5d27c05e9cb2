"""Everyone who ever joined a task, one row for an address, over all tasks.

Sorted and paged in the database by whole numbers (earnings in millionths of a token, the mean
contribution in ppm), so a cursor means the same place on every request. The amounts shown are
summed from the exact wei.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import (
    BigIntegerField,
    Case,
    Count,
    F,
    FloatField,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce, Greatest

from chain.models import Account, Block
from sessions_app.formats import exact_amount
from sessions_app.models import Claim, Participant, Reward, Round, Task, Update, Wallet
from sessions_app.selectors.ledger import BadQuery
from sessions_app.selectors.ledger.rows import chain_id, network_id
from sessions_app.selectors.people.people import Party, names_of

PAGE = 50
CHUNK = 1_000
MICRO = 10**12  # wei in a millionth of a token
# What the list can be sorted by -> what the column is called.
SORTS: Mapping[str, str] = {
    "earned": "Earned",
    "tasks": "Tasks",
    "rounds": "Rounds",
    "contribution": "Mean contribution",
    "seen": "Last seen",
}
STATES: Mapping[str, str] = {
    "active": "In a task now",
    "left": "Left a task",
    "slashed": "Slashed",
}


@dataclass(frozen=True)
class Chosen:
    """What the list is narrowed and sorted by."""

    sort: str = "earned"
    descending: bool = True
    words: str = ""  # part of a name or an address
    state: str = ""
    task: int | None = None

    def __bool__(self) -> bool:
        return bool(self.words or self.state or self.task)


@dataclass(frozen=True)
class Person:
    """``contribution_ppm``: mean share of the reward over the finalised rounds with an update of
    theirs. ``claimable`` and the other amounts in wei; ``seen``: unix seconds of the last block
    in which they joined, submitted or claimed."""

    party: Party
    tasks: int
    rounds: int
    contribution_ppm: int | None
    earned: int
    claimed: int
    stake: int
    left: int
    slashed: int
    seen_block: int
    seen: int | None

    @property
    def claimable(self) -> int:
        return max(self.earned - self.claimed, 0)


@dataclass(frozen=True)
class People:
    rows: Sequence[Person]
    following: str  # cursor of the next page; empty on the last


def read_chosen(given: Mapping[str, str]) -> Chosen:
    """From a query string. Raises BadQuery for what means nothing."""
    sort = given.get("sort", "") or "earned"
    if sort not in SORTS:
        raise BadQuery(f"The list cannot be sorted by “{sort[:20]}”; use {', '.join(SORTS)}.")
    state = given.get("state", "")
    if state and state not in STATES:
        raise BadQuery(f"There is no state “{state[:20]}”; use {', '.join(STATES)}.")
    direction = given.get("order", "") or "desc"
    if direction not in ("asc", "desc"):
        raise BadQuery(f"The order is asc or desc, not “{direction[:20]}”.")
    task = given.get("task", "").strip().removeprefix("#")
    if task and not (task.isascii() and task.isdigit() and len(task) < 10):
        raise BadQuery(f"“{task[:20]}” is not the number of a task.")
    return Chosen(
        sort,
        direction == "desc",
        given.get("q", "").strip()[:80],
        state,
        int(task) if task else None,
    )


def participant_list(chosen: Chosen, *, after: str = "", size: int = PAGE) -> People:
    """One page. Five queries. Raises BadQuery for a cursor that is none."""
    rows = _ordered(chosen, after)[: size + 1]
    found = list(rows)
    people = _people([row["address"] for row in found[:size]], {r["address"]: r for r in found})
    more = len(found) > size
    return People(people, _cursor(found[size - 1], chosen.sort) if more else "")


def participant_one(address: str) -> Person | None:
    """The row of one address (checksum form); None for one that never joined."""
    rows = Participant.objects.filter(task__network_id=network_id(), address=address)
    found = list(_grouped(rows))
    return _people([address], {address: found[0]})[0] if found else None


def participant_export(chosen: Chosen) -> Iterator[Sequence[Mapping[str, Any]]]:
    """All rows as records, CHUNK at a time, each chunk with queries of its own."""
    after = ""
    while True:
        page = participant_list(chosen, after=after, size=CHUNK)
        yield [_record(person) for person in page.rows]
        after = page.following
        if not after:
            return


COLUMNS = (
    *("name", "address", "tasks", "rounds", "contribution_percent", "earned_flt", "claimed_flt"),
    *("stake_flt", "left", "slashed", "last_seen_block", "last_seen"),
)


def _record(person: Person) -> Mapping[str, Any]:
    ppm = person.contribution_ppm
    return {
        "name": person.party.name,
        "address": person.party.address,
        "tasks": person.tasks,
        "rounds": person.rounds,
        "contribution_percent": None if ppm is None else ppm / 10_000,
        "earned_flt": exact_amount(person.earned),
        "claimed_flt": exact_amount(person.claimed),
        "stake_flt": exact_amount(person.stake),
        "left": person.left,
        "slashed": person.slashed,
        "last_seen_block": person.seen_block,
        "last_seen": iso(person.seen) if person.seen is not None else None,
    }


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat().replace("+00:00", "Z")


def _ordered(chosen: Chosen, after: str) -> QuerySet[Any, Any]:
    rows = _grouped(_memberships(chosen))
    if chosen.state == "active":
        rows = rows.filter(now__gt=0)
    elif chosen.state:
        rows = rows.filter(**{f"{chosen.state}__gt": 0})
    key = f"key_{chosen.sort}"
    if after:
        value, address = _read_cursor(after)
        step = "lt" if chosen.descending else "gt"
        rows = rows.filter(
            Q(**{f"{key}__{step}": value}) | Q(**{key: value, "address__gt": address})
        )
    return rows.order_by(f"-{key}" if chosen.descending else key, "address")


def _memberships(chosen: Chosen) -> QuerySet[Participant]:
    rows = Participant.objects.filter(task__network_id=network_id())
    if chosen.task is not None:
        rows = rows.filter(task_id=chosen.task)
    if chosen.words:
        named = Account.objects.filter(label__icontains=chosen.words).values("address")
        linked = Wallet.objects.filter(
            Q(label__icontains=chosen.words) | Q(user__first_name__icontains=chosen.words)
        ).values("address")
        rows = rows.filter(
            Q(address__icontains=chosen.words) | Q(address__in=named) | Q(address__in=linked)
        )
    return rows


def _grouped(members: QuerySet[Participant]) -> QuerySet[Any, Any]:
    """One row for an address; what belongs to one membership is counted in subqueries, so that
    no join multiplies another."""
    own = {"participant": OuterRef("pk")}
    paid = Round.Phase.FINALIZED
    updates = _count(Update.objects.filter(**own))
    finals = _count(Update.objects.filter(**own, round__phase=paid, round__rewards_match=True))
    shares = (
        Reward.objects.filter(**own, round__reward__gt=0)
        .order_by()
        .values("participant")
        .annotate(sum=Sum(Cast("amount", FloatField()) / Cast("round__reward", FloatField())))
        .values("sum")
    )
    return (
        members.annotate(
            own_updates=Coalesce(Subquery(updates), 0),
            own_finals=Coalesce(Subquery(finals), 0),
            own_shares=Coalesce(Subquery(shares), 0.0, output_field=FloatField()),
            own_seen=Greatest(
                F("joined_block"),
                Coalesce(Subquery(_latest(Update.objects.filter(**own))), 0),
                Coalesce(Subquery(_latest(Claim.objects.filter(**own))), 0),
            ),
        )
        .values("address")
        .annotate(
            key_tasks=Count("pk"),
            key_rounds=Sum("own_updates"),
            finals=Sum("own_finals"),
            key_contribution=Case(
                When(
                    finals__gt=0,
                    then=Cast(
                        Sum("own_shares") * Value(1e6) / F("finals"), output_field=BigIntegerField()
                    ),
                ),
                default=Value(-1),
                output_field=BigIntegerField(),
            ),
            key_earned=Cast(
                Sum(Cast("earned", FloatField())) / Value(float(MICRO)), BigIntegerField()
            ),
            key_seen=Max("own_seen"),
            left=Count("pk", filter=Q(status=Participant.Status.LEFT)),
            slashed=Count("pk", filter=Q(status=Participant.Status.SLASHED)),
            now=Count(
                "pk",
                filter=Q(
                    status=Participant.Status.ACTIVE,
                    task__phase__in=(Task.Phase.OPEN, Task.Phase.RUNNING),
                ),
            ),
        )
    )


def _count(rows: QuerySet[Any]) -> QuerySet[Any, Any]:
    return rows.order_by().values("participant").annotate(n=Count("pk")).values("n")


def _latest(rows: QuerySet[Any]) -> QuerySet[Any, Any]:
    latest = rows.order_by().values("participant").annotate(last=Max("block_number"))
    return latest.values("last")


def _people(addresses: Sequence[str], found: Mapping[str, Mapping[str, Any]]) -> list[Person]:
    names = names_of(addresses, chain_id())
    money: dict[str, list[int]] = {address: [0, 0, 0] for address in addresses}
    members = Participant.objects.filter(address__in=addresses, task__network_id=network_id())
    for address, earned, claimed, stake, returned, status in members.values_list(
        "address", "earned", "claimed", "stake", "stake_returned", "status"
    ):
        held = 0 if status == Participant.Status.SLASHED else stake - returned
        for at, value in enumerate((earned, claimed, held)):
            money[address][at] += value
    numbers = {found[address]["key_seen"] for address in addresses}
    blocks = Block.objects.filter(network_id=network_id(), number__in=numbers)
    times = dict(blocks.values_list("number", "timestamp"))
    people = []
    for address in addresses:
        row = found[address]
        earned, claimed, stake = money[address]
        people.append(
            Person(
                party=names.party(address),
                tasks=row["key_tasks"],
                rounds=row["key_rounds"],
                contribution_ppm=row["key_contribution"] if row["finals"] else None,
                earned=earned,
                claimed=claimed,
                stake=stake,
                left=row["left"],
                slashed=row["slashed"],
                seen_block=row["key_seen"],
                seen=times.get(row["key_seen"]),
            )
        )
    return people


def _cursor(row: Mapping[str, Any], sort: str) -> str:
    return f"{row[f'key_{sort}']}.{row['address']}"


def _read_cursor(text: str) -> tuple[int, str]:
    number, _, address = text.partition(".")
    digits = number.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19 and address):
        raise BadQuery(f"“{text[:40]}” is no place in this list. Start again from its first page.")
    return int(number), address
