"""Participants over all tasks, why somebody earned what they earned, and calls for a wallet."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from eth_utils.address import is_address, to_checksum_address
from ninja import Field, Path, Query, Schema

from sessions_app.api.base import (
    LARGEST,
    PAGE,
    Address,
    Hash,
    Key,
    Page,
    Wei,
    area,
    not_found,
    user_of,
)
from sessions_app.api.problems import ApiError
from sessions_app.models import Task
from sessions_app.selectors.ledger import BadQuery
from sessions_app.selectors.people.participants import (
    Chosen,
    Person,
    participant_list,
    participant_one,
)
from sessions_app.selectors.people.profile import Seat, seats_of
from sessions_app.selectors.people.why import Line, NoReward, chain_root, check_data, why
from sessions_app.selectors.task.data import task_get
from sessions_app.services import wallet_calls

router = area("Participants")
tasks_router = area("Participants")


class PersonOut(Schema):
    address: Address
    name: str
    tasks: int
    rounds: int = Field(description="Updates submitted.")
    contribution_ppm: int | None = Field(
        description="Mean share of the reward over its finalised rounds, in parts per million."
    )
    earned: Wei
    claimed: Wei
    stake: Wei = Field(description="Held by the contract now.")
    left: int
    slashed: int
    last_seen_block: int


class SeatOut(Schema):
    task_id: int
    title: str
    phase: str
    status: str
    updates: int
    contribution: float | None = Field(description="Mean share of the reward, 0 to 1.")
    earned: Wei
    claimed: Wei
    stake: Wei
    joined_tx: Hash


class ProfileOut(PersonOut):
    memberships: list[SeatOut]


class PeopleQuery(Schema):
    limit: int = Field(PAGE, ge=1, le=LARGEST)
    cursor: str = Field("", max_length=200)
    sort: Literal["earned", "tasks", "rounds", "contribution", "seen"] = "earned"
    order: Literal["desc", "asc"] = "desc"
    q: str = Field("", max_length=80, description="Part of a name or an address.")
    state: Literal["", "active", "left", "slashed"] = ""
    task_id: int | None = Field(None, ge=1, le=2**53)


class LineOut(Schema):
    address: Address
    name: str
    index: int = Field(description="The member's index in the contract.")
    scores: list[int] = Field(description="One for each evaluator, in their order.")
    score: int = Field(description="The lower median.")
    samples: int | None = Field(description="null: no update.")
    weight: int | None
    remainder: Wei | None = Field(description="Rest of reward × weight ÷ all weights.")
    extra: int | None = Field(description="1: got one of the wei that rounding left over.")
    amount: Wei
    cumulative: Wei


class ProofOut(Schema):
    leaf: Hash
    proof: list[str]
    root: Hash


class WhyOut(Schema):
    task_id: int
    onchain_id: int
    round: int
    mode: Literal["equal", "samples", "score"]
    reward: Wei = Field(description="What the round paid in all.")
    credited: bool = Field(description="Whether the root on chain holds these amounts.")
    address: Address
    amount: Wei
    before: Wei
    cumulative: Wei
    evaluators: list[Address]
    division: list[LineOut]
    proof: ProofOut


class RootOut(Schema):
    root: Hash
    how: str
    block: int | None


class PermitIn(Schema):
    deadline: int = Field(ge=0, le=2**53)
    signature: str = Field(max_length=200, pattern=r"^0x[0-9a-fA-F]*$")


class CallIn(Schema):
    action: Literal["approve", "join", "joinWithPermit", "leave", "claim", "returnStake"]
    address: Address = Field(description="The account that will sign and pay the gas.")
    member: Address = Field("", description="Whom a claim or a stake is for; empty: `address`.")
    samples_cap: int | None = Field(None, ge=1, le=2**32 - 1)
    permit: PermitIn | None = None


class ArgumentOut(Schema):
    name: str
    type: str
    text: str = Field(description="With its unit.")
    exact: str


class WalletCallOut(Schema):
    title: str
    contract: str
    function: str
    to: Address
    data: str
    chain_id: int
    arguments: list[ArgumentOut]
    gas: int | None
    fee: Wei | None
    refused: str = Field(description="Why the contract would refuse it now; empty: it passes.")


@router.get("", response=Page[PersonOut], summary="Everyone who ever joined a task")
def participants_list(request: HttpRequest, query: Query[PeopleQuery]) -> dict[str, Any]:
    user_of(request)
    chosen = Chosen(query.sort, query.order == "desc", query.q.strip(), query.state, query.task_id)
    try:
        found = participant_list(chosen, after=query.cursor, size=query.limit)
    except BadQuery as error:
        raise ApiError(422, "invalid", str(error)) from error
    return {"items": [_person(row) for row in found.rows], "next": found.following or None}


@router.get("/{address}", response=ProfileOut, summary="One participant, over all tasks")
def participants_get(request: HttpRequest, address: Path[Address]) -> dict[str, Any]:
    user_of(request)
    value = _checksum(address)
    person = participant_one(value)
    if person is None:
        raise not_found(f"{value} has not joined a task on this chain.")
    return {**_person(person), "memberships": [_seat(seat) for seat in seats_of([value])]}


@tasks_router.get(
    "/{task_id}/rounds/{number}/rewards/{address}",
    response=WhyOut,
    summary="Why somebody earned what they earned",
)
def reward_why(
    request: HttpRequest, task_id: Key, number: Key, address: Path[Address]
) -> dict[str, Any]:
    """Scores, division, and the proof from the leaf to the round's root."""
    user_of(request)
    found = _why(task_id, number, address)
    data = check_data(found)
    return {
        "task_id": found.task.pk,
        "onchain_id": found.task.onchain_id,
        "round": found.round.number,
        "mode": found.mode,
        "reward": str(found.round.reward),
        "credited": found.credited,
        "address": found.party.address,
        "amount": data["amount"],
        "before": data["before"],
        "cumulative": data["cumulative"],
        "evaluators": [evaluator.party.address for evaluator in found.evaluators],
        "division": [_line(line) for line in found.lines],
        "proof": {"leaf": data["leaf"], "proof": data["proof"], "root": data["root"]},
    }


@tasks_router.get(
    "/{task_id}/rounds/{number}/rewards/{address}/root",
    response=RootOut,
    summary="The root on chain, asked of the node now",
)
def reward_root(
    request: HttpRequest, task_id: Key, number: Key, address: Path[Address]
) -> dict[str, Any]:
    user_of(request)
    root = chain_root(_why(task_id, number, address))
    return {"root": root.root, "how": root.how, "block": root.block}


@tasks_router.post(
    "/{task_id}/calls", response=WalletCallOut, summary="Calldata for a wallet, tried first"
)
def wallet_call(request: HttpRequest, task_id: Key, body: CallIn) -> dict[str, Any]:
    """Nothing is sent: sign and send `data` to `to` yourself, with a key that stays yours."""
    user_of(request)
    try:
        task = task_get(task_id)
    except Task.DoesNotExist as error:
        raise not_found(f"There is no task {task_id}.") from error
    call = wallet_calls.prepare(
        action=body.action,
        task=task,
        address=_checksum(body.address),
        options=wallet_calls.Options(
            samples_cap=body.samples_cap,
            member=_checksum(body.member) if body.member else "",
            permit=body.permit.dict() if body.permit else None,
        ),
    )
    return {
        "title": call.title,
        "contract": call.contract,
        "function": call.function,
        "to": call.to,
        "data": call.data,
        "chain_id": call.chain_id,
        "arguments": [
            {"name": row.name, "type": row.type, "text": row.text, "exact": row.exact}
            for row in call.arguments
        ],
        "gas": call.gas,
        "fee": None if call.fee is None else str(call.fee),
        "refused": call.refused,
    }


def _why(task_id: int, number: int, address: str) -> Any:
    try:
        return why(task_id, number, _checksum(address))
    except NoReward as error:
        raise not_found(str(error)) from error


def _checksum(address: str) -> str:
    if not is_address(address):
        raise not_found(f"“{address}” is not an Ethereum address (0x and 40 hex digits).")
    return str(to_checksum_address(address))


def _person(row: Person) -> dict[str, Any]:
    return {
        "address": row.party.address,
        "name": row.party.name,
        "tasks": row.tasks,
        "rounds": row.rounds,
        "contribution_ppm": row.contribution_ppm,
        "earned": str(row.earned),
        "claimed": str(row.claimed),
        "stake": str(row.stake),
        "left": row.left,
        "slashed": row.slashed,
        "last_seen_block": row.seen_block,
    }


def _seat(seat: Seat) -> dict[str, Any]:
    return {
        "task_id": seat.task.pk,
        "title": seat.task.title,
        "phase": seat.task.phase,
        "status": seat.status.lower(),
        "updates": seat.updates,
        "contribution": seat.contribution,
        "earned": str(seat.earned),
        "claimed": str(seat.claimed),
        "stake": str(seat.stake_held),
        "joined_tx": seat.joined_tx,
    }


def _line(line: Line) -> dict[str, Any]:
    share = line.share
    return {
        "address": line.party.address,
        "name": line.party.name,
        "index": line.index,
        "scores": list(line.scores),
        "score": line.score,
        "samples": line.samples,
        "weight": share.weight if share else None,
        "remainder": str(share.remainder) if share else None,
        "extra": share.extra if share else None,
        "amount": str(line.amount),
        "cumulative": str(line.cumulative),
    }
