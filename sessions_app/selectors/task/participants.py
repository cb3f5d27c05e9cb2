"""The participants of a task: what each does in this round, and what it has earned. No queries
beyond the addresses of the viewer."""

from __future__ import annotations

from dataclasses import dataclass

from sessions_app.access import addresses_of, can
from sessions_app.models import Participant, Seat, Task, TrainingRun, User
from sessions_app.selectors.people.people import Party
from sessions_app.selectors.pills import Pill
from sessions_app.selectors.task.data import TaskData
from sessions_app.selectors.task.now import training_share


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
    can_remove: bool  # by the viewer; the outside ones only in words
    hosted: bool  # its key is held here
    leaving: bool

    @property
    def claimable(self) -> int:
        return max(self.earned - self.claimed, 0)


def task_participants(data: TaskData, viewer: User) -> list[ParticipantRow]:
    """Members in the order of joining, then hosted seats that have not joined yet."""
    seats = {seat.account.address: seat for seat in data.seats}
    members = {member.address: member for member in data.members}
    own = addresses_of(viewer)
    may_claim_all = can(viewer, "reward.claim_all", data.task)
    claiming = {row.account.address for row in data.pending_calls if row.function == "claim"}
    leaving = {row.account.address for row in data.pending_calls if row.function == "leave"}
    may_remove = not data.task.is_finished and can(viewer, "task.remove", data.task)
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
                can_remove=may_remove
                and member is not None
                and member.status == Participant.Status.ACTIVE
                and len(data.active) > 1,
                hosted=hosted,
                leaving=address in leaving,
            )
        )
    return rows


def _this_round(
    data: TaskData, member: Participant | None, seat: Seat | None
) -> tuple[Pill, int, str]:
    """What a participant is doing: (pill, per cent, a note such as its error)."""
    task, round_ = data.task, data.current
    if member is None and seat is not None and seat.removed_at is not None:
        return Pill("Removed", "wait"), 0, ""
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
        ended = task.phase == Task.Phase.COMPLETED
        return Pill("Finished" if ended else "Ended", ""), 100 if ended else 0, ""
    if member.pk in data.submitted:
        return Pill("Submitted", "ok"), 100, ""
    run = data.training.get(member.address)
    value = round(100 * training_share(run))
    if run is not None and run.status == TrainingRun.Status.FAILED:
        return Pill("Failed", "bad"), value, run.error
    if round_ is not None and data.now.timestamp() > round_.update_deadline:
        return Pill("Late", "wait"), value, "past the deadline"
    idle = run is None or run.status == TrainingRun.Status.QUEUED
    if task.paused_at is not None and idle and seat is not None:
        return Pill("Paused", "wait"), value, "no training is started while the task is paused"
    if run is None:
        return Pill("Waiting", ""), 0, ""
    if run.status == TrainingRun.Status.TRAINED:
        return Pill("Sending", "chain"), 100, ""
    if run.status == TrainingRun.Status.TRAINING:
        speed = run.samples_per_second
        return Pill("Training", "run"), value, f"{speed:,.0f} samples/s" if speed else ""
    return Pill("Queued", ""), 0, ""
