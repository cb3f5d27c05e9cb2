"""What people do: create a task, launch it, end it, claim what was earned.

Each function checks, writes its rows and whatever must be sent on chain in one transaction, and
wakes the orchestrator; nobody waits for a block inside a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from django.db import transaction
from django.utils import timezone
from eth_utils.address import is_address

from chain.events import checksum
from chain.models import Account, OutgoingTransaction
from sessions_app import audit, publish
from sessions_app.access import require
from sessions_app.errors import (
    InvalidTask,
    NotAllowed,
    WrongStage,
)
from sessions_app.models import Participant, Seat, Task, User
from sessions_app.selectors.balances import token_balance
from sessions_app.selectors.wizard.quote import task_quote_now
from sessions_app.services.calls import chain_errors_as_ours, task_call
from sessions_app.services.hosted import default_evaluators, seat_account
from training import private
from training.blobs import BlobStore
from training.errors import TrainingError
from training.schema import DataSchema
from training.specs import TaskConfig

FLT = 10**18  # wei in one token
MAX_PARTICIPANTS = 1_000


def task_create(
    *,
    owner: User,
    title: str,
    config: TaskConfig,
    pool: int,
    stake: int = 0,
    evaluators: Iterable[Account] = (),
    outside_evaluators: Iterable[str] = (),
    update_seconds: int = 600,
    score_seconds: int = 600,
    aggregate_seconds: int = 600,
    join_seconds: int = 3600,
    hosted_places: int | None = None,
    min_participants: int | None = None,
    quorum: int | None = None,
) -> Task:
    """Save a task as a draft: nothing is sent and nothing is spent.

    `pool` and `stake` (per participant) in wei. `evaluators` are scored for here, those in
    `outside_evaluators` (addresses) score by themselves; `quorum` of all must agree (None: just
    over half, the least that the contract takes). With outside evaluators and no `evaluators`,
    nobody scores here.

    `hosted_places` of the configuration's participants are trained for here (None: all); wallets
    and agents join the others by themselves. `min_participants` (None: all) may start.
    Raises NotAllowed and InvalidTask.
    """
    require(owner, "task.create")
    title = title.strip()
    _check_terms(title=title, config=config, pool=pool, stake=stake)
    hosted, fewest = _places(config, hosted_places, min_participants)
    task = Task(
        owner=owner,
        title=title,
        operator_account=owner.account,
        pool=pool,
        stake=stake,
        rounds=config.rounds,
        min_participants=fewest,
        max_participants=config.participants,
        hosted_places=hosted,
        join_seconds=join_seconds,
        update_seconds=update_seconds,
        score_seconds=score_seconds,
        aggregate_seconds=aggregate_seconds,
        reward_mode=config.reward_mode,
    )
    _set_config(task, config)
    task.outside_evaluators = _addresses(outside_evaluators)
    chosen = list(evaluators) or ([] if task.outside_evaluators else default_evaluators())
    task.quorum = _quorum(len(chosen) + len(task.outside_evaluators), quorum)
    with transaction.atomic():
        task.save()
        task.evaluator_accounts.set(chosen)
        _set_quote(task)
        audit.record(owner, "task.create", task, {"title": title})
    return task


def task_change(
    *,
    task: Task,
    by: User,
    title: str,
    config: TaskConfig,
    pool: int,
    stake: int,
    hosted_places: int | None = None,
    min_participants: int | None = None,
    evaluators: Iterable[Account] | None = None,
    outside_evaluators: Iterable[str] | None = None,
    quorum: int | None = None,
    seconds: Mapping[str, int] | None = None,
) -> Task:
    """Change a draft. Raises WrongStage once the launch has begun.

    `hosted_places` and `min_participants` None: as before, and all when it was all before. What
    else is None stays as it is; a change of the evaluators without a `quorum` makes it just over
    half. `seconds`: the deadlines by their names, as `update_seconds`.
    """
    require(by, "task.change", task)
    if task.stage not in (Task.Stage.DRAFT, Task.Stage.FAILED):
        raise WrongStage(
            f"Task {task.pk} is {task.get_stage_display().lower()}; only a draft can be changed. "
            "Clone it to start another with other settings."
        )
    _check_terms(title=title.strip(), config=config, pool=pool, stake=stake)
    most = task.max_participants
    if hosted_places is None and task.hosted_places != most:
        hosted_places = min(task.hosted_places, config.participants)
    if min_participants is None and task.min_participants != most:
        min_participants = min(task.min_participants, config.participants)
    hosted, fewest = _places(config, hosted_places, min_participants)
    task.title = title.strip()
    task.pool = pool
    task.stake = stake
    task.rounds = config.rounds
    task.max_participants = config.participants
    task.hosted_places, task.min_participants = hosted, fewest
    task.reward_mode = config.reward_mode
    task.initial_model_hash = ""
    _set_config(task, config)
    for name, value in (seconds or {}).items():
        setattr(task, name, value)
    chosen = list(task.evaluator_accounts.all() if evaluators is None else evaluators)
    if outside_evaluators is not None:
        task.outside_evaluators = _addresses(outside_evaluators)
    if quorum is not None or evaluators is not None or outside_evaluators is not None:
        task.quorum = _quorum(len(chosen) + len(task.outside_evaluators), quorum)
    with transaction.atomic():
        task.save()
        task.evaluator_accounts.set(chosen)
        _set_quote(task)
        audit.record(by, "task.change", task, {"title": task.title})
    return task


def task_clone(*, task: Task, by: User) -> Task:
    """A new draft with the same settings."""
    require(by, "task.clone")
    if task.config is None:
        raise WrongStage(
            f"Task {task.pk} was created by another client and its configuration is not stored "
            "here, so there is nothing to clone."
        )
    return task_create(
        owner=by,
        title=f"{task.title[:112]}, again",
        config=TaskConfig.from_dict(task.config),
        pool=task.pool,
        stake=task.stake,
        evaluators=task.evaluator_accounts.order_by("pk"),
        outside_evaluators=task.outside_evaluators,
        update_seconds=task.update_seconds,
        score_seconds=task.score_seconds,
        aggregate_seconds=task.aggregate_seconds,
        join_seconds=task.join_seconds,
        hosted_places=task.hosted_places,
        min_participants=task.min_participants,
    )


@chain_errors_as_ours
def task_launch(*, task: Task, by: User) -> Task:
    """Press start: seat the hosted participants, prepare the model, fund and open the task.

    Raises NotAllowed, WrongStage, and InvalidTask when the operator cannot pay the pool.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task.pk)
        require(by, "task.launch", task)
        _check_startable(task)
        if task.operator_account is None and task.owner is not None:
            task.operator_account = task.owner.account  # a launch from a wallet was given up
        if task.operator_account is None:
            raise InvalidTask(
                f"{by.short_name} has no hosted account to fund the task from. Ask an admin for "
                "one, or start the task from your own wallet.",
                field="pool",
            )
        balance = token_balance(task.operator_account.address)
        if balance < task.pool:
            raise InvalidTask(
                f"The pool is {task.pool / FLT:,.2f} FLT but {task.operator_account.label} holds "
                f"{balance / FLT:,.2f} FLT. Lower the pool or top up the account.",
                field="pool",
            )
        task.launched_from = task.operator_account.address
        _launch(task, by)
    return task


def task_launch_from_wallet(*, task: Task, by: User) -> Task:
    """As `task_launch`, but the operator is whoever signs createTask in a wallet of their own;
    nothing is sent from here. The model is prepared first: its hash is part of that call.

    Raises NotAllowed and WrongStage.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task.pk)
        require(by, "task.launch", task)
        _check_startable(task)
        task.operator_account, task.launched_from = None, ""
        _launch(task, by)
    return task


def task_launch_undo(*, task: Task, by: User) -> Task:
    """Back to a draft, of a launch that waits for a wallet's signature. Raises WrongStage."""
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task.pk)
        require(by, "task.launch", task)
        waits = task.stage in (Task.Stage.PREPARING, Task.Stage.FUNDING)
        if not waits or task.operator_account is not None:
            raise WrongStage(f"Task {task.pk} does not wait for a wallet; nothing was undone.")
        task.stage = Task.Stage.DRAFT
        task.save(update_fields=("stage",))
        audit.record(by, "task.launch", task, {"title": task.title, "undone": True})
        publish.task_changed(task.pk)
    return task


def _check_startable(task: Task) -> None:
    if task.stage not in (Task.Stage.DRAFT, Task.Stage.FAILED):
        raise WrongStage(f"Task {task.pk} has been started already.")


def _launch(task: Task, by: User) -> None:
    """Seat the hosted participants and have the model prepared; the row is locked."""
    for slot in range(task.hosted_places):
        Seat.objects.get_or_create(task=task, slot=slot, defaults={"account": seat_account(slot)})
    task.stage = Task.Stage.PREPARING
    task.failure = ""
    task.launched_at = timezone.now()
    task.prepare_requested_at = None
    task.save(
        update_fields=(
            "stage",
            "failure",
            "launched_at",
            "prepare_requested_at",
            "operator_account",
            "launched_from",
        )
    )
    _set_quote(task)  # the one that the real cost is held against: at the fee of today
    details = {"title": task.title, "pool_wei": str(task.pool), "from": task.launched_from}
    audit.record(by, "task.launch", task, details)
    publish.task_changed(task.pk)
    publish.task_wake(task.pk)


@chain_errors_as_ours
def task_start(*, task: Task, by: User) -> OutgoingTransaction:
    """Begin with those who have joined, before every place is taken.

    Otherwise a task starts by itself when it is full, or when its join time is over.
    Raises WrongStage while fewer than `min_participants` have joined.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task.pk)
        require(by, "task.start", task)
        if task.phase != Task.Phase.OPEN:
            raise WrongStage(
                f"Task {task.pk} is {task.get_phase_display().lower()}; only an open task starts."
            )
        joined = task.members.filter(status=Participant.Status.ACTIVE).count()
        if joined < task.min_participants:
            raise WrongStage(
                f"{joined} of at least {task.min_participants} participants have joined task "
                f"{task.pk}. Invite more, or wait."
            )
        sent = task_call(
            task, _operator_account(task), "start", [task.onchain_id], key="start", at_once=True
        )
        audit.record(by, "task.start", task, {"joined": joined})
        publish.task_changed(task.pk, ("now",))
        return sent


@chain_errors_as_ours
def task_cancel(*, task: Task, by: User) -> OutgoingTransaction | None:
    """End a task early: a draft is deleted, a placed task is cancelled on chain.

    On chain, the unspent pool and all stakes come back and what was earned stays claimable.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task.pk)
        require(by, "task.cancel", task)
        if task.stage in (Task.Stage.DRAFT, Task.Stage.FAILED) and task.onchain_id is None:
            audit.record(by, "task.cancel", task, {"title": task.title, "deleted": True})
            task.delete()
            return None
        if task.is_finished:
            raise WrongStage(f"Task {task.pk} has ended already ({task.get_phase_display()}).")
        if task.onchain_id is None:
            raise WrongStage(
                f"Task {task.pk} is being placed on chain; it can be cancelled in a moment."
            )
        sent = task_call(
            task, _operator_account(task), "cancel", [task.onchain_id], key="cancel", at_once=True
        )
        audit.record(by, "task.cancel", task, {"title": task.title})
        publish.task_changed(task.pk)
        return sent


def _set_config(task: Task, config: TaskConfig) -> None:
    """The salt makes the hash this task's own, so the contract's event finds its way back."""
    salted = replace(config, salt=task.uuid.hex)
    task.config = salted.to_dict()
    task.config_hash = salted.hash()


def _quorum(evaluators: int, wanted: int | None) -> int:
    least = evaluators // 2 + 1
    if wanted is not None and not least <= wanted <= evaluators:
        raise InvalidTask(
            f"A quorum of {wanted} of {evaluators} evaluators is not accepted: the contract takes "
            f"more than half and at most all, from {least} to {evaluators}.",
            field="quorum",
        )
    return wanted or least


def _set_quote(task: Task) -> None:
    task.quote = task_quote_now(task).as_json()
    task.save(update_fields=("quote",))


def _check_terms(*, title: str, config: TaskConfig, pool: int, stake: int) -> None:
    if not title:
        raise InvalidTask("Give the task a title; participants choose by it.", field="title")
    limit = 2**96 - 1
    for name, amount in (("pool", pool), ("stake", stake)):
        if not 0 <= amount <= limit:
            raise InvalidTask(
                f"The {name} of {amount} wei is outside 0 to {limit} wei (about 79 billion FLT).",
                field=name,
            )
    if pool < config.rounds:
        raise InvalidTask(
            f"A pool of {pool} wei cannot pay {config.rounds} rounds; the least is 1 wei a round.",
            field="pool",
        )
    if config.participants > MAX_PARTICIPANTS:
        raise InvalidTask(
            f"{config.participants} participants are more than the {MAX_PARTICIPANTS} that one "
            "task takes.",
            field="participants",
        )


def _places(config: TaskConfig, hosted: int | None, fewest: int | None) -> tuple[int, int]:
    """(hosted places, least number of participants), checked; None means all."""
    most = config.participants
    private = config.dataset.is_private
    hosted = (0 if private else most) if hosted is None else hosted
    if private and hosted:
        raise InvalidTask(
            f"{hosted} places trained for here, but the data of this task is with its "
            "participants. Set it to 0; they join with bcfl-agent.",
            field="hosted_places",
        )
    if config.dataset.schema:
        _check_held_out(config.dataset.schema)
    fewest = most if fewest is None else fewest
    if not 0 <= hosted <= most:
        raise InvalidTask(
            f"{hosted} places trained for here are outside 0 to {most}, the task's participants.",
            field="hosted_places",
        )
    if not 1 <= fewest <= most:
        raise InvalidTask(
            f"At least {fewest} participants is outside 1 to {most}, the task's places.",
            field="min_participants",
        )
    return hosted, fewest


def _check_held_out(schema: DataSchema) -> None:
    """Members may read this file, so it must be held-out samples and not somebody's model."""
    store = BlobStore.default()
    if not store.exists(schema.evaluation):
        raise InvalidTask(
            f"The held-out samples {schema.evaluation} are not stored here. Add them in the task "
            "wizard, or with manage.py run_task --evaluation FILE.",
            field="dataset",
        )
    try:
        private.evaluation_table(store.open(schema.evaluation), schema)
    except TrainingError as error:
        raise InvalidTask(
            f"{schema.evaluation} cannot be held out: {error}", field="dataset"
        ) from error


def _addresses(given: Iterable[str]) -> list[str]:
    """Checksummed; the contract's events spell them so."""
    found = []
    for address in given:
        if not is_address(address):
            raise InvalidTask(
                f"{address!r} is not an address. An evaluator's has 0x and 40 hex digits.",
                field="outside_evaluators",
            )
        found.append(checksum(address))
    return found


def _operator_account(task: Task) -> Account:
    if task.operator_account is None:
        raise NotAllowed(
            f"Task {task.pk} is operated from {task.operator_address}, whose key is not held "
            "here. Send the call from that wallet."
        )
    return task.operator_account
