"""One transaction, and one block: everything that was asked, done, moved and paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.urls import reverse

from chain.artifacts import load
from chain.calls import decode_arguments
from chain.errors import NotDeployed
from chain.models import Block, OutgoingTransaction, Transaction
from sessions_app.formats import words
from sessions_app.models import Participant, Round, Task, TokenTransfer, Update
from sessions_app.selectors.ledger.rows import (
    EventRow,
    TransactionRow,
    TransferRow,
    chain_id,
    event_rows,
    network_id,
    transaction_rows,
    transfer_rows,
)
from sessions_app.selectors.ledger.values import (
    Known,
    Shown,
    decoded_input,
    error_inputs,
    find_item,
    shown_arguments,
    task_links,
)
from sessions_app.selectors.people.people import Party, names_of
from sessions_app.selectors.task.events import addresses_in

UPDATES_SHOWN = 20


@dataclass(frozen=True)
class BlockPage:
    block: Block
    transactions: Sequence[TransactionRow]
    has_next: bool


@dataclass(frozen=True)
class Made:
    """Something of ours that came to be in a transaction."""

    text: str
    url: str


@dataclass(frozen=True)
class TransactionPage:
    transaction: Transaction
    block: Block
    sender: Party
    recipient: Party | None
    title: str
    signature: str
    call: Sequence[Shown]
    error: Sequence[Shown]
    logs: Sequence[EventRow]
    transfers: Sequence[TransferRow]
    made: Sequence[Made]
    outgoing: OutgoingTransaction | None
    task: Task | None

    @property
    def gas_share(self) -> float:
        """Gas used of the limit, 0 to 1."""
        return self.transaction.gas_used / max(self.transaction.gas_limit, 1)


def block_page(number: int) -> BlockPage:
    """Raises Block.DoesNotExist."""
    block = Block.objects.get(network_id=network_id(), number=number)
    transactions = list(block.transactions.defer("input").order_by("index"))
    return BlockPage(
        block,
        transaction_rows(transactions),
        Block.objects.filter(network_id=block.network_id, number=number + 1).exists(),
    )


def transaction_page(tx_hash: str) -> TransactionPage:
    """Raises Transaction.DoesNotExist."""
    row = Transaction.objects.select_related("block").get(network_id=network_id(), hash=tx_hash)
    logs = list(row.logs.select_related("block", "transaction").order_by("log_index"))
    transfers = list(TokenTransfer.objects.filter(log__in=logs).order_by("log_index"))
    signature, inputs, args = _call(row)
    error_args = row.error_args
    sent = OutgoingTransaction.objects.filter(tx_hash=tx_hash).select_related("account").first()
    mentioned = {row.from_address, row.to_address, row.contract_address}
    mentioned |= addresses_in(args) | addresses_in(error_args)
    mentioned = mentioned.union(*(addresses_in(log.args) for log in logs))
    task_ids = {log.task_id for log in logs if log.task_id is not None}
    task_ids |= {v for a in (args, error_args) if isinstance(v := a.get("taskId"), int)}
    known = Known(names_of(mentioned, chain_id()), task_links(row.network_id, task_ids))
    target = row.to_address or row.contract_address
    title = words(row.function).capitalize() if row.function else "Contract creation"
    if row.function == "constructor":
        title = f"Creation of {row.contract}"
    elif not row.function and row.to_address:
        title = "Transfer of ETH" if row.input in ("0x", "") else "Call"
    return TransactionPage(
        transaction=row,
        block=row.block,
        sender=known.names.party(row.from_address),
        recipient=known.names.party(target) if target else None,
        title=title,
        signature=signature,
        call=shown_arguments(inputs, args, known),
        error=shown_arguments(error_inputs(row.error_name), error_args, known),
        logs=event_rows(logs, known, raw=True),
        transfers=transfer_rows(transfers, known.names),
        made=_made(row),
        outgoing=sent,
        task=_task(row, sent, task_ids),
    )


def _task(row: Transaction, sent: OutgoingTransaction | None, onchain: set[int]) -> Task | None:
    reference = sent.reference.split(":") if sent else []
    if len(reference) == 2 and reference[0] == "task" and reference[1].isdigit():
        return Task.objects.filter(pk=int(reference[1])).first()
    return Task.objects.filter(network_id=row.network_id, onchain_id__in=onchain or {-1}).first()


def _call(row: Transaction) -> tuple[str, Sequence[Mapping[str, Any]], dict[str, Any]]:
    """(`name(types)`, inputs, arguments) of a call of ours or a creation; empty for any other."""
    if not row.contract:
        return "", (), {}
    if not row.to_address:
        return _creation(row)
    decoded = decoded_input(row.contract, row.input)
    if decoded is None:
        return "", (), {}
    name, args = decoded
    item = find_item(row.contract, "function", name)
    if item is None:
        return "", (), {}
    return f"{row.contract}.{name}", item["inputs"], args


def _creation(row: Transaction) -> tuple[str, Sequence[Mapping[str, Any]], dict[str, Any]]:
    """The constructor's arguments follow the code, when the code is that of the build."""
    try:
        built = load(row.contract)
    except NotDeployed:
        return "", (), {}
    inputs = built.constructor["inputs"]
    if not row.input.startswith(built.bytecode):
        return f"{row.contract}.constructor", (), {}
    data = bytes.fromhex(row.input[len(built.bytecode) :])
    return f"{row.contract}.constructor", inputs, decode_arguments(inputs, data)


def _made(row: Transaction) -> list[Made]:
    """Back from the transaction to the task, rounds, members and updates it made."""
    made: list[Made] = []
    on = {"task__network_id": row.network_id}
    for task in Task.objects.filter(network_id=row.network_id, created_tx=row.hash):
        made.append(Made(f"Task {task.title}", reverse("task", args=(task.pk,))))
    at = Q(opened_tx=row.hash) | Q(finalized_tx=row.hash)
    blocks = Q(opened_block=row.block_number) | Q(finalized_block=row.block_number)
    for round_ in Round.objects.filter(at & blocks, **on).select_related("task"):
        done = "final" if round_.finalized_tx == row.hash else "opened"
        made.append(
            Made(
                f"Round {round_.number} {done}, {round_.task.title}",
                reverse("task", args=(round_.task_id,)) + "#rounds",
            )
        )
    members = Participant.objects.filter(joined_block=row.block_number, joined_tx=row.hash, **on)
    for member in members.select_related("task"):
        made.append(
            Made(
                f"Seat {member.index} in {member.task.title}",
                reverse("task", args=(member.task_id,)) + "#participants",
            )
        )
    updates = Update.objects.filter(
        tx_hash=row.hash, block_number=row.block_number, round__task__network_id=row.network_id
    ).select_related("round__task", "participant")
    for update in updates[:UPDATES_SHOWN]:
        made.append(
            Made(
                f"Update of member {update.participant.index} for round {update.round.number}, "
                f"{update.round.task.title}",
                reverse("task", args=(update.round.task_id,)) + "#participants",
            )
        )
    return made
