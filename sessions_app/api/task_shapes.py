"""How tasks and their parts look in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from ninja import Field, Schema

from chain.models import OutgoingTransaction
from sessions_app.api.base import Address, Hash, Wei
from sessions_app.models import Round, Task, User
from sessions_app.selectors.task.config import config_labels, task_config
from sessions_app.selectors.task.data import TaskData
from sessions_app.selectors.task.page import ParticipantRow, Pill, TaskPage
from sessions_app.selectors.tasks import TaskRow

# What a task may be in, whichever of its two machines says so.
State = Literal[
    "draft",
    "preparing",
    "funding",
    "failed",
    "on chain",
    "open",
    "running",
    "completed",
    "cancelled",
]
Config = dict[str, Any]


class PartyOut(Schema):
    address: Address
    name: str = Field(description="Its name here, or the short address.")


class TaskSummary(Schema):
    id: int
    title: str
    state: str = Field(
        description="draft, preparing, funding, failed, on chain, open, running, completed or "
        "cancelled; and what later versions add."
    )
    labels: list[str] = Field(description="Algorithm, model, data set.")
    owner: str
    mine: bool
    rounds: int
    rounds_done: int
    accuracy: float | None = Field(description="Of the global model on held-out data, 0 to 1.")
    participants: int
    max_participants: int
    pool: Wei
    allocated: Wei = Field(description="Of the pool, credited to finalised rounds.")
    created_at: datetime


class FaultOut(Schema):
    title: str
    cause: str
    next_step: str
    tx_hash: Hash


class CallGasOut(Schema):
    function: str
    count: int
    gas: int
    fee: Wei


class TaskOut(TaskSummary):
    live_seq: int = Field(description="Grows with every change that a page may show.")
    now: str = Field(description="Where the task is and what it waits for, in one sentence.")
    faults: list[FaultOut]
    may: list[str] = Field(description="What the caller may do now: launch, change, cancel, …")
    claimable: list[Address] = Field(description="Whose rewards the caller may claim now.")
    chain_id: int | None
    onchain_id: int | None
    created_tx: Hash
    operator: Address
    config: Config | None = Field(description="null for a task of another client.")
    config_hash: Hash = Field(description="keccak256 of GET …/config.")
    config_matches_chain: bool | None
    model_hash: Hash = Field(description="The global model now: its bytes' keccak256.")
    current_round: int
    stake: Wei
    min_participants: int
    hosted_places: int = Field(description="Seats that the console trains for.")
    open_places: int = Field(description="Seats for wallets and agents.")
    evaluators: list[Address]
    quorum: int
    reward_mode: str
    join_seconds: int
    update_seconds: int
    score_seconds: int
    aggregate_seconds: int
    gas: int
    calls: list[CallGasOut]
    earned: Wei
    claimed: Wei


class ParticipantOut(PartyOut):
    index: int
    status: str
    note: str
    hosted: bool
    samples: int | None
    accuracy: float | None = Field(description="Of its last update on held-out data, 0 to 1.")
    local_accuracy: float | None
    share: float | None = Field(description="Of the last round's reward, 0 to 1.")
    earned: Wei
    claimed: Wei
    stake: Wei
    joined_tx: Hash


class UpdateOut(PartyOut):
    update_hash: Hash
    samples: int
    tx_hash: Hash
    block: int


class ScoresOut(Schema):
    evaluator: Address
    scores: list[int] = Field(description="In the order of the participants' index.")
    tx_hash: Hash


class RewardLineOut(PartyOut):
    score: int
    amount: Wei
    cumulative: Wei


class RoundOut(Schema):
    number: int
    phase: Literal["updates", "scoring", "aggregating", "finalized"]
    accuracy: float | None
    loss: float | None
    reward: Wei
    base_model_hash: Hash
    model_hash: Hash
    reward_root: Hash
    rewards_match: bool | None = Field(description="Recomputed rewards have the root on chain.")
    opened_at: datetime
    opened_tx: Hash
    finalized_at: datetime | None
    finalized_tx: Hash
    update_deadline: datetime
    phase_deadline: datetime
    seconds: float | None
    seconds_train: float | None
    seconds_score: float | None
    seconds_aggregate: float | None
    seconds_chain: float | None


class RoundDetail(RoundOut):
    updates: list[UpdateOut]
    score_sheets: list[ScoresOut]
    rewards: list[RewardLineOut]


class EarnedRound(Schema):
    round: int
    score: int
    amount: Wei
    cumulative: Wei


class RewardOut(PartyOut):
    """What an address earned, and the proof that the contract's `claim` takes."""

    task: int
    onchain_id: int
    earned: Wei
    claimed: Wei
    claimable: Wei
    reward_root: Hash = Field(description="On chain, of the last finalised round.")
    leaf: Hash = Field(description="keccak256(keccak256(abi.encode(taskId, address, earned))).")
    proof: list[Hash]
    rounds: list[EarnedRound]


class CallOut(Schema):
    """A transaction on its way: read it again under /ledger/outbox/{id}."""

    id: int
    function: str
    sender: Address
    status: Literal["queued", "sent", "confirmed", "failed", "cancelled"]
    tx_hash: Hash
    error: str


class CancelOut(Schema):
    deleted: bool = Field(description="It was a draft and is gone.")
    call: CallOut | None


class ClaimOut(Schema):
    calls: list[CallOut]


def wei(amount: int | None) -> str:
    return str(amount or 0)


def moment(unix: int | None) -> datetime | None:
    return None if unix is None else datetime.fromtimestamp(unix, UTC)


def share(ppm: int | None) -> float | None:
    return None if ppm is None else ppm / 1_000_000


def summary_of_row(row: TaskRow) -> dict[str, Any]:
    return {
        "id": row.pk,
        "title": row.title,
        "state": _state(row.pill),
        "labels": row.labels.split(" · "),
        "owner": row.owner,
        "mine": row.mine,
        "rounds": row.rounds,
        "rounds_done": row.rounds_done,
        "accuracy": share(row.accuracy_ppm),
        "participants": row.members,
        "max_participants": row.max_members,
        "pool": wei(row.pool),
        "allocated": wei(row.allocated),
        "created_at": row.created_at,
    }


def task_out(page: TaskPage, data: TaskData, viewer: User) -> dict[str, Any]:
    task = data.task
    config = task_config(task)
    actions = page.actions
    may = {
        "launch": actions.start,
        "change": actions.edit,
        "cancel": actions.cancel or actions.delete,
        "clone": actions.clone,
        "claim": bool(actions.claim),
    }
    return {
        "id": task.pk,
        "title": task.title,
        "state": _state(page.head.pill),
        "labels": config_labels(config) if config else ["Another client's task"],
        "owner": task.owner.short_name if task.owner else "another client",
        "mine": task.owner_id == viewer.pk,
        "rounds": task.rounds,
        "rounds_done": len(data.finalized),
        "accuracy": share(page.kpis.accuracy_ppm),
        "participants": len(data.members),
        "max_participants": task.max_participants,
        "pool": wei(task.pool_funded or task.pool),
        "allocated": wei(task.pool_allocated),
        "created_at": task.created_at,
        "live_seq": page.seq,
        "now": f"{page.now.lead} {page.now.text}".strip(),
        "faults": [
            {name: getattr(f, name) for name in ("title", "cause", "next_step", "tx_hash")}
            for f in page.faults
        ],
        "may": [name for name, allowed in may.items() if allowed],
        "claimable": list(actions.claim),
        "chain_id": task.network.chain_id if task.network else None,
        "onchain_id": task.onchain_id,
        "created_tx": task.created_tx,
        "operator": page.head.operator.address if page.head.operator else "",
        "config": config.to_dict() if config else None,
        "config_hash": task.config_hash,
        "config_matches_chain": page.head.config_matches,
        "model_hash": task.model_hash or task.initial_model_hash,
        "current_round": task.current_round,
        "stake": wei(task.stake),
        "min_participants": task.min_participants,
        "hosted_places": task.hosted_places,
        "open_places": task.open_places,
        "evaluators": task.evaluators or _planned_evaluators(task),
        "quorum": task.quorum,
        "reward_mode": task.reward_mode,
        "join_seconds": task.join_seconds,
        "update_seconds": task.update_seconds,
        "score_seconds": task.score_seconds,
        "aggregate_seconds": task.aggregate_seconds,
        "gas": page.kpis.gas,
        "calls": [
            {"function": c.function, "count": c.count, "gas": c.gas, "fee": wei(c.fee)}
            for c in data.calls
        ],
        "earned": wei(page.kpis.earned),
        "claimed": wei(page.kpis.claimed),
    }


def participant_out(row: ParticipantRow, index: int, hosted: bool) -> dict[str, Any]:
    return {
        "address": row.party.address,
        "name": row.party.name,
        "index": index,
        "status": row.pill.label.lower(),
        "note": row.status_note,
        "hosted": hosted,
        "samples": row.samples,
        "accuracy": row.accuracy,
        "local_accuracy": row.local_accuracy,
        "share": row.contribution,
        "earned": wei(row.earned),
        "claimed": wei(row.claimed),
        "stake": wei(row.stake),
        "joined_tx": row.joined_tx,
    }


def round_out(round_: Round, run: Any) -> dict[str, Any]:
    """`run`: the RoundRun of the same number, or None."""
    final = round_.phase == Round.Phase.FINALIZED
    names = ("seconds", "seconds_train", "seconds_score", "seconds_aggregate", "seconds_chain")
    return {
        "number": round_.number,
        "phase": round_.phase,
        "accuracy": share(round_.accuracy_ppm),
        "loss": run.loss if run and final else None,
        "reward": wei(round_.reward),
        "base_model_hash": round_.base_model_hash,
        "model_hash": round_.model_hash,
        "reward_root": round_.reward_root,
        "rewards_match": round_.rewards_match,
        "opened_at": moment(round_.opened_time),
        "opened_tx": round_.opened_tx,
        "finalized_at": moment(round_.finalized_time),
        "finalized_tx": round_.finalized_tx,
        "update_deadline": moment(round_.update_deadline),
        "phase_deadline": moment(round_.phase_deadline),
        **{name: getattr(run, name) if run else None for name in names},
    }


def call_out(row: OutgoingTransaction) -> dict[str, Any]:
    return {
        "id": row.pk,
        "function": row.function,
        "sender": row.account.address,
        "status": row.status,
        "tx_hash": row.tx_hash,
        "error": row.error,
    }


def _state(pill: Pill) -> str:
    return pill.label.lower()


def _planned_evaluators(task: Task) -> Sequence[str]:
    """Of a task that is not on chain yet."""
    hosted = task.evaluator_accounts.order_by("pk").values_list("address", flat=True)
    return [*hosted, *task.outside_evaluators]
