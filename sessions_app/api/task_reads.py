"""What there is to read about one task: participants, rounds, rewards with proofs, numbers."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from eth_utils.address import is_address, to_checksum_address
from ninja import Path, Schema

from chain.merkle import leaf, reward_proof
from sessions_app.api.base import Address, Key, Page, PageIn, area, not_found, read_key, user_of
from sessions_app.api.task_shapes import (
    ParticipantOut,
    PartyOut,
    RewardOut,
    RoundDetail,
    RoundOut,
    participant_out,
    round_out,
    wei,
)
from sessions_app.api.tasks import find_task
from sessions_app.models import Participant, Reward, Round, ScoreSheet, Task
from sessions_app.selectors.people.people import names_of
from sessions_app.selectors.task.config import task_config
from sessions_app.selectors.task.data import TaskData
from sessions_app.selectors.task.page import TaskPage
from sessions_app.selectors.task.series import task_series
from sessions_app.selectors.wizard.quote import task_quote_now

router = area("Tasks")
ROUNDS_AT_ONCE = 1_000


class PointOut(Schema):
    round: int
    final: bool
    block: int | None  # that finalised the round
    accuracy: float | None
    loss: float | None
    seconds: float | None
    gas_submit: int
    gas_score: int
    gas_aggregate: int
    earned: list[str | None]
    wallet: list[str | None]


class SeriesOut(Schema):
    """`earned` and `wallet` in wei, in the order of `participants`."""

    live_seq: int
    rounds_planned: int
    participants: list[PartyOut]
    points: list[PointOut]


@router.get("/{task_id}/config", response=dict[str, Any], summary="The configuration's very bytes")
def task_config_bytes(request: HttpRequest, task_id: Key) -> HttpResponse:
    """Canonical JSON: the keccak256 of these bytes is `config_hash` on chain."""
    user_of(request)
    config = task_config(find_task(task_id))
    if config is None:
        raise not_found(
            f"Task {task_id} was created by another client; its configuration is not stored here."
        )
    answer = HttpResponse(config.canonical_bytes(), content_type="application/json")
    answer["X-Config-Hash"] = config.hash()
    return answer


@router.get("/{task_id}/participants", response=Page[ParticipantOut], summary="Who takes part")
def task_participants(request: HttpRequest, task_id: Key, page: PageIn) -> dict[str, Any]:
    """In the order of joining, then hosted seats that have not joined yet."""
    data = TaskData(find_task(task_id))
    hosted = {seat.account.address for seat in data.seats}
    rows = TaskPage(data, user_of(request)).participants
    start = read_key(page.cursor) or 0
    chosen = list(enumerate(rows))[start : start + page.limit]
    end = start + len(chosen)
    return {
        "items": [participant_out(row, at, row.party.address in hosted) for at, row in chosen],
        "next": str(end) if end < len(rows) else None,
    }


@router.get("/{task_id}/rounds", response=Page[RoundOut], summary="Rounds, newest first")
def task_rounds(request: HttpRequest, task_id: Key, page: PageIn) -> dict[str, Any]:
    """With the time each part of them took."""
    user_of(request)
    task = find_task(task_id)
    rounds = task.round_set.order_by("-number")
    before = read_key(page.cursor)
    if before is not None:
        rounds = rounds.filter(number__lt=before)
    found = list(rounds[: page.limit + 1])
    more, found = len(found) > page.limit, found[: page.limit]
    numbers = [round_.number for round_ in found]
    runs = {r.number: r for r in task.round_runs.filter(number__in=numbers).defer("result")}
    return {
        "items": [round_out(round_, runs.get(round_.number)) for round_ in found],
        "next": str(found[-1].number) if more else None,
    }


@router.get("/{task_id}/rounds/{number}", response=RoundDetail, summary="One round")
def task_round(request: HttpRequest, task_id: Key, number: Key) -> dict[str, Any]:
    """Its updates, the evaluators' scores, and who earned what."""
    user_of(request)
    task = find_task(task_id)
    round_ = task.round_set.filter(number=number).first()
    if round_ is None:
        raise not_found(f"Task {task_id} has no round {number}; it has had {task.current_round}.")
    run = task.round_runs.filter(number=number).defer("result").first()
    updates = list(round_.updates.select_related("participant").order_by("participant__index"))
    rewards = list(
        Reward.objects.filter(round=round_)
        .select_related("participant")
        .order_by("participant__index")
    )
    names = names_of(
        {row.participant.address for row in updates} | {row.participant.address for row in rewards}
    )
    return {
        **round_out(round_, run),
        "updates": [
            {
                "address": row.participant.address,
                "name": names.name(row.participant.address),
                "update_hash": row.update_hash,
                "samples": row.samples,
                "tx_hash": row.tx_hash,
                "block": row.block_number,
            }
            for row in updates
        ],
        "score_sheets": list(ScoreSheet.objects.filter(round=round_).order_by("pk")),
        "rewards": [
            {
                "address": row.participant.address,
                "name": names.name(row.participant.address),
                "score": row.score,
                "amount": wei(row.amount),
                "cumulative": wei(row.cumulative),
            }
            for row in rewards
        ],
    }


@router.get("/{task_id}/series", response=SeriesOut, summary="Numbers over rounds")
def task_numbers(request: HttpRequest, task_id: Key, since_round: int = 0) -> dict[str, Any]:
    """What the charts draw: accuracy in per cent, loss, gas, tokens of the first ten."""
    user_of(request)
    since = max(0, min(since_round, 2**31))
    series = task_series(find_task(task_id), since)
    return {
        "live_seq": series.seq,
        "rounds_planned": series.rounds_planned,
        "participants": list(series.participants),
        "points": [
            {
                **{name: getattr(p, name) for name in PointOut.model_fields},
                "earned": [None if v is None else str(v) for v in p.earned],
                "wallet": [None if v is None else str(v) for v in p.wallet],
            }
            for p in series.points
        ],
    }


@router.get("/{task_id}/quote", response=dict[str, Any], summary="What it will cost")
def task_quote(request: HttpRequest, task_id: Key) -> dict[str, Any]:
    """Gas by call from measured figures, at today's fee on this chain."""
    user_of(request)
    return task_quote_now(find_task(task_id)).as_json()


@router.get("/{task_id}/rewards", response=Page[RewardOut], summary="Who earned what, with proofs")
def task_rewards(request: HttpRequest, task_id: Key, page: PageIn) -> dict[str, Any]:
    """In the order of joining; those who earned nothing yet have an empty proof."""
    user_of(request)
    task = find_task(task_id)
    members = list(task.members.order_by("index"))
    start = read_key(page.cursor) or 0
    chosen = members[start : start + page.limit]
    end = start + len(chosen)
    return {
        "items": _rewards(task, members, chosen),
        "next": str(end) if end < len(members) else None,
    }


@router.get("/{task_id}/rewards/{address}", response=RewardOut, summary="One address's rewards")
def task_reward(request: HttpRequest, task_id: Key, address: Path[Address]) -> dict[str, Any]:
    """Send `claim(onchain_id, address, earned, proof)` to the coordinator to be paid."""
    user_of(request)
    task = find_task(task_id)
    if not is_address(address):
        raise not_found(f"“{address}” is not an Ethereum address (0x and 40 hex digits).")
    address = to_checksum_address(address)
    members = list(task.members.order_by("index"))
    chosen = [member for member in members if member.address == address]
    if not chosen:
        raise not_found(f"{address} is not a participant of task {task_id}.")
    return _rewards(task, members, chosen)[0]


def _rewards(
    task: Task, members: list[Participant], chosen: list[Participant]
) -> list[dict[str, Any]]:
    """Three queries."""
    cumulative = {member.address: member.earned for member in members}
    last = task.round_set.filter(phase=Round.Phase.FINALIZED).order_by("-number").first()
    names = names_of(member.address for member in chosen)
    rounds: dict[int, list[dict[str, Any]]] = {member.pk: [] for member in chosen}
    rows = Reward.objects.filter(participant__in=chosen).order_by("round__number")
    for pk, number, score, amount, total in rows.values_list(
        "participant_id", "round__number", "score", "amount", "cumulative"
    ):
        line = {"round": number, "score": score, "amount": wei(amount), "cumulative": wei(total)}
        rounds[pk].append(line)
    onchain = task.onchain_id or 0
    return [
        {
            "task": task.pk,
            "onchain_id": onchain,
            "address": member.address,
            "name": names.name(member.address),
            "earned": wei(member.earned),
            "claimed": wei(member.claimed),
            "claimable": wei(max(member.earned - member.claimed, 0)),
            "reward_root": last.reward_root if last else "",
            "leaf": "0x" + leaf(onchain, member.address, member.earned).hex(),
            "proof": reward_proof(onchain, cumulative, member.address) if member.earned else [],
            "rounds": rounds[member.pk][-ROUNDS_AT_ONCE:],
        }
        for member in chosen
    ]
