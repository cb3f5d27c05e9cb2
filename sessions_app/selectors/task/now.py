"""Where a task is and what it waits for, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sessions_app.formats import amount, and_list, count, duration, percent
from sessions_app.models import Participant, Round, Task, TrainingRun
from sessions_app.selectors.task.data import TaskData
from sessions_app.selectors.task.faults import silences

# Without a median yet (first round), silence beyond this is called stalled, in seconds.
FIRST_ROUND_PATIENCE = 60.0
SHORTEST_PATIENCE = 15.0


@dataclass(frozen=True)
class Step:
    """One bar of the sentence's progress. ``state``: done, on or todo; ``value`` 0 to 100."""

    label: str
    state: str
    value: int


@dataclass(frozen=True)
class Now:
    """``lead`` is the bold start of the sentence. ``since``: unix seconds at which the current
    wait began; ``left``: seconds to the end of the task, as far as its past tells.
    ``look_again_at``: unix seconds at which the sentence changes even if nothing happens."""

    lead: str
    text: str
    tone: str
    steps: Sequence[Step] = ()
    since: float | None = None
    since_label: str = ""
    left: float | None = None
    look_again_at: float | None = None
    note: str = ""

    @property
    def left_text(self) -> str:
        return f"about {duration(max(round(self.left), 1))} left" if self.left is not None else ""


def task_now(data: TaskData) -> Now:
    task = data.task
    if task.phase == Task.Phase.RUNNING:
        return _running(data)
    if task.phase == Task.Phase.OPEN:
        return _open(data)
    if task.phase == Task.Phase.COMPLETED:
        return _completed(data)
    if task.phase == Task.Phase.CANCELLED:
        return _cancelled(data)
    return _launching(data)


def _steps(labels: Sequence[str], on: int, value: int = 0) -> list[Step]:
    """Steps before ``on`` are done, ``on`` has ``value`` per cent, the rest wait."""
    return [
        Step(label, "done", 100)
        if at < on
        else Step(label, "on", value)
        if at == on
        else Step(label, "todo", 0)
        for at, label in enumerate(labels)
    ]


def _launching(data: TaskData) -> Now:
    task = data.task
    labels = ["Model prepared", "Pool in escrow", "Participants joined", "Training"]
    pool = f"{amount(task.pool)} FLT"
    if task.stage == Task.Stage.DRAFT:
        return Now(
            "Draft.",
            f"Nothing is on chain and nothing is spent. Start it to put {pool} in escrow and "
            f"invite {count(task.max_participants, 'participant')}.",
            "wait",
            _steps(labels, -1),
        )
    if task.stage == Task.Stage.FAILED:
        return Now(
            "The launch stopped.",
            "Nothing is on chain. The cause is above; put it right and start again.",
            "bad",
            _steps(labels, -1),
        )
    since = task.launched_at.timestamp() if task.launched_at else None
    if task.stage == Task.Stage.PREPARING:
        text = (
            "Making the initial model and dealing the data. A worker that has just started "
            "needs about 10 s to load TensorFlow."
        )
        return Now("Preparing.", text, "run", _steps(labels, 0, 50), since, "since start")
    if task.operator_account is None:
        text = (
            f"The model is ready. Waiting for the operator's wallet to sign: {pool} go into escrow."
        )
        return Now("Funding.", text, "wait", _steps(labels, 1, 20), since, "since start")
    waiting = [row.function for row in data.pending_calls]
    step = "the approval" if "approve" in waiting else "the task"
    text = f"Waiting for {step} to be mined; {pool} go into escrow with it."
    return Now("Funding.", text, "run", _steps(labels, 1, 50), since, "since start")


def _open(data: TaskData) -> Now:
    task = data.task
    joined = {m.address for m in data.active}
    missing = [
        seat.account.label
        for seat in data.seats
        if seat.account.address not in joined and seat.removed_at is None
    ]
    labels = ["Model prepared", "Pool in escrow", "Participants joined", "Training"]
    labels[2] = f"Participants {len(joined)} of {task.max_participants}"
    value = round(100 * len(joined) / max(task.max_participants, 1))
    free = max(task.max_participants - len(joined) - len(missing), 0)
    if missing:
        text = (
            f"Waiting for {len(missing)} of {task.max_participants} participants to join: "
            f"{and_list(missing)}."
        )
        if free:
            text += f" {count(free, 'place')} more for wallets and agents."
    elif len(joined) < task.min_participants:
        more = task.min_participants - len(joined)
        text = f"Waiting for {count(more, 'more participant')} to join from their own wallets."
    elif free and task.phase == Task.Phase.OPEN and not data.pending_calls:
        text = (
            f"{count(len(joined), 'participant')} joined, which is enough. "
            f"{count(free, 'place')} still open to wallets and agents; it starts when they are "
            "taken, when the join time is over, or when the operator starts it."
        )
    elif task.operator_account is None and not data.pending_calls:
        text = (
            f"{_everyone(len(joined))} joined. Waiting for the operator's wallet to sign the "
            "start; when the join time is over, anyone may start it."
        )
    else:
        text = f"{_everyone(len(joined))} joined. Waiting for the start to be mined."
    since = float(data.events[0].block_time) if data.events else None
    return Now("Open.", text, "run", _steps(labels, 2, value), since, "since the last event")


def _everyone(joined: int) -> str:
    return "The one participant has" if joined == 1 else f"All {joined} participants have"


def _completed(data: TaskData) -> Now:
    task = data.task
    done = data.finalized
    text = count(len(done), "round")
    if done and done[-1].accuracy_ppm is not None:
        text += f" ended at {percent(done[-1].accuracy_ppm)}\u00a0% accuracy on held-out data"
    open_claims = sum(max(m.earned - m.claimed, 0) for m in data.members)
    if open_claims:
        text += f". {amount(open_claims)} FLT are earned and not claimed yet"
    labels = [f"{count(len(done), 'round')} finalized", "Model published", "Rewards claimed"]
    earned = sum(m.earned for m in data.members)
    share = 100 if not earned else round(100 * (earned - open_claims) / earned)
    steps = _steps(labels, 2 if open_claims else 3, share)
    return Now("Completed.", f"{text}.", "ok", steps, note=_took(task))


def _cancelled(data: TaskData) -> Now:
    task = data.task
    done = len(data.finalized)
    text = (
        f"It ended after {done} of {count(task.rounds, 'round')}. "
        f"{amount(task.pool_returned)} FLT of the pool went back to the operator"
    )
    held = sum(max(m.stake - m.stake_returned, 0) for m in data.active)
    open_claims = sum(max(m.earned - m.claimed, 0) for m in data.members)
    if open_claims:
        text += f"; {amount(open_claims)} FLT are earned and can be claimed"
    text += f"; {amount(held)} FLT of stakes can be taken back." if held else "."
    labels = [f"{done} of {task.rounds} rounds", "Cancelled"]
    return Now("Cancelled.", text, "wait", _steps(labels, 2), note=_took(task))


def _took(task: Task) -> str:
    if task.ended_time is None or task.launched_at is None:
        return ""
    return f"took {duration(max(task.ended_time - task.launched_at.timestamp(), 0))}"


def _running(data: TaskData) -> Now:
    task, round_ = data.task, data.current
    if round_ is None:
        return Now("Running.", "Waiting for the first round to open.", "run")
    if round_.phase == Round.Phase.FINALIZED:
        lead, text = f"Round {round_.number} is final.", "Waiting for the next one to open."
        return Now(lead, text, "run", _steps(_phase_labels(len(data.active), 0), 4))
    active = data.active
    waiting = [m for m in active if m.pk not in data.submitted]
    submitted = len(active) - len(waiting)
    lead = f"Round {round_.number} of {task.rounds}."
    steps = _steps(_phase_labels(len(active), submitted), _phase_index(round_, waiting), 50)
    if waiting and round_.phase == Round.Phase.UPDATES:
        steps[0] = Step(steps[0].label, "on", _updates_value(data, active))
    text, culprits = _waiting_text(data, round_, waiting)
    if task.stopping:
        text += " The task was cancelled while updates were in: this round is paid and the last."
    since = _since(data, round_)
    if task.paused_at is not None:
        text = _paused_text(data, round_, submitted)
        return Now(lead, text, "wait", steps, task.paused_at.timestamp(), "since the pause")
    now = data.now.timestamp()
    usual = data.round_seconds
    patience = max(2 * usual, SHORTEST_PATIENCE) if usual else FIRST_ROUND_PATIENCE
    quiet_since = max([since, *(float(e.block_time) for e in data.events[:1]), _heard(data)])
    if now - quiet_since > patience:
        silence = duration(now - quiet_since)
        text = f"Stalled: nothing has happened for {silence}, waiting for {culprits}."
        return Now(lead, text, "bad", steps, since, "in this round")
    left = None
    if usual is not None:
        more_rounds = 0 if task.stopping else task.rounds - round_.number
        left = max(usual - (now - since), 0) + usual * more_rounds
    return Now(
        lead,
        text,
        "run",
        steps,
        since,
        "in this round",
        left,
        look_again_at=_look_again(data, quiet_since + patience),
    )


def _look_again(data: TaskData, stalls_at: float) -> float:
    """When the page shows something else if nothing happens: a silent worker, or a stall."""
    now = data.now.timestamp()
    moments = [stalls_at, *(silence.from_.timestamp() for silence in silences(data))]
    return min(moment for moment in moments if moment > now) + 0.25


def _paused_text(data: TaskData, round_: Round, submitted: int) -> str:
    """What the pause means: it is ours, the contract's deadlines run on."""
    if round_.phase != Round.Phase.UPDATES or submitted == len(data.active):
        return (
            "Paused: the evaluators finish this round, and no training of the next one is started. "
            "Resume to go on."
        )
    until = datetime.fromtimestamp(round_.update_deadline, tz=UTC)
    left = round_.update_deadline - data.now.timestamp()
    when = f"until {until:%H:%M:%S} UTC" + (f", {duration(left)} from now" if left > 0 else "")
    if submitted:
        after = f"the round is then scored with the {count(submitted, 'update')} that came"
    else:
        after = "if none has come by then, anyone may end the task"
    return (
        "Paused: no training is started here. The contract knows no pause: it takes updates "
        f"{when}; {after}. Resume to go on."
    )


def _phase_labels(active: int, submitted: int) -> list[str]:
    return [f"Updates {submitted} of {active}", "Scoring", "Aggregating", "Finalized"]


def _phase_index(round_: Round, waiting: Sequence[Participant]) -> int:
    if round_.phase == Round.Phase.UPDATES:
        return 0 if waiting else 1  # the contract opens scoring with the first score sheet
    return {"scoring": 1, "aggregating": 2}.get(round_.phase, 3)


def _waiting_text(data: TaskData, round_: Round, waiting: Sequence[Participant]) -> tuple[str, str]:
    """The rest of the sentence, and who it waits for."""
    evaluators = and_list([data.names.name(a) for a in data.task.evaluators] or ["the evaluator"])
    if round_.phase == Round.Phase.UPDATES and waiting:
        names = and_list([data.names.name(m.address) for m in waiting], most=4)
        usual = data.training_seconds
        text = f"Waiting for {len(waiting)} of {len(data.active)} updates: {names}"
        return (f"{text}, usually {duration(usual)}." if usual else f"{text}."), names
    if round_.phase == Round.Phase.UPDATES:
        return f"All {len(data.active)} updates are in; {evaluators} scores them.", evaluators
    if round_.phase == Round.Phase.SCORING:
        return f"Waiting for the scores of {evaluators}.", evaluators
    return f"Waiting for {evaluators} to publish the new model.", evaluators


def _since(data: TaskData, round_: Round) -> float:
    run = data.runs.get(round_.number)
    return run.opened_at.timestamp() if run is not None else float(round_.opened_time)


def _heard(data: TaskData) -> float:
    """When a worker last gave a sign of life in this round, unix seconds; 0 when never."""
    signs = [
        moment.timestamp()
        for run in data.training.values()
        for moment in (run.started_at, run.finished_at)
        if moment is not None
    ]
    return max(signs, default=0.0)


def training_share(run: TrainingRun | None) -> float:
    """How much of a local training is done, 0 to 1."""
    if run is None:
        return 0.0
    if run.status == TrainingRun.Status.TRAINED:
        return 1.0
    return min(run.done / run.total, 1.0) if run.total else 0.0


def _updates_value(data: TaskData, active: Sequence[Participant]) -> int:
    """Submitted updates count whole; those in training up to nine tenths."""
    done = sum(
        1.0 if m.pk in data.submitted else 0.9 * training_share(data.training.get(m.address))
        for m in active
    )
    return round(100 * done / max(len(active), 1))
