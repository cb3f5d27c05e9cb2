"""One task, ready for its page: every part is a frozen dataclass, no part runs a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from sessions_app.access import addresses_of, can
from sessions_app.models import Participant, Round, Seat, Task, TrainingRun, User
from sessions_app.selectors.events import FeedItem, event_line
from sessions_app.selectors.people import Party
from sessions_app.selectors.task_config import (
    Fact,
    config_labels,
    configuration_facts,
    task_config,
    term_facts,
)
from sessions_app.selectors.task_data import CallGas, TaskData
from sessions_app.selectors.task_faults import Fault, task_faults
from sessions_app.selectors.task_now import Now, task_now, training_share
from training.specs import TaskConfig


@dataclass(frozen=True)
class Pill:
    label: str
    tone: str


@dataclass(frozen=True)
class Actions:
    """Which buttons the signed-in person sees."""

    start: bool
    edit: bool
    cancel: bool
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
    """Accuracy in ppm, gas in units, money in wei, overhead as a share 0 to 1."""

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


@dataclass(frozen=True)
class ParticipantRow:
    party: Party
    pill: Pill
    value: int  # progress of this round, 0 to 100
    status_note: str
    samples: int | None
    accuracy: float | None  # 0 to 1, of its last update on held-out data
    local_accuracy: float | None  # 0 to 1, on its own data
    contribution: float | None  # share of the last round's reward, 0 to 1
    earned: int
    claimed: int
    stake: int
    can_claim: bool
    claiming: bool
    mine: bool
    joined_tx: str  # empty until it has joined

    @property
    def claimable(self) -> int:
        return max(self.earned - self.claimed, 0)


@dataclass(frozen=True)
class RoundRow:
    number: int
    pill: Pill
    accuracy_ppm: int | None
    change_ppm: int | None
    loss: float | None
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


@dataclass(frozen=True)
class TaskPage:
    seq: int
    head: Head
    actions: Actions
    now: Now
    faults: Sequence[Fault]
    kpis: Kpis
    participants: Sequence[ParticipantRow]
    rounds: Sequence[RoundRow]  # newest first
    feed: Sequence[FeedItem]
    calls: Sequence[CallGas]
    configuration: Sequence[Fact]
    terms: Sequence[Fact]
    config_json: str
    is_draft: bool
    escrow: int  # wei that start puts in escrow
    stake: int
    rounds_planned: int
    model_hash: str


_STAGE_PILLS = {
    Task.Stage.DRAFT: Pill("Draft", "wait"),
    Task.Stage.PREPARING: Pill("Preparing", "run"),
    Task.Stage.FUNDING: Pill("Funding", "run"),
    Task.Stage.FAILED: Pill("Failed", "bad"),
}
_PHASE_PILLS = {
    Task.Phase.OPEN: Pill("Open", "run"),
    Task.Phase.RUNNING: Pill("Running", "run"),
    Task.Phase.COMPLETED: Pill("Completed", "ok"),
    Task.Phase.CANCELLED: Pill("Cancelled", "wait"),
}


def task_pill(stage: str, phase: str) -> Pill:
    by_phase = {str(key): pill for key, pill in _PHASE_PILLS.items()}
    by_stage = {str(key): pill for key, pill in _STAGE_PILLS.items()}
    return by_phase.get(phase) or by_stage.get(stage) or Pill("On chain", "run")


def task_page(data: TaskData, viewer: User) -> TaskPage:
    task = data.task
    config = task_config(task)
    rows = _participants(data, viewer)
    return TaskPage(
        seq=data.seq,
        head=_head(data, config),
        actions=_actions(data, viewer, rows),
        now=task_now(data),
        faults=task_faults(data),
        kpis=_kpis(data),
        participants=rows,
        rounds=_rounds(data),
        feed=_feed(data),
        calls=data.calls,
        configuration=configuration_facts(config),
        terms=term_facts(task),
        config_json=config.canonical_bytes().decode() if config else "",
        is_draft=task.stage in (Task.Stage.DRAFT, Task.Stage.FAILED),
        escrow=task.pool,
        stake=task.stake,
        rounds_planned=task.rounds,
        model_hash=task.model_hash or task.initial_model_hash,
    )


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
        pill=task_pill(task.stage, task.phase),
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
    cancelling = any(row.function == "cancel" for row in data.pending_calls)
    alive = task.phase in (Task.Phase.OPEN, Task.Phase.RUNNING)
    claims = [row for row in rows if row.can_claim]
    return Actions(
        start=draft and can(viewer, "task.launch", task),
        edit=draft and can(viewer, "task.change", task),
        cancel=alive and not cancelling and not task.stopping and can(viewer, "task.cancel", task),
        delete=draft and can(viewer, "task.cancel", task),
        clone=task.config is not None and can(viewer, "task.clone"),
        claim=[row.party.address for row in claims],
        claimable=sum(row.claimable for row in claims),
    )


def _kpis(data: TaskData) -> Kpis:
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
    )


def _participants(data: TaskData, viewer: User) -> list[ParticipantRow]:
    """Members in the order of joining, then hosted seats that have not joined yet."""
    seats = {seat.account.address: seat for seat in data.seats}
    members = {member.address: member for member in data.members}
    own = addresses_of(viewer)
    may_claim_all = can(viewer, "reward.claim_all", data.task)
    claiming = {row.account.address for row in data.pending_calls if row.function == "claim"}
    rows = []
    for address in [*members, *(a for a in seats if a not in members)]:
        seat, member = seats.get(address), members.get(address)
        pill, value, note = _this_round(data, member, seat)
        run = data.training.get(address) or data.trained.get(address)
        last = data.trained.get(address) or run
        metrics = data.metrics.get(address, {})
        reward = data.last_rewards.get(member.pk) if member else None
        total = sum(r.amount for r in data.last_rewards.values())
        earned, claimed = (member.earned, member.claimed) if member else (0, 0)
        hosted = seat is not None
        rows.append(
            ParticipantRow(
                party=data.party(address),
                pill=pill,
                value=value,
                status_note=note,
                samples=member.samples_cap if member else (seat.samples if seat else None),
                accuracy=metrics.get("accuracy"),
                local_accuracy=last.accuracy if last else None,
                contribution=reward.amount / total if reward and total else None,
                earned=earned,
                claimed=claimed,
                stake=member.stake - member.stake_returned if member else 0,
                can_claim=earned > claimed
                and hosted
                and address not in claiming
                and (may_claim_all or address in own),
                claiming=address in claiming,
                mine=address in own,
                joined_tx=member.joined_tx if member else "",
            )
        )
    return rows


def _this_round(
    data: TaskData, member: Participant | None, seat: Seat | None
) -> tuple[Pill, int, str]:
    """What a participant is doing: (pill, per cent, a note such as its error)."""
    task, round_ = data.task, data.current
    if member is None:
        joining = any(
            seat is not None and row.account_id == seat.account_id for row in data.pending_calls
        )
        return Pill("Joining" if joining else "Invited", "run" if joining else ""), 0, ""
    if member.status != Participant.Status.ACTIVE:
        tone = "bad" if member.status == Participant.Status.SLASHED else "wait"
        return Pill(member.get_status_display(), tone), 0, ""
    if task.phase == Task.Phase.OPEN:
        return Pill("Joined", "ok"), 100, ""
    if task.is_finished:
        return Pill("Finished", ""), 100, ""
    if member.pk in data.submitted:
        return Pill("Submitted", "ok"), 100, ""
    run = data.training.get(member.address)
    value = round(100 * training_share(run))
    if run is not None and run.status == TrainingRun.Status.FAILED:
        return Pill("Failed", "bad"), value, run.error
    if round_ is not None and data.now.timestamp() > round_.update_deadline:
        return Pill("Late", "wait"), value, "past the deadline"
    if run is None:
        return Pill("Waiting", ""), 0, ""
    if run.status == TrainingRun.Status.TRAINED:
        return Pill("Sending", "chain"), 100, ""
    if run.status == TrainingRun.Status.TRAINING:
        speed = run.samples_per_second
        return Pill("Training", "run"), value, f"{speed:,.0f} samples/s" if speed else ""
    return Pill("Queued", ""), 0, ""


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
