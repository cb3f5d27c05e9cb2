"""The terms of a task as somebody reads them who is about to put a stake on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.utils import timezone

from chain.models import Account, Block
from sessions_app.formats import amount, count, duration
from sessions_app.models import Participant, Task, User
from sessions_app.selectors.ledger.rows import chain_id
from sessions_app.selectors.people.mine import addresses_of
from sessions_app.selectors.people.people import Party, names_of
from sessions_app.selectors.pills import Pill, task_pill
from sessions_app.selectors.task.config import Fact, config_labels, configuration_facts, task_config

MODES = {
    "equal": "equally among all whose update counts",
    "samples": "in proportion to the samples each one declares",
    "score": "in proportion to the score of each update",
}


@dataclass(frozen=True)
class JoinPage:
    """``closed``: why nobody can join now; empty while somebody can."""

    task: Task
    pill: Pill
    labels: Sequence[str]
    facts: Sequence[Fact]
    operator: Party
    evaluators: Sequence[Party]
    evaluators_here: int  # how many of them this console runs
    joined: int
    places: int
    deadline: datetime | None
    config_hash: str
    config_matches: bool | None
    terms: Sequence[str]
    closed: str
    mine: Sequence[Party]  # addresses of the reader that are in the task
    command: str

    @property
    def is_open(self) -> bool:
        return not self.closed


def join_page(task: Task, viewer: User) -> JoinPage:
    """A constant number of queries."""
    config = task_config(task)
    members = list(task.members.all())
    active = [m for m in members if m.status == Participant.Status.ACTIVE]
    own = set(addresses_of(viewer))
    mine = [m.address for m in members if m.address in own]
    names = names_of({task.operator_address, *task.evaluators, *mine}, chain_id())
    hosted = Account.objects.filter(address__in=task.evaluators).count()
    places = max(task.max_participants - len(active) - _coming(task, active), 0)
    deadline = _join_deadline(task)
    return JoinPage(
        task=task,
        pill=task_pill(task),
        labels=config_labels(config) if config else ["Created by another client"],
        facts=configuration_facts(config),
        operator=names.party(task.operator_address) if task.operator_address else _nobody(),
        evaluators=[names.party(address) for address in task.evaluators],
        evaluators_here=hosted,
        joined=len(active),
        places=places,
        deadline=deadline,
        config_hash=task.config_hash,
        config_matches=config.hash() == task.config_hash if config else None,
        terms=_terms(task),
        closed=_closed(task, places, deadline),
        mine=[names.party(address) for address in mine],
        command=(
            f"bcfl-agent join {settings.SITE_URL} --task {task.pk} --data my.csv "
            "--label LABEL --keystore key.json"
        ),
    )


def _coming(task: Task, active: Sequence[Participant]) -> int:
    """Hosted participants that keep a place and have not joined yet."""
    joined = [member.address for member in active]
    seats = task.seats.filter(removed_at=None).exclude(account__address__in=joined)
    return seats.count()


def _nobody() -> Party:
    return Party("0x" + "0" * 40, "nobody yet", "zero")


def _join_deadline(task: Task) -> datetime | None:
    """Of the block that created it; None before."""
    if task.created_block is None:
        return None
    times = Block.objects.filter(network=task.network_id, number=task.created_block)
    created = times.values_list("timestamp", flat=True).first()
    if created is None:
        return None
    return datetime.fromtimestamp(created, tz=UTC) + timedelta(seconds=task.join_seconds)


def _closed(task: Task, places: int, deadline: datetime | None) -> str:
    if task.onchain_id is None:
        return "The task is not on chain yet. It can be joined as soon as its pool is in escrow."
    if task.phase != Task.Phase.OPEN:
        return (
            f"The task is {task.get_phase_display().lower()}; one can join only while it is open."
        )
    if deadline is not None and deadline < timezone.now():
        return f"Joining ended at {deadline:%d %b %Y %H:%M} UTC."
    if places == 0:
        return (
            f"All of the {count(task.max_participants, 'place')} are taken, or kept for "
            "participants hosted by this console."
        )
    return ""


def _terms(task: Task) -> list[str]:
    """Sentences, each with its number and unit, in the order in which they matter."""
    each = amount(task.round_reward or task.pool // max(task.rounds, 1))
    evaluators = len(task.evaluators) or 1
    stake = (
        f"You put {amount(task.stake)} FLT at stake. It comes back when the task ends, or at once "
        "when you leave before it starts. A quorum of evaluators can burn it, for published "
        "evidence of fraud."
        if task.stake
        else "No stake is asked for."
    )
    pay, full = _plural(task.rounds, "pays", "pay each"), task.max_participants
    return [
        stake,
        f"{count(task.rounds, 'round')} {pay} {each} FLT, from {amount(task.pool_funded)} FLT "
        f"that are in the contract already. A round's reward is divided "
        f"{MODES.get(task.reward_mode, task.reward_mode)}.",
        f"In each round you have {duration(task.update_seconds)} to train and to send your update. "
        "Who is late earns nothing in that round.",
        f"{count(evaluators, 'evaluator')} {_plural(evaluators, 'scores', 'score')} the updates "
        f"within {duration(task.score_seconds)} and "
        f"{_plural(evaluators, 'votes', 'vote')} for the result within "
        f"{duration(task.aggregate_seconds)}; {task.quorum} of {evaluators} must agree.",
        f"The task starts when {count(full, 'participant')} {_plural(full, 'has', 'have')} joined, "
        f"or with at least {task.min_participants} when joining ends. If fewer join, everyone "
        "gets the stake back.",
        "After a missed deadline anyone can end the task; stakes and what was earned stay yours.",
    ]


def _plural(number: int, one: str, many: str) -> str:
    return one if number == 1 else many
