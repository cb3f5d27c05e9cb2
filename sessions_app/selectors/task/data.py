"""The rows behind a task page, read once and shared by everything that is worked out of them.

The number of queries does not depend on the number of rounds or participants.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from statistics import median
from typing import Any

from django.db.models import Count, F, FloatField, Q, QuerySet, Sum
from django.db.models.functions import Cast
from django.utils import timezone

from chain.models import OutgoingStatus, OutgoingTransaction, Transaction
from sessions_app.models import (
    Participant,
    Reward,
    Round,
    RoundRun,
    Seat,
    Task,
    TaskEvent,
    TrainingRun,
    Update,
)
from sessions_app.selectors.chrome import ChainStatus, chain_status
from sessions_app.selectors.people.people import Names, Party, contract_parties, names_of

FEED_LENGTH = 10
# Phases that a neighbouring event of the same transaction implies; the ledger shows them all.
FEED_SKIPS = ("ScoringOpened", "AggregatingOpened", "AggregateSubmitted")


@dataclass(frozen=True)
class CallGas:
    """Gas of one kind of call: how often, in total, and what it cost in wei."""

    function: str
    count: int
    gas: int
    fee: int

    @property
    def mean(self) -> int:
        return round(self.gas / self.count) if self.count else 0


class TaskData:
    """One task as it stands, read piece by piece: what no part asks for costs nothing.

    ``seq`` is the live number it stands for: the task's own row is read first, so what comes
    later can only be newer, and the next change tells of it.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.now: datetime = timezone.now()

    @cached_property
    def seats(self) -> list[Seat]:
        return list(self.task.seats.select_related("account"))

    @cached_property
    def members(self) -> list[Participant]:
        return list(self.task.members.all())

    @cached_property
    def rounds(self) -> list[Round]:
        return list(self.task.round_set.all())

    @cached_property
    def runs(self) -> dict[int, RoundRun]:
        """By round number; without ``result``."""
        return {run.number: run for run in self.task.round_runs.defer("result")}

    @cached_property
    def epsilon(self) -> dict[int, float]:
        """By round number: the privacy spent up to it; none without noise."""
        if (self.task.config or {}).get("privacy", {}).get("name", "none") == "none":
            return {}
        spent = self.task.round_runs.filter(result__epsilon__isnull=False)
        found = spent.values_list("number", "result__epsilon")
        return {number: value for number, value in found if value is not None}

    @cached_property
    def submitted(self) -> frozenset[int]:
        """Participant ids with an update in the current round."""
        current = self.current.pk if self.current else -1
        updates = Update.objects.filter(round_id=current)
        return frozenset(updates.values_list("participant_id", flat=True))

    @cached_property
    def _training(self) -> tuple[dict[str, TrainingRun], dict[str, TrainingRun]]:
        return _training(self.task, self._last)

    @property
    def training(self) -> dict[str, TrainingRun]:
        """By address: the current round."""
        return self._training[0]

    @property
    def trained(self) -> dict[str, TrainingRun]:
        """By address: the last round that is over."""
        return self._training[1]

    @cached_property
    def metrics(self) -> dict[str, dict[str, float]]:
        """By address: the evaluator's, of the last aggregated round."""
        return _metrics(self.task)

    @cached_property
    def last_rewards(self) -> dict[int, Reward]:
        """By participant id: the last finalised round."""
        rows = Reward.objects.filter(round_id=self._last.pk if self._last else -1)
        return {reward.participant_id: reward for reward in rows}

    @cached_property
    def calls(self) -> list[CallGas]:
        return gas_by_call(self.task)

    @cached_property
    def unfinished(self) -> list[OutgoingTransaction]:
        """Queued, sent or failed."""
        return _unfinished(self.task)

    @cached_property
    def events(self) -> list[TaskEvent]:
        """Newest first."""
        shown = self.task.events.exclude(name__in=FEED_SKIPS).select_related("log")
        return list(shown.order_by("-block_number", "-log_index")[:FEED_LENGTH])

    @cached_property
    def chain(self) -> ChainStatus:
        return chain_status()

    @cached_property
    def names(self) -> Names:
        task = self.task
        known = [Party(s.account.address, s.account.label, s.account.kind) for s in self.seats]
        if task.operator_account is not None:
            account = task.operator_account
            known.append(Party(account.address, account.label, account.kind))
        addresses = {m.address for m in self.members}
        addresses |= {*task.evaluators, task.operator_address}
        missing = addresses - {party.address for party in known}
        others = names_of(missing)
        contracts = contract_parties(self.chain.chain_id)
        return Names([*known, *(others.party(a) for a in missing), *contracts])

    @property
    def _last(self) -> Round | None:
        return self.finalized[-1] if self.finalized else None

    @property
    def seq(self) -> int:
        return self.task.live_seq

    @cached_property
    def current(self) -> Round | None:
        number = self.task.current_round
        return next((r for r in reversed(self.rounds) if r.number == number), None)

    @cached_property
    def finalized(self) -> list[Round]:
        return [r for r in self.rounds if r.phase == Round.Phase.FINALIZED]

    @property
    def active(self) -> list[Participant]:
        return [m for m in self.members if m.status == Participant.Status.ACTIVE]

    @property
    def failed_calls(self) -> list[OutgoingTransaction]:
        """Failures that still stand: a later attempt of the same call takes them back."""
        return [row for row in self.unfinished if row.status == OutgoingStatus.FAILED]

    @property
    def pending_calls(self) -> list[OutgoingTransaction]:
        waiting = (OutgoingStatus.QUEUED, OutgoingStatus.SENT)
        return [row for row in self.unfinished if row.status in waiting]

    @property
    def round_seconds(self) -> float | None:
        """The median round, in seconds; None before the first one is over."""
        known = [run.seconds for run in self.runs.values() if run.seconds is not None]
        return median(known) if known else None

    @property
    def training_seconds(self) -> float | None:
        known = [run.seconds_train for run in self.runs.values() if run.seconds_train is not None]
        return median(known) if known else None

    def party(self, address: str) -> Party:
        return self.names.party(address)


def task_get(pk: int) -> Task:
    """One query. Raises Task.DoesNotExist."""
    return Task.objects.select_related("owner", "operator_account", "network").get(pk=pk)


def transactions_of(task: Task) -> QuerySet[Transaction]:
    """Mined transactions that belong to a task: those with its events, and those sent for it
    (an approval names no task)."""
    with_events = TaskEvent.objects.filter(task=task).values("log__transaction_id")
    sent = OutgoingTransaction.objects.filter(reference=task.reference).exclude(tx_hash="")
    return Transaction.objects.filter(
        Q(pk__in=with_events) | Q(network=task.network_id, hash__in=sent.values("tx_hash"))
    )


def gas_by_call(task: Task) -> list[CallGas]:
    """One query, summed by the database."""
    if task.network_id is None:
        return []
    fee = Cast(F("gas_used"), FloatField()) * F("effective_gas_price")
    rows = (
        transactions_of(task)
        .values("function")
        .annotate(count=Count("pk"), gas=Sum("gas_used"), cost=Sum(fee))
        .order_by("-gas")
    )
    return [
        CallGas(row["function"] or "other", row["count"], row["gas"], round(row["cost"]))
        for row in rows
    ]


def _training(
    task: Task, last: Round | None
) -> tuple[dict[str, TrainingRun], dict[str, TrainingRun]]:
    """Runs of the current round and of the last finished one, by address. One query."""
    numbers = {task.current_round} | ({last.number} if last else set())
    runs = TrainingRun.objects.filter(seat__task=task, round_number__in=numbers)
    current: dict[str, TrainingRun] = {}
    before: dict[str, TrainingRun] = {}
    for run in runs.select_related("seat__account"):
        address = run.seat.account.address
        if run.round_number == task.current_round:
            current[address] = run
        if last is not None and run.round_number == last.number:
            before[address] = run
    return current, before


def _metrics(task: Task) -> dict[str, dict[str, float]]:
    result: dict[str, Any] | None = (
        task.round_runs.filter(result__isnull=False)
        .order_by("-number")
        .values_list("result", flat=True)
        .first()
    )
    return dict(result.get("update_metrics", {})) if result else {}


def _unfinished(task: Task) -> list[OutgoingTransaction]:
    """Calls not confirmed; a failure counts only while no later attempt of it is under way."""
    rows = list(
        OutgoingTransaction.objects.filter(reference=task.reference)
        .exclude(status__in=(OutgoingStatus.CONFIRMED, OutgoingStatus.CANCELLED))
        .select_related("account")
        .order_by("pk")
    )
    latest = {(row.account_id, row.function, row.to): row.pk for row in rows}
    return [
        row
        for row in rows
        if row.status != OutgoingStatus.FAILED
        or latest[row.account_id, row.function, row.to] == row.pk
    ]
