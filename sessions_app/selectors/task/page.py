"""One task, ready for its page: each part is worked out when a template asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from sessions_app.access import can
from sessions_app.models import Invitation, Round, Task, User
from sessions_app.selectors.people.people import Party
from sessions_app.selectors.pills import Pill, task_pill
from sessions_app.selectors.task.config import (
    Fact,
    config_labels,
    configuration_facts,
    task_config,
    term_facts,
)
from sessions_app.selectors.task.cost import Cost, task_cost
from sessions_app.selectors.task.data import CallGas, TaskData
from sessions_app.selectors.task.events import FeedItem, event_line
from sessions_app.selectors.task.faults import Fault, task_faults
from sessions_app.selectors.task.now import Now, task_now
from sessions_app.selectors.task.participants import ParticipantRow, task_participants
from training.specs import TaskConfig

SHOWN_ROUNDS = 12  # in the table; a page must not grow with every round


@dataclass(frozen=True)
class Actions:
    """Which buttons the signed-in person sees."""

    start: bool
    edit: bool
    begin: int  # participants to begin with before every place is taken; 0: not now
    pause: bool
    resume: bool
    invite: bool
    free_places: int  # that wallets and agents may take
    top_up: str  # the account that would pay; empty: not now
    cancel: bool
    wallet_start: bool  # a draft that a wallet could fund
    wallet: bool  # its operator signs in a wallet
    delete: bool
    clone: bool
    claim: Sequence[str]  # addresses whose rewards they may claim now
    claimable: int  # wei, over those


@dataclass(frozen=True)
class Head:
    pk: int
    title: str
    pill: Pill
    facts: Sequence[str]
    config_hash: str
    config_matches: bool | None  # None: not on chain, or the configuration is not stored here
    operator: Party | None
    onchain_id: int | None
    created_tx: str


@dataclass(frozen=True)
class Kpis:
    """Accuracy in ppm, gas in units, money in wei, overhead as a share 0 to 1. ``epsilon`` and
    ``delta``: what the rounds so far have spent of a participant's privacy, None without noise."""

    accuracy_ppm: int | None
    accuracy_change_ppm: int | None
    accuracy_round: int | None
    loss: float | None
    gas: int
    gas_fee: int
    calls: int
    earned: int
    claimed: int
    pool: int
    overhead: float | None
    overhead_seconds: float | None
    round_seconds: float | None
    epsilon: float | None
    delta: float | None


@dataclass(frozen=True)
class RoundRow:
    number: int
    pill: Pill
    accuracy_ppm: int | None
    change_ppm: int | None
    loss: float | None
    epsilon: float | None
    reward: int | None
    seconds: float | None
    seconds_train: float | None
    seconds_score: float | None
    seconds_aggregate: float | None
    seconds_chain: float | None
    model_hash: str
    tx_hash: str
    rewards_match: bool | None

    @property
    def seconds_work(self) -> float | None:
        """Scoring and aggregating: what the evaluator computes."""
        if self.seconds_score is None and self.seconds_aggregate is None:
            return None
        return (self.seconds_score or 0.0) + (self.seconds_aggregate or 0.0)


class TaskPage:
    """Worked out piece by piece, as the templates ask: a progress bar moves without the gas of
    five hundred rounds being added up."""

    def __init__(self, data: TaskData, viewer: User) -> None:
        task = data.task
        self._data, self._viewer = data, viewer
        self._config = task_config(task)
        self.seq = data.seq
        self.is_draft = task.stage in (Task.Stage.DRAFT, Task.Stage.FAILED)
        self.never_trained = task.is_finished and not data.finalized  # no round was final
        self.escrow = task.pool  # wei that start puts in escrow
        self.stake = task.stake
        self.rounds_planned = task.rounds
        self.model_hash = task.model_hash or task.initial_model_hash
        self.update_seconds = task.update_seconds

    @cached_property
    def head(self) -> Head:
        return _head(self._data, self._config)

    @cached_property
    def actions(self) -> Actions:
        return _actions(self._data, self._viewer, self.participants)

    @cached_property
    def now(self) -> Now:
        return task_now(self._data)

    @cached_property
    def faults(self) -> Sequence[Fault]:
        return task_faults(self._data)

    @cached_property
    def kpis(self) -> Kpis:
        return _kpis(self._data, self._config)

    @cached_property
    def participants(self) -> Sequence[ParticipantRow]:
        return task_participants(self._data, self._viewer)

    @cached_property
    def rounds(self) -> Sequence[RoundRow]:
        """Newest first."""
        return _rounds(self._data)

    @cached_property
    def feed(self) -> Sequence[FeedItem]:
        return _feed(self._data)

    @property
    def calls(self) -> Sequence[CallGas]:
        return self._data.calls

    @cached_property
    def configuration(self) -> Sequence[Fact]:
        return configuration_facts(self._config)

    @cached_property
    def terms(self) -> Sequence[Fact]:
        return term_facts(self._data.task)

    @cached_property
    def config_json(self) -> str:
        return self._config.canonical_bytes().decode() if self._config else ""

    @cached_property
    def cost(self) -> Cost:
        return task_cost(self._data)

    @property
    def newest_rounds(self) -> Sequence[RoundRow]:
        return self.rounds[:SHOWN_ROUNDS]


def _head(data: TaskData, config: TaskConfig | None) -> Head:
    task = data.task
    matches = None
    if config is not None and task.onchain_id is not None:
        matches = config.hash() == task.config_hash
    address = task.operator_address or (
        task.operator_account.address if task.operator_account else ""
    )
    return Head(
        pk=task.pk,
        title=task.title,
        pill=task_pill(task),
        facts=config_labels(config) if config else ["Created by another client"],
        config_hash=task.config_hash,
        config_matches=matches,
        operator=data.party(address) if address else None,
        onchain_id=task.onchain_id,
        created_tx=task.created_tx,
    )


def _actions(data: TaskData, viewer: User, rows: Sequence[ParticipantRow]) -> Actions:
    task = data.task
    draft = task.stage in (Task.Stage.DRAFT, Task.Stage.FAILED) and task.onchain_id is None
    hosted = task.operator_account is not None
    launching = task.stage in (Task.Stage.PREPARING, Task.Stage.FUNDING)
    cancelling = any(row.function == "cancel" for row in data.pending_calls)
    alive = task.phase in (Task.Phase.OPEN, Task.Phase.RUNNING)
    running, paused = task.phase == Task.Phase.RUNNING, task.paused_at is not None
    claims = [row for row in rows if row.can_claim]
    return Actions(
        start=draft and _has_payer(task) and can(viewer, "task.launch", task),
        edit=draft and can(viewer, "task.change", task),
        begin=_can_begin(data, viewer),
        pause=running and not paused and can(viewer, "task.pause", task),
        resume=running and paused and can(viewer, "task.pause", task),
        invite=alive and can(viewer, "invitation.create", Invitation(task=task)),
        free_places=_free_places(data),
        top_up=_payer(data) if alive and can(viewer, "task.top_up", task) else "",
        cancel=alive
        and hosted
        and not cancelling
        and not task.stopping
        and can(viewer, "task.cancel", task),
        wallet_start=draft and can(viewer, "task.launch", task),
        wallet=(launching or alive)
        and not hosted
        and task.owner_id is not None
        and can(viewer, "task.launch", task),
        delete=draft and can(viewer, "task.cancel", task),
        clone=task.config is not None and can(viewer, "task.clone"),
        claim=[row.party.address for row in claims],
        claimable=sum(row.claimable for row in claims),
    )


def _has_payer(task: Task) -> bool:
    """A launch from a wallet that was given up leaves the owner's account to pay."""
    owner = task.owner
    return task.operator_account is not None or (owner is not None and owner.account_id is not None)


def _can_begin(data: TaskData, viewer: User) -> int:
    """An open task starts by itself when it is full; with enough people its operator need not
    wait for that."""
    task, joined = data.task, len(data.active)
    starting = any(row.function == "start" for row in data.pending_calls)
    enough = task.min_participants <= joined < task.max_participants
    hosted = task.operator_account is not None
    if task.phase != Task.Phase.OPEN or starting or not enough or not hosted:
        return 0
    return joined if can(viewer, "task.start", task) else 0


def _free_places(data: TaskData) -> int:
    if data.task.phase != Task.Phase.OPEN:
        return 0
    joined = {member.address for member in data.active}
    coming = [s for s in data.seats if s.removed_at is None and s.account.address not in joined]
    return max(data.task.max_participants - len(joined) - len(coming), 0)


def _payer(data: TaskData) -> str:
    """The account that a top-up would come from; the last round's reward is fixed already."""
    task = data.task
    last = task.phase == Task.Phase.RUNNING and task.current_round == task.rounds
    if task.operator_account is None or task.stopping or last:
        return ""
    return task.operator_account.label


def _kpis(data: TaskData, config: TaskConfig | None) -> Kpis:
    done = [r for r in data.finalized if r.accuracy_ppm is not None]
    last = done[-1] if done else None
    before = done[-2] if len(done) > 1 else None
    closed = [run for run in data.runs.values() if run.seconds_chain is not None]
    waits = [run.seconds_chain or 0.0 for run in closed]
    total = sum(run.seconds or 0.0 for run in closed)
    run = data.runs.get(last.number) if last else None
    change = None
    if last and before and last.accuracy_ppm is not None and before.accuracy_ppm is not None:
        change = last.accuracy_ppm - before.accuracy_ppm
    return Kpis(
        accuracy_ppm=last.accuracy_ppm if last else None,
        accuracy_change_ppm=change,
        accuracy_round=last.number if last else None,
        loss=run.loss if run else None,
        gas=sum(call.gas for call in data.calls),
        gas_fee=sum(call.fee for call in data.calls),
        calls=sum(call.count for call in data.calls),
        earned=sum(member.earned for member in data.members),
        claimed=sum(member.claimed for member in data.members),
        pool=data.task.pool_funded or data.task.pool,
        overhead=sum(waits) / total if total else None,
        overhead_seconds=median(waits) if waits else None,
        round_seconds=data.round_seconds,
        epsilon=data.epsilon[max(data.epsilon)] if data.epsilon else None,
        delta=config.privacy.params.get("delta") if config else None,
    )


def _rounds(data: TaskData) -> list[RoundRow]:
    tones = {"updates": "run", "scoring": "run", "aggregating": "run", "finalized": "ok"}
    rows: list[RoundRow] = []
    before: int | None = None
    for round_ in data.rounds:
        run = data.runs.get(round_.number)
        final = round_.phase == Round.Phase.FINALIZED
        ppm = round_.accuracy_ppm
        rows.append(
            RoundRow(
                number=round_.number,
                pill=Pill(round_.get_phase_display(), tones[round_.phase]),
                accuracy_ppm=ppm,
                change_ppm=ppm - before if ppm is not None and before is not None else None,
                loss=run.loss if run and final else None,
                epsilon=data.epsilon.get(round_.number),
                reward=round_.reward if final else None,
                seconds=run.seconds if run else None,
                seconds_train=run.seconds_train if run else None,
                seconds_score=run.seconds_score if run else None,
                seconds_aggregate=run.seconds_aggregate if run else None,
                seconds_chain=run.seconds_chain if run else None,
                model_hash=round_.model_hash,
                tx_hash=round_.finalized_tx or round_.opened_tx,
                rewards_match=round_.rewards_match,
            )
        )
        before = ppm if ppm is not None else before
    return rows[::-1]


def _feed(data: TaskData) -> list[FeedItem]:
    items = []
    for event in data.events:
        tone, text = event_line(event.name, event.log.args, data.names)
        items.append(
            FeedItem(
                tone,
                text,
                event.tx_hash,
                event.block_number,
                event.block_time,
                event.round_number,
            )
        )
    return items
