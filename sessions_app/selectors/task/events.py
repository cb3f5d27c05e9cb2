"""Contract events as one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sessions_app.formats import amount, percent, words
from sessions_app.selectors.people.people import ZERO_ADDRESS, Names

Args = Mapping[str, Any]
Sentence = Callable[[Args, Names], str]


@dataclass(frozen=True)
class FeedItem:
    """One event. ``tone`` names the colour: run (work), chain (results), ok (tokens), bad."""

    tone: str
    text: str
    tx_hash: str
    block_number: int
    block_time: int
    round_number: int | None = None


def _transfer(a: Args, n: Names) -> str:
    value = f"{amount(a['value'], 2)} FLT"
    if a["from"] == ZERO_ADDRESS:
        return f"{value} minted for {n.name(a['to'])}"
    if a["to"] == ZERO_ADDRESS:
        return f"{value} of {n.name(a['from'])} burned"
    return f"{value} from {n.name(a['from'])} to {n.name(a['to'])}"


_SENTENCES: dict[str, tuple[str, Sentence]] = {
    "TaskCreated": (
        "ok",
        lambda a, n: f"Task created, {amount(a['params']['pool'])} FLT in escrow",
    ),
    "ParticipantJoined": ("run", lambda a, n: f"{n.name(a['participant'])} joined"),
    "ParticipantLeft": ("wait", lambda a, n: f"{n.name(a['participant'])} left"),
    "ParticipantSlashed": (
        "bad",
        lambda a, n: f"{n.name(a['participant'])} lost a stake of {amount(a['amount'])} FLT",
    ),
    "TaskStarted": ("chain", lambda a, n: f"Started with {a['participants']} participants"),
    "RoundOpened": ("chain", lambda a, n: f"Round {a['round']} opened"),
    "UpdateSubmitted": ("run", lambda a, n: f"{n.name(a['participant'])} submitted an update"),
    "UpdatesRelayed": ("run", lambda a, n: f"Updates of round {a['round']} relayed in one batch"),
    "ScoringOpened": ("chain", lambda a, n: f"Scoring of {a['updates']} updates opened"),
    "ScoresSubmitted": ("run", lambda a, n: f"{n.name(a['evaluator'])} scored round {a['round']}"),
    "AggregatingOpened": ("chain", lambda a, n: f"Aggregation of round {a['round']} opened"),
    "AggregateSubmitted": (
        "run",
        lambda a, n: f"{n.name(a['evaluator'])} published a model for round {a['round']}",
    ),
    "RoundFinalized": (
        "chain",
        lambda a, n: f"Round {a['round']} finalized at {percent(a['accuracyPpm'])}\u00a0%",
    ),
    "TaskCompleted": ("ok", lambda a, n: "Task completed"),
    "TaskStopping": (
        "wait",
        lambda a, n: f"Task cancelled with effect from the end of round {a['lastRound']}",
    ),
    "TaskCancelled": ("wait", lambda a, n: "Task cancelled"),
    "SlashVoted": (
        "bad",
        lambda a, n: f"{n.name(a['evaluator'])} voted to slash {n.name(a['participant'])}",
    ),
    "RewardsSwept": (
        "wait",
        lambda a, n: (
            f"{amount(a['amount'])} FLT that nobody claimed went to {n.name(a['operator'])}"
        ),
    ),
    "PoolToppedUp": ("ok", lambda a, n: f"Pool topped up by {amount(a['amount'])} FLT"),
    "PoolReturned": (
        "ok",
        lambda a, n: f"{amount(a['amount'])} FLT of the pool returned to {n.name(a['operator'])}",
    ),
    "StakeReturned": (
        "ok",
        lambda a, n: f"{n.name(a['participant'])} got {amount(a['amount'])} FLT stake back",
    ),
    "RewardClaimed": (
        "ok",
        lambda a, n: f"{n.name(a['participant'])} claimed {amount(a['amount'], 2)} FLT",
    ),
    "Transfer": (
        "ok",
        _transfer,
    ),
    "Approval": (
        "wait",
        lambda a, n: (
            f"{n.name(a['owner'])} allowed {n.name(a['spender'])} to take "
            f"{amount(a['value'], 2)} FLT"
        ),
    ),
}


def event_line(name: str, args: Args, names: Names) -> tuple[str, str]:
    """(tone, sentence). An event without a sentence of its own is named as the contract does."""
    known = _SENTENCES.get(name)
    if known is None:
        return "chain", words(name).capitalize()
    tone, sentence = known
    return tone, sentence(args, names)


def addresses_in(value: Any) -> set[str]:
    """Every address inside decoded arguments, however deep."""
    if isinstance(value, str):
        return {value} if len(value) == 42 and value.startswith("0x") else set()
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return set().union(*map(addresses_in, value)) if value else set()
    return set()
