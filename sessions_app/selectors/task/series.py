"""Numbers over rounds: what the charts draw, and their tables and exports show."""

from __future__ import annotations

import csv
import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import Count, F, Q, Sum

from sessions_app.formats import TOKEN_DECIMALS, exact_amount
from sessions_app.models import Participant, Reward, Round, Task, TokenBalance, TokenTransfer
from sessions_app.selectors.people.people import Party, names_of

SHOWN_PARTICIPANTS = 10  # lines in one chart; the tables and exports keep to the same ones

# Each of these events stands for exactly one transaction.
_CALL_OF_EVENT = {
    "UpdateSubmitted": "submit",
    "UpdatesRelayed": "submit",
    "ScoresSubmitted": "score",
    "AggregateSubmitted": "aggregate",
}


@dataclass(frozen=True)
class RoundPoint:
    """``block``: the one that finalised the round; ``accuracy`` in per cent; ``epsilon``: what
    the rounds so far have spent of a participant's privacy (None without noise); gas in units, by
    kind of call. In the order of ``participants``: ``earned`` (in the task so far) and ``wallet``
    (token balance at ``block``) in wei, ``share`` of the round's reward (0 to 1), ``score`` as on
    chain, ``held_out`` accuracy (per cent) and ``held_out_loss`` of each update on the
    evaluator's data."""

    round: int
    final: bool
    block: int | None
    accuracy: float | None
    loss: float | None
    seconds: float | None
    epsilon: float | None
    gas_submit: int
    gas_score: int
    gas_aggregate: int
    submits: int
    earned: Sequence[int | None]
    wallet: Sequence[int | None]
    share: Sequence[float | None]
    score: Sequence[int | None]
    held_out: Sequence[float | None]
    held_out_loss: Sequence[float | None]


# What each chart shows: (field of RoundPoint, its name in exports). Lists have a column for each
# participant.
CHARTS: dict[str, tuple[tuple[str, str], ...]] = {
    "accuracy": (
        ("accuracy", "accuracy_percent"),
        ("loss", "loss"),
        ("seconds", "seconds"),
        ("epsilon", "epsilon"),
    ),
    "gas": (
        ("gas_submit", "gas_submit"),
        ("gas_score", "gas_score"),
        ("gas_aggregate", "gas_aggregate"),
    ),
    "tokens": (("block", "block"), ("earned", "earned_flt"), ("wallet", "wallet_flt")),
    "participants": (
        ("held_out", "accuracy_percent"),
        ("held_out_loss", "loss"),
    ),
    "contribution": (("share", "reward_share"), ("score", "score")),
}
_WEI = ("earned", "wallet")


@dataclass(frozen=True)
class Series:
    seq: int
    rounds_planned: int
    created_block: int | None  # where the lines of the balances begin
    member_count: int
    participants: Sequence[Party]
    points: Sequence[RoundPoint]

    def as_json(self, chart: str = "") -> dict[str, Any]:
        """For the charts: wei as decimal numbers of FLT (the exact ones are in the CSV).
        ``chart`` keeps to the numbers of one chart."""
        kept = {"round", "final", *(name for name, _ in CHARTS[chart])} if chart else None
        points = []
        for point in self.points:
            row = {k: v for k, v in asdict(point).items() if kept is None or k in kept}
            for name in _WEI:
                if name in row:
                    row[name] = [_flt(wei) for wei in row[name]]
            points.append(row)
        return {
            "seq": self.seq,
            "rounds_planned": self.rounds_planned,
            "created_block": self.created_block,
            "member_count": self.member_count,
            "participants": [{"address": p.address, "name": p.name} for p in self.participants],
            "points": points,
        }

    def as_csv(self, chart: str = "") -> str:
        """One line a round; all charts' columns, or those of one."""
        columns = [c for name in ([chart] if chart else CHARTS) for c in CHARTS[name]]
        names = [csv_text(p.name) for p in self.participants]
        header = ["round", "final"]
        for field, label in columns:
            many = self._is_list(field)
            header += [f"{label} {name}" for name in names] if many else [label]
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(header)
        for point in self.points:
            cells: list[Any] = [point.round, int(point.final)]
            for field, _ in columns:
                value = getattr(point, field)
                values = value if self._is_list(field) else [value]
                cells += [_cell(v, wei=field in _WEI) for v in values]
            writer.writerow(cells)
        return out.getvalue()

    @staticmethod
    def _is_list(field: str) -> bool:
        return field in LISTS


LISTS = ("earned", "wallet", "share", "score", "held_out", "held_out_loss")


def _cell(value: Any, *, wei: bool) -> Any:
    if value is None:
        return ""
    return exact_amount(value) if wei else value


def csv_text(value: str) -> str:
    """A text cell that a spreadsheet does not run as a formula."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def task_series(task: Task, since_round: int = 0) -> Series:
    """Rounds from ``since_round`` on. Nine queries, whatever the numbers."""
    members = list(task.members.order_by("index")[:SHOWN_PARTICIPANTS])
    names = names_of(m.address for m in members)
    rounds = list(task.round_set.filter(number__gte=since_round))
    ran = task.round_runs.filter(number__gte=since_round).defer("result")
    runs = {run.number: run for run in ran.annotate(epsilon=F("result__epsilon"))}
    gas = _gas(task, since_round)
    rewards = _rewards(task, members, since_round)
    totals = _totals(task, since_round)
    metrics = _metrics(task, since_round)
    wallets = _wallets(task, members, rounds)
    points = []
    for round_ in rounds:
        run = runs.get(round_.number)
        final = round_.phase == Round.Phase.FINALIZED
        calls = gas.get(round_.number, {})
        ppm = round_.accuracy_ppm
        paid = [rewards.get((round_.number, m.pk)) for m in members]
        total = totals.get(round_.number, 0)
        found = [metrics.get(round_.number, {}).get(m.address, {}) for m in members]
        points.append(
            RoundPoint(
                round=round_.number,
                final=final,
                block=round_.finalized_block,
                accuracy=ppm / 10_000 if ppm is not None else None,
                loss=run.loss if run and final else None,
                seconds=run.seconds if run else None,
                epsilon=run.epsilon if run else None,
                gas_submit=calls.get("submit", (0, 0))[0],
                gas_score=calls.get("score", (0, 0))[0],
                gas_aggregate=calls.get("aggregate", (0, 0))[0],
                submits=calls.get("submit", (0, 0))[1],
                earned=[r.cumulative if r else None for r in paid],
                wallet=wallets.get(round_.number, [None] * len(members)),
                share=[round(r.amount / total, 6) if r and total else None for r in paid],
                score=[r.score if r else None for r in paid],
                held_out=[_per_cent(f.get("accuracy")) for f in found],
                held_out_loss=[f.get("loss") for f in found],
            )
        )
    return Series(
        seq=task.live_seq,
        rounds_planned=task.rounds,
        created_block=task.created_block,
        member_count=task.members.count() if len(members) == SHOWN_PARTICIPANTS else len(members),
        participants=[names.party(m.address) for m in members],
        points=points,
    )


def _flt(wei: int | None) -> float | None:
    return None if wei is None else round(wei / 10**TOKEN_DECIMALS, 6)


def _gas(task: Task, since_round: int) -> dict[int, dict[str, tuple[int, int]]]:
    """Round → kind of call → (gas, transactions)."""
    rows = (
        task.events.filter(round_number__gte=since_round, name__in=_CALL_OF_EVENT)
        .values("round_number", "name")
        .annotate(gas=Sum("log__transaction__gas_used"), number=Count("pk"))
    )
    gas: dict[int, dict[str, tuple[int, int]]] = {}
    for row in rows.order_by():
        assert row["round_number"] is not None  # filtered by it
        calls = gas.setdefault(row["round_number"], {})
        kind = _CALL_OF_EVENT[row["name"]]
        before = calls.get(kind, (0, 0))
        calls[kind] = (before[0] + row["gas"], before[1] + row["number"])
    return gas


def _per_cent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 4)


def _rewards(
    task: Task, members: Sequence[Participant], since_round: int
) -> dict[tuple[int, int], Reward]:
    rows = Reward.objects.filter(
        round__task=task, round__number__gte=since_round, participant__in=members
    ).select_related("round")
    return {(row.round.number, row.participant_id): row for row in rows}


def _totals(task: Task, since_round: int) -> dict[int, int]:
    """Round → wei credited in it, to everybody and not to the shown ones alone."""
    rounds = task.round_set.filter(number__gte=since_round, phase=Round.Phase.FINALIZED)
    return dict(rounds.values_list("number", "reward"))


def _metrics(task: Task, since_round: int) -> dict[int, dict[str, dict[str, float]]]:
    """Round → address → what the evaluator measured of the update."""
    rows = task.round_runs.filter(number__gte=since_round, result__isnull=False)
    return {
        number: metrics or {}
        for number, metrics in rows.values_list("number", "result__update_metrics")
    }


def _wallets(
    task: Task, members: Sequence[Participant], rounds: Sequence[Round]
) -> dict[int, list[int | None]]:
    """Token balances when each finished round ended: today's, minus what came after."""
    ends = [(r.number, r.finalized_block) for r in rounds if r.finalized_block is not None]
    if not ends or not members:
        return {}
    addresses = [m.address for m in members]
    balance = dict(
        TokenBalance.objects.filter(network=task.network_id, address__in=addresses).values_list(
            "address", "balance"
        )
    )
    later = TokenTransfer.objects.filter(
        Q(sender__in=addresses) | Q(recipient__in=addresses),
        network=task.network_id,
        block_number__gt=ends[0][1],
    )
    blocks = [block for _, block in ends]
    # change[a][i]: what address a gained in transfers after end i and up to end i + 1
    change = {address: [0] * len(ends) for address in addresses}
    for sender, recipient, amount, block in later.values_list(
        "sender", "recipient", "amount", "block_number"
    ):
        at = bisect_right(blocks, block - 1) - 1  # the last end before this block
        if sender in change:
            change[sender][at] -= amount
        if recipient in change:
            change[recipient][at] += amount
    held = [balance.get(address, 0) for address in addresses]
    wallets: dict[int, list[int | None]] = {}
    for at in range(len(ends) - 1, -1, -1):
        held = [now - change[address][at] for now, address in zip(held, addresses, strict=True)]
        wallets[ends[at][0]] = [*held]
    return wallets
