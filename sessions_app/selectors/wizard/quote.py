"""What a task will cost, from measured gas.

``contracts/snapshots/gas_report.json`` holds what ``manage.py gas_report --write`` measured for
4 to 100 participants; between two numbers the cost grows in a straight line. What a second
evaluator adds comes from the Foundry snapshot beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, Self

from django.conf import settings
from django.utils import timezone

from chain.models import Block, Transaction
from sessions_app.models import NetworkPrice, Task, User

QUOTE_VERSION = 1
BATCH = 50  # relayed updates in one transaction
GWEI = 10**9

Party = Literal["operator", "participant", "evaluator"]
PARTIES: tuple[Party, ...] = ("operator", "participant", "evaluator")


@dataclass(frozen=True)
class QuoteTerms:
    """What the cost depends on. ``pool`` and ``stake`` (each) in wei."""

    participants: int
    rounds: int
    pool: int
    stake: int
    evaluators: int = 1
    quorum: int = 1

    @classmethod
    def of(cls, task: Task) -> Self:
        """Of a task that is saved: its evaluators are counted. One query."""
        hosted = task.evaluator_accounts.count()
        return cls(
            participants=task.max_participants,
            rounds=task.rounds,
            pool=task.pool,
            stake=task.stake,
            evaluators=(hosted + len(task.outside_evaluators)) or 1,
            quorum=task.quorum,
        )


@dataclass(frozen=True)
class QuoteLine:
    """``count`` calls of ``function`` that one ``party`` sends over the whole task, and their gas
    together. For participants and evaluators all of them are counted."""

    party: Party
    function: str
    count: int
    gas: int


@dataclass(frozen=True)
class PartyCost:
    """Of one member of a party: ``tokens`` and fees in wei."""

    label: str
    tokens: int
    gas: int
    fee: int | None
    gas_relayed: int
    fee_relayed: int | None


@dataclass(frozen=True)
class Quote:
    """``lines`` with each update sent by its participant; ``relayed`` is what the operator pays
    instead when updates are collected and sent in batches. ``gas_price`` in wei per gas."""

    terms: QuoteTerms
    chain_id: int
    network: str
    gas_price: int | None
    made_at: str
    lines: Sequence[QuoteLine]
    relayed: QuoteLine

    # --- gas ------------------------------------------------------------------------------

    def gas_of(self, party: Party, *, relayed: bool = False) -> int:
        """Of all of a party's members together."""
        gas = sum(
            line.gas
            for line in self.lines
            if line.party == party and not (relayed and line.function == "submitUpdate")
        )
        return gas + (self.relayed.gas if relayed and party == "operator" else 0)

    def gas_each(self, party: Party, *, relayed: bool = False) -> int:
        number = {
            "operator": 1,
            "participant": self.terms.participants,
            "evaluator": self.terms.evaluators,
        }[party]
        return round(self.gas_of(party, relayed=relayed) / max(number, 1))

    @property
    def gas(self) -> int:
        """Of everyone, updates sent directly."""
        return sum(line.gas for line in self.lines)

    @property
    def gas_relayed(self) -> int:
        return sum(self.gas_of(party, relayed=True) for party in PARTIES)

    def fee(self, gas: int) -> int | None:
        """Wei at the price of the quote."""
        return None if self.gas_price is None else gas * self.gas_price

    @property
    def total_fee(self) -> int | None:
        return self.fee(self.gas)

    @property
    def parties(self) -> list[PartyCost]:
        """What one member of each party pays."""
        people = self.terms.participants
        told: dict[Party, tuple[str, int]] = {
            "operator": ("Operator, pool", self.terms.pool),
            "participant": (f"Participant, stake (of {people})", self.terms.stake),
            "evaluator": (f"Evaluator (of {self.terms.evaluators})", 0),
        }
        rows = []
        for party, (label, tokens) in told.items():
            direct, relayed = self.gas_each(party), self.gas_each(party, relayed=True)
            rows.append(
                PartyCost(label, tokens, direct, self.fee(direct), relayed, self.fee(relayed))
            )
        return rows

    # --- stored on the task ---------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """Wei as text: they outgrow the numbers of JavaScript."""
        return {
            "version": QUOTE_VERSION,
            "made_at": self.made_at,
            "chain_id": self.chain_id,
            "network": self.network,
            "gas_price": None if self.gas_price is None else str(self.gas_price),
            "participants": self.terms.participants,
            "rounds": self.terms.rounds,
            "evaluators": self.terms.evaluators,
            "quorum": self.terms.quorum,
            "pool": str(self.terms.pool),
            "stake": str(self.terms.stake),
            "lines": [_line_json(line) for line in self.lines],
            "relayed": _line_json(self.relayed),
            "gas": self.gas,
            "gas_relayed": self.gas_relayed,
            "fee": None if self.total_fee is None else str(self.total_fee),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        price = data["gas_price"]
        return cls(
            terms=QuoteTerms(
                participants=data["participants"],
                rounds=data["rounds"],
                pool=int(data["pool"]),
                stake=int(data["stake"]),
                evaluators=data["evaluators"],
                quorum=data["quorum"],
            ),
            chain_id=data["chain_id"],
            network=data["network"],
            gas_price=None if price is None else int(price),
            made_at=data["made_at"],
            lines=[QuoteLine(**line) for line in data["lines"]],
            relayed=QuoteLine(**data["relayed"]),
        )


def _line_json(line: QuoteLine) -> dict[str, Any]:
    return {"party": line.party, "function": line.function, "count": line.count, "gas": line.gas}


def quote(terms: QuoteTerms, *, gas_price: int | None) -> Quote:
    """No queries."""
    name = settings.CHAIN_NETWORK
    people, rounds = max(terms.participants, 1), max(terms.rounds, 1)
    batches = rounds * -(-people // BATCH)
    relayed = batches * _relay_base() + rounds * people * _relay_each()
    return Quote(
        terms=terms,
        chain_id=settings.NETWORKS[name]["chain_id"],
        network=name,
        gas_price=gas_price,
        made_at=timezone.now().isoformat(timespec="seconds"),
        lines=_lines(terms, people, rounds),
        relayed=QuoteLine("operator", "submitUpdatesBySig", batches, round(relayed)),
    )


def _lines(terms: QuoteTerms, people: int, rounds: int) -> list[QuoteLine]:
    judges, votes = max(terms.evaluators, 1), max(terms.quorum, 1)
    approve = round(_at("approve", people))
    lines = [
        QuoteLine("operator", "approve", 1, approve),
        QuoteLine("operator", "createTask", 1, _create(people, judges)),
        QuoteLine("operator", "start", 1, round(_at("start", people))),
    ]
    if terms.stake:
        lines.append(QuoteLine("participant", "approve", people, people * approve))
    for function, count in (
        ("join", people),
        ("submitUpdate", people * rounds),
        ("claim", people),
        ("returnStake", people if terms.stake else 0),
    ):
        each = _at("claim, first" if function == "claim" else function, people)
        if count:
            lines.append(QuoteLine("participant", function, count, round(count * each)))
    scores, ballots = judges * rounds, votes * rounds
    lines += [
        QuoteLine("evaluator", "submitScores", scores, round(scores * _at("submitScores", people))),
        QuoteLine("evaluator", "submitAggregate", ballots, rounds * _aggregate(people, votes)),
    ]
    return lines


def _create(people: int, judges: int) -> int:
    forge = _forge()
    per_judge = (forge["createTask with 3 evaluators"] - forge["createTask"]) / 2
    return round(_at("createTask", people) + (judges - 1) * per_judge)


def _aggregate(people: int, votes: int) -> int:
    """Of one round: the last vote that makes the quorum finalises it."""
    if votes == 1:
        return round(_at("submitAggregate", people))
    forge = _forge()
    first, last = forge["submitAggregate, vote 1 of 2"], forge["submitAggregate, vote 2 of 2"]
    return (votes - 1) * first + last


def _relay_each() -> float:
    """Gas of one more update in a batch, from the two smallest measurements."""
    few, more = sorted(_measured())[:2]
    name = "submitUpdatesBySig per update"
    batch = [people * _measured()[people][name] for people in (few, more)]
    return (batch[1] - batch[0]) / (more - few)


def _relay_base() -> float:
    few = min(_measured())
    return few * (_measured()[few]["submitUpdatesBySig per update"] - _relay_each())


def _at(name: str, people: int) -> float:
    """A figure for so many participants, on the straight line through its neighbours."""
    table = _measured()
    known = sorted(table)
    upper = next((i for i, number in enumerate(known) if number >= people), len(known) - 1)
    low, high = known[max(upper - 1, 0)], known[max(upper, 1)]
    slope = (table[high][name] - table[low][name]) / (high - low)
    return table[low][name] + slope * (people - low)


@lru_cache(maxsize=1)
def _measured() -> dict[int, dict[str, int]]:
    path = settings.BASE_DIR / "contracts" / "snapshots" / "gas_report.json"
    return {int(people): figures for people, figures in json.loads(path.read_text()).items()}


@lru_cache(maxsize=1)
def _forge() -> dict[str, int]:
    path = settings.BASE_DIR / "contracts" / "snapshots" / "FLCoordinator.json"
    return {name: int(value) for name, value in json.loads(path.read_text()).items()}


# --- prices ---------------------------------------------------------------------------------


def current_price() -> int | None:
    """Wei per gas here and now: the base fee of the newest block known, and the tip that the
    newest transaction paid. Two queries; None before the first transaction."""
    chain_id = settings.NETWORKS[settings.CHAIN_NETWORK]["chain_id"]
    newest = (
        Transaction.objects.filter(network__chain_id=chain_id)
        .select_related("block")
        .only("effective_gas_price", "block__base_fee")
        .order_by("-block_number", "-index")
        .first()
    )
    if newest is None:
        return None
    base_fee = (
        Block.objects.filter(network__chain_id=chain_id)
        .order_by("-number")
        .values_list("base_fee", flat=True)
        .first()
    )
    tip = max(newest.effective_gas_price - newest.block.base_fee, 0)
    return int((base_fee or 0) + tip)


def task_quote(task: Task) -> Quote | None:
    """The quote that stands on a task; None for one that never had it."""
    return Quote.from_json(task.quote) if task.quote else None


def task_quote_now(task: Task) -> Quote:
    """What the task would cost at today's fee. Three queries."""
    return quote(QuoteTerms.of(task), gas_price=current_price())


@dataclass(frozen=True)
class PriceRow:
    """A quote at the price of one network. Fees in wei of that network's coin, money in the
    currency that the person thinks in; ``pk`` None: this chain."""

    pk: int | None
    name: str
    gas_price: int
    fee: int
    fee_relayed: int
    money: float | None
    money_relayed: float | None


def quote_record(made: Quote, user: User) -> dict[str, Any]:
    """A quote as JSON, with the same at the prices that the person remembers. One query."""
    rows = [asdict(row) for row in price_rows(made, user)]
    for row in rows:
        row.pop("pk")
        row |= {name: str(row[name]) for name in ("gas_price", "fee", "fee_relayed")}
    return {**made.as_json(), "networks": rows}


def price_rows(made: Quote, user: User) -> list[PriceRow]:
    """This chain, then the networks whose prices the person remembers. One query."""
    rows = []
    if made.gas_price is not None:
        rows.append(_price_row(made, None, f"This chain, {made.network}", made.gas_price, None))
    for row in NetworkPrice.objects.filter(user=user):
        coin = None if row.coin_price is None else float(row.coin_price)
        rows.append(_price_row(made, row.pk, row.name, row.gas_price, coin))
    return rows


def _price_row(
    made: Quote, pk: int | None, name: str, gas_price: int, coin: float | None
) -> PriceRow:
    fee, relayed = made.gas * gas_price, made.gas_relayed * gas_price
    return PriceRow(
        pk=pk,
        name=name,
        gas_price=gas_price,
        fee=fee,
        fee_relayed=relayed,
        money=None if coin is None else coin * fee / 10**18,
        money_relayed=None if coin is None else coin * relayed / 10**18,
    )
