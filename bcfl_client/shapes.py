"""What the client returns. Sums of money are whole numbers of wei: 1 FLT = 10**18 wei."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

FLT = 10**18


@dataclass(frozen=True)
class Wallet:
    address: str
    label: str
    verified_at: datetime


@dataclass(frozen=True)
class Me:
    username: str
    name: str
    role: str  # operator, participant or admin
    hosted_address: str  # of the account the console signs with; or empty
    wallets: tuple[Wallet, ...]
    signed_in_by: str  # session, token or wallet
    scope: str  # read or write


@dataclass(frozen=True)
class Token:
    """`token` is the text itself, there only when it was just made."""

    id: int
    name: str
    prefix: str
    scope: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    token: str = ""


@dataclass(frozen=True)
class Follower:
    state: str
    label: str
    message: str
    block: int
    head: int


@dataclass(frozen=True)
class Network:
    """Compare `chain_id` and `genesis_hash` with your own node's before you sign anything."""

    chain_id: int
    name: str
    genesis_hash: str
    development: bool
    coordinator: str
    token: str
    token_symbol: str
    token_decimals: int
    deployed_block: int | None
    follower: Follower


@dataclass(frozen=True)
class Task:
    """`accuracy` of the global model on held-out data, 0 to 1."""

    id: int
    title: str
    state: str  # draft, preparing, funding, failed, open, running, completed or cancelled
    labels: tuple[str, ...]
    owner: str
    mine: bool
    rounds: int
    rounds_done: int
    accuracy: float | None
    participants: int
    max_participants: int
    pool: int
    allocated: int
    created_at: datetime

    @property
    def ended(self) -> bool:
        return self.state in ("completed", "cancelled", "failed")


@dataclass(frozen=True)
class Fault:
    title: str
    cause: str
    next_step: str
    tx_hash: str


@dataclass(frozen=True)
class TaskDetail(Task):
    """`now` says where the task is and what it waits for; `may` what the caller may do."""

    live_seq: int
    now: str
    faults: tuple[Fault, ...]
    may: tuple[str, ...]
    claimable: tuple[str, ...]
    chain_id: int | None
    onchain_id: int | None
    created_tx: str
    operator: str
    config: Any
    config_hash: str
    config_matches_chain: bool | None
    model_hash: str
    current_round: int
    stake: int
    min_participants: int
    hosted_places: int
    open_places: int
    evaluators: tuple[str, ...]
    quorum: int
    reward_mode: str
    gas: int
    earned: int
    claimed: int


@dataclass(frozen=True)
class Participant:
    address: str
    name: str
    index: int
    status: str
    note: str
    hosted: bool
    samples: int | None
    accuracy: float | None
    local_accuracy: float | None
    share: float | None
    earned: int
    claimed: int
    stake: int
    joined_tx: str


@dataclass(frozen=True)
class Round:
    number: int
    phase: str  # updates, scoring, aggregating or finalized
    accuracy: float | None
    loss: float | None
    reward: int
    base_model_hash: str
    model_hash: str
    reward_root: str
    rewards_match: bool | None
    opened_at: datetime
    finalized_at: datetime | None
    update_deadline: datetime
    phase_deadline: datetime
    seconds: float | None


@dataclass(frozen=True)
class Update:
    address: str
    name: str
    update_hash: str
    samples: int
    tx_hash: str
    block: int


@dataclass(frozen=True)
class ScoreSheet:
    evaluator: str
    scores: tuple[int, ...]
    tx_hash: str


@dataclass(frozen=True)
class RewardLine:
    address: str
    name: str
    score: int
    amount: int
    cumulative: int


@dataclass(frozen=True)
class RoundDetail(Round):
    updates: tuple[Update, ...]
    score_sheets: tuple[ScoreSheet, ...]
    rewards: tuple[RewardLine, ...]


@dataclass(frozen=True)
class EarnedRound:
    round: int
    score: int
    amount: int
    cumulative: int


@dataclass(frozen=True)
class Reward:
    """`proof` is what the contract's claim(onchain_id, address, earned, proof) takes."""

    task: int
    onchain_id: int
    address: str
    name: str
    earned: int
    claimed: int
    claimable: int
    reward_root: str
    leaf: str
    proof: tuple[str, ...]
    rounds: tuple[EarnedRound, ...]


@dataclass(frozen=True)
class Call:
    """A transaction of the console on its way to the chain."""

    id: int
    function: str
    sender: str
    status: str  # queued, sent, confirmed, failed or cancelled
    tx_hash: str
    error: str


@dataclass(frozen=True)
class Event:
    """A contract event; resume after `seq`."""

    seq: int
    task: int
    name: str
    text: str
    round: int | None
    actor: str
    args: Any
    tx_hash: str
    block: int
    log_index: int
    time: datetime


@dataclass(frozen=True)
class Retracted:
    """A reorg has taken back every event you got with a `seq` above `above`."""

    above: int


@dataclass(frozen=True)
class TaskChanged:
    """Something about the task has changed that is no event: progress of training, for one."""

    task: int
    live_seq: int = 0
    deleted: bool = False
