"""Signed updates of several participants in one transaction: `submitUpdatesBySig`.

Whoever signs needs no ETH; the task's operator pays the gas. Nobody depends on it: a participant
may submit directly at any time.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from chain.models import OutgoingTransaction
from chain.selectors import contract_address
from chain.typed import UpdateMessage, pack_updates
from sessions_app import publish
from sessions_app.access import require
from sessions_app.errors import BcflError, WrongStage
from sessions_app.models import Participant, Round, SignedUpdate, Task, User
from sessions_app.services.calls import task_call

PATIENCE = timedelta(seconds=2)  # for others to sign too, after the first signature
BATCH = 50


class SignatureRefused(BcflError):
    """The signature is not the participant's for this very update."""


def signed_update_add(
    *,
    task: Task,
    round_number: int,
    address: str,
    by: User,
    update_hash: str,
    samples: int,
    signature: str,
) -> SignedUpdate:
    """Take a signed update to relay; the same again changes nothing.

    Raises NotAllowed, WrongStage (round, member, no relayer), SignatureRefused.
    """
    member = task.members.filter(address=address).first()
    if member is None:
        raise WrongStage(f"{address} has not joined task {task.pk}. Join, then try again.")
    require(by, "update.upload", member)
    if task.operator_account is None:
        raise WrongStage(
            f"Nobody relays for task {task.pk}: its operator's key is not held here. Submit the "
            "update directly."
        )
    round_ = task.round_set.filter(number=round_number).first()
    if round_ is None or round_.phase != Round.Phase.UPDATES or task.is_finished:
        raise WrongStage(f"Round {round_number} of task {task.pk} takes no updates now.")
    if not 1 <= samples <= member.samples_cap:
        raise SignatureRefused(
            f"{samples} samples, but {address} joined with at most {member.samples_cap}."
        )
    assert task.onchain_id is not None
    assert task.network is not None
    message = UpdateMessage(
        chain_id=task.network.chain_id,
        coordinator=contract_address("FLCoordinator"),
        task_id=task.onchain_id,
        round=round_number,
        update_hash=update_hash,
        samples=samples,
    )
    signer = message.signer(signature)
    if signer != address:
        raise SignatureRefused(
            f"The signature is {signer or 'nobody'}'s, not {address}'s, for update {update_hash} "
            f"of {samples} samples in round {round_number}. Sign these very values on this chain."
        )
    with transaction.atomic():
        row, _ = SignedUpdate.objects.update_or_create(
            task=task,
            round_number=round_number,
            address=address,
            defaults={
                "update_hash": update_hash,
                "samples": samples,
                "signature": signature,
                "sent_with": None,
            },
        )
        publish.task_wake(task.pk)
    return row


def relay_signed(task: Task, round_: Round, active: list[Participant]) -> None:
    """Send what was signed: when all who are awaited have, or the first has waited PATIENCE."""
    if task.operator_account is None:
        return
    submitted = set(round_.updates.values_list("participant__address", flat=True))
    awaited = {m.address: m for m in active if m.address not in submitted}
    signed = [
        row
        for row in SignedUpdate.objects.filter(task=task, round_number=round_.number)
        .select_related("sent_with")
        .order_by("created_at")
        if row.address in awaited and not _under_way(row)
    ]
    if not signed:
        return
    if len(signed) < len(awaited) and timezone.now() - signed[0].created_at < PATIENCE:
        return
    batch = sorted(signed[:BATCH], key=lambda row: awaited[row.address].index)
    packed = pack_updates([(awaited[r.address].index, r.update_hash, r.samples) for r in batch])
    signatures = "0x" + "".join(row.signature.removeprefix("0x") for row in batch)
    mark = hashlib.sha256((packed + signatures).encode()).hexdigest()[:8]
    sent = task_call(
        task,
        task.operator_account,
        "submitUpdatesBySig",
        [task.onchain_id, round_.number, packed, signatures],
        key=f"round:{round_.number}:relay:{mark}",
    )
    SignedUpdate.objects.filter(pk__in=[row.pk for row in batch]).update(sent_with=sent)


def _under_way(row: SignedUpdate) -> bool:
    """A refused batch is sent again by `task_call`, as long as it is due."""
    sent = row.sent_with
    return sent is not None and sent.status != OutgoingTransaction.Status.FAILED
