"""What a task's operator signs in a wallet of their own: funding, starting, topping up, ending.

The contract makes whoever sends createTask the operator. Each call is built here, tried and shown
in words by `wallet_calls`; the key never comes here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction

from chain.artifacts import COORDINATOR, TOKEN
from chain.errors import ChainError
from chain.network import client_current
from chain.selectors import contract_address
from sessions_app import audit
from sessions_app.access import require
from sessions_app.errors import ChainTrouble, InvalidTask, WrongStage
from sessions_app.formats import amount, count
from sessions_app.models import Participant, Task, User
from sessions_app.services.calls import task_terms
from sessions_app.services.wallet_calls import (
    Built,
    Options,
    Prepared,
    one,
    prepared,
    read_contract,
)


@dataclass(frozen=True)
class Offer:
    """``action`` of BUILDERS. ``hint``: what follows from it; ``asks``: needs an amount."""

    action: str
    label: str
    hint: str
    primary: bool = False
    danger: bool = False
    asks: bool = False


@dataclass(frozen=True)
class Desk:
    """An address before a task, asked of the node now; amounts in wei. ``sentence``: what is
    next. ``soon``: it changes by itself in a moment."""

    address: str
    balance: int
    allowance: int
    ether: int
    sentence: str
    offers: Sequence[Offer] = ()
    soon: bool = False


def operator_desk(*, task: Task, address: str, by: User) -> Desk:
    """Raises NotAllowed, and ChainTrouble when no node answers."""
    require(by, "task.launch", task)
    try:
        balance = one(read_contract(TOKEN, "balanceOf", [address]))
        allowance = one(read_contract(TOKEN, "allowance", [address, contract_address(COORDINATOR)]))
        ether = client_current().balance(address)
    except ChainError as error:
        raise ChainTrouble(str(error)) from error
    sentence, offers = _next(task, address, balance, allowance)
    soon = task.stage == Task.Stage.PREPARING
    return Desk(address, balance, allowance, ether, sentence, offers, soon)


def operator_prepare(
    *, action: str, task: Task, address: str, by: User, options: Options
) -> Prepared:
    """Build a call of BUILDERS. For createTask, note that it is this address whose event is the
    task's. Raises NotAllowed, WrongStage, InvalidTask and ChainTrouble."""
    require(by, "task.launch", task)
    call = prepared(
        action=action,
        task=task,
        address=address,
        build=lambda: BUILDERS[action](task, address, options),
    )
    if call.function == "createTask" and not call.refused:
        with transaction.atomic():
            locked = Task.objects.select_for_update().get(pk=task.pk)
            if locked.launched_from != address:
                locked.launched_from = address
                locked.save(update_fields=("launched_from",))
                audit.record(by, "task.launch", locked, {"wallet": address})
    return call


# --- what is next ---------------------------------------------------------------------------


def _next(task: Task, address: str, balance: int, allowance: int) -> tuple[str, list[Offer]]:
    if task.stage == Task.Stage.PREPARING:
        return "The initial model is being made; its hash is part of what you sign.", []
    if task.stage == Task.Stage.FUNDING:
        return _to_fund(task, balance, allowance)
    if task.phase not in (Task.Phase.OPEN, Task.Phase.RUNNING):
        return "Nothing is left to sign for the operator of this task.", []
    if address != task.operator_address:
        return (
            f"The operator of this task is {task.operator_address}. Choose that account in the "
            "wallet; the contract takes these calls from no other.",
            [],
        )
    return _to_run(task)


def _to_fund(task: Task, balance: int, allowance: int) -> tuple[str, list[Offer]]:
    pool = f"{amount(task.pool)} FLT"
    if balance < task.pool:
        return (
            f"The pool is {pool}, and this account holds {amount(balance)} FLT. Send FLT to it, or "
            "choose another account in the wallet.",
            [],
        )
    if allowance < task.pool:
        hint = "Nothing is moved yet; the coordinator may then take the pool, and no more."
        return (
            "Two signatures: an approval of the pool, then the task itself.",
            [Offer("fund", f"Approve {pool}", hint, primary=True)],
        )
    hint = f"Moves {pool} into escrow. This account is the operator from then on."
    return (
        "The pool is approved. One signature is left.",
        [Offer("fund", "Create the task", hint, primary=True)],
    )


def _to_run(task: Task) -> tuple[str, list[Offer]]:
    offers = []
    if task.phase == Task.Phase.OPEN:
        joined = task.members.filter(status=Participant.Status.ACTIVE).count()
        people = count(joined, "participant")
        if joined >= task.min_participants:
            sentence = f"{people} joined, which is enough. It starts when you sign the start."
            hint = "Nobody can join after it. When the join time is over, anyone may start it."
            offers.append(Offer("start", f"Start with {joined}", hint, primary=True))
        else:
            sentence = f"{people} of at least {task.min_participants} joined. Invite more, or wait."
    else:
        sentence = f"Round {task.current_round} of {task.rounds}. Nothing needs your signature."
    last = task.phase == Task.Phase.RUNNING and task.current_round == task.rounds
    if task.stopping:
        return "It ends with this round, as you have signed.", []
    if not last:
        hint = "Spread over the rounds after the running one; an approval first where one is due."
        offers.append(Offer("topUp", "Top up the pool", hint, asks=True))
        hint = "What is not earned comes back to you, stakes to those who staked."
        offers.append(Offer("cancel", "End the task", hint, danger=True))
    return sentence, offers


# --- the calls ------------------------------------------------------------------------------


def _fund(task: Task, address: str, options: Options) -> Built:
    if task.stage != Task.Stage.FUNDING or task.operator_account is not None:
        raise WrongStage(
            f"Task {task.pk} does not wait for a wallet: it is {task.get_stage_display().lower()}."
        )
    return _covered(task.pool, address) or (
        COORDINATOR,
        "createTask",
        [task_terms(task)],
        f"Create “{task.title}” with {amount(task.pool)} FLT in escrow",
    )


def _top_up(task: Task, address: str, options: Options) -> Built:
    if not 0 < options.amount < 2**96:
        raise InvalidTask(
            f"A top-up of {amount(options.amount)} FLT is outside 0 to 79,228,162,514 FLT.",
            field="amount",
        )
    return _covered(options.amount, address) or (
        COORDINATOR,
        "topUp",
        [_on_chain(task), options.amount],
        f"Add {amount(options.amount)} FLT to the pool of “{task.title}”",
    )


def _covered(wei: int, address: str) -> Built | None:
    """The approval that is due before the coordinator can take so much; None when it can."""
    coordinator = contract_address(COORDINATOR)
    if one(read_contract(TOKEN, "allowance", [address, coordinator])) >= wei:
        return None
    title = f"Allow the coordinator to take {amount(wei)} FLT"
    return TOKEN, "approve", [coordinator, wei], title


def _start(task: Task, address: str, options: Options) -> Built:
    return COORDINATOR, "start", [_on_chain(task)], f"Start “{task.title}”"


def _cancel(task: Task, address: str, options: Options) -> Built:
    return COORDINATOR, "cancel", [_on_chain(task)], f"End “{task.title}”"


def _on_chain(task: Task) -> int:
    if task.onchain_id is None:
        raise WrongStage(f"Task {task.pk} is not on chain yet; fund it first.")
    return task.onchain_id


BUILDERS: Mapping[str, Callable[[Task, str, Options], Built]] = {
    "fund": _fund,
    "start": _start,
    "topUp": _top_up,
    "cancel": _cancel,
}
