"""Rewards and stakes back to those who earned them."""

from __future__ import annotations

from chain.models import Account, OutgoingTransaction
from sessions_app import audit, publish
from sessions_app.access import require
from sessions_app.errors import NotAllowed, NothingToClaim
from sessions_app.models import Participant, Task, User
from sessions_app.rewards import reward_proof
from sessions_app.services.calls import chain_errors_as_ours, task_call
from sessions_app.services.tasks import FLT


@chain_errors_as_ours
def rewards_claim(*, task: Task, address: str, by: User) -> OutgoingTransaction:
    """Pay out all that a hosted participant has earned in a task so far, and after its end the
    stake with it. Anyone may send a claim; the contract pays the earner alone.
    """
    member = Participant.objects.select_related("task").filter(task=task, address=address).first()
    if member is None:
        raise NothingToClaim(f"{address} is not a participant of task {task.pk}.")
    require(by, "reward.claim", member)
    account = Account.objects.filter(address=address).first()
    if account is None:
        raise NotAllowed(
            f"The key of {address} is not held here. Its owner claims from their own wallet."
        )
    if task.is_finished:
        _stake_return(task, member, account)
    if member.earned <= member.claimed:
        raise NothingToClaim(
            f"{account.label} has claimed all of the {member.earned / FLT:,.4f} FLT it earned in "
            f"task {task.pk}."
        )
    cumulative = {m.address: m.earned for m in task.members.all()}
    assert task.onchain_id is not None  # it has members
    proof = reward_proof(task.onchain_id, cumulative, address)
    sent = task_call(
        task,
        account,
        "claim",
        [task.onchain_id, address, member.earned, proof],
        key=f"claim:{address}:{member.earned}",
        at_once=True,
    )
    audit.record(by, "reward.claim", task, {"address": address, "earned_wei": str(member.earned)})
    publish.task_changed(task.pk, ("participants",))
    return sent


def stakes_return(*, task: Task) -> None:
    """Give every hosted participant of an ended task its stake back."""
    accounts = {a.address: a for a in Account.objects.filter(seats__task=task)}
    for member in task.members.all():
        if member.address in accounts:
            _stake_return(task, member, accounts[member.address])


def _stake_return(task: Task, member: Participant, account: Account) -> None:
    if member.stake <= member.stake_returned or member.status != Participant.Status.ACTIVE:
        return
    task_call(
        task,
        account,
        "returnStake",
        [task.onchain_id, member.address],
        key=f"stake:{member.address}",
    )
