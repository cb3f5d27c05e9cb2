"""The outbox as a list: what was asked for, where it stands, why it waits or failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse

from chain.models import OutgoingStatus, OutgoingTransaction
from sessions_app.formats import words
from sessions_app.models import Task
from sessions_app.selectors.ledger.filters import Filters
from sessions_app.selectors.ledger.rows import chain_id
from sessions_app.selectors.ledger.values import (
    Known,
    Shown,
    TaskLink,
    decoded_input,
    error_inputs,
    find_item,
    shown_arguments,
    shown_plain,
)
from sessions_app.selectors.people.people import Party, names_of
from sessions_app.selectors.task.events import addresses_in

_TONES = {
    OutgoingStatus.QUEUED: "wait",
    OutgoingStatus.SENT: "run",
    OutgoingStatus.CONFIRMED: "ok",
    OutgoingStatus.FAILED: "bad",
    OutgoingStatus.CANCELLED: "",
}
LABELS = {
    OutgoingStatus.QUEUED: "Waiting",
    OutgoingStatus.SENT: "Sent",
    OutgoingStatus.CONFIRMED: "Mined",
    OutgoingStatus.FAILED: "Failed",
    OutgoingStatus.CANCELLED: "Cancelled",
}
RETRIABLE = (OutgoingStatus.FAILED, OutgoingStatus.CANCELLED)


@dataclass(frozen=True)
class OutgoingRow:
    """``cause`` is why it waits or failed, ``error`` the arguments of the contract's error."""

    pk: int
    call: str
    sender: Party
    label: str
    tone: str
    tx_hash: str
    block_number: int | None
    nonce: int | None
    attempts: int
    gas_used: int | None
    fee: int | None
    queued_at: datetime
    cause: str
    args: Sequence[Shown]
    error: Sequence[Shown]
    task: TaskLink | None
    task_row: Task | None  # whose operator may retry it
    retriable: bool

    @property
    def retry_url(self) -> str:
        return reverse("outgoing-retry", args=(self.pk,))


def outgoing(network_id: int, filters: Filters) -> list[QuerySet[OutgoingTransaction]]:
    rows = OutgoingTransaction.objects.filter(network_id=network_id)
    if filters.state:
        rows = rows.filter(status=filters.state)
    if filters.contract:
        rows = rows.filter(contract=filters.contract)
    if filters.function:
        rows = rows.filter(function=filters.function)
    if filters.task is not None:
        rows = rows.filter(reference=f"task:{filters.task}")
    if filters.address:
        rows = rows.filter(account__address=filters.address)
    return [rows.select_related("account").defer("raw_transaction")]


def outgoing_rows(
    rows: Sequence[OutgoingTransaction], network_id: int, _: Filters
) -> list[OutgoingRow]:
    """Two queries more than the rows."""
    by_task = {pk: task_of(row) for row in rows if (pk := row.pk)}
    tasks = Task.objects.select_related("owner").in_bulk({pk for pk in by_task.values() if pk})
    mentioned = {row.account.address for row in rows} | {row.to for row in rows if row.to}
    mentioned = mentioned.union(*(addresses_in(_arguments(row)) for row in rows))
    links = {
        task.onchain_id: TaskLink(task.pk, task.title)
        for task in tasks.values()
        if task.onchain_id is not None and task.network_id == network_id
    }
    known = Known(names_of(mentioned, chain_id()), links)
    return [_row(row, known, tasks.get(by_task[row.pk] or 0)) for row in rows]


def task_of(row: OutgoingTransaction) -> int | None:
    """The key of the task that asked for it; None for what belongs to no task."""
    kind, _, number = row.reference.partition(":")
    return int(number) if kind == "task" and number.isdigit() else None


def _arguments(row: OutgoingTransaction) -> dict[str, Any]:
    decoded = decoded_input(row.contract, row.data)
    return decoded[1] if decoded else {}


def _row(row: OutgoingTransaction, known: Known, task: Task | None) -> OutgoingRow:
    status = OutgoingStatus(row.status)
    item = find_item(row.contract, "function", row.function) if row.function else None
    named = _arguments(row)
    return OutgoingRow(
        pk=row.pk,
        call=words(row.function) if row.function else "transfer ETH",
        sender=known.names.party(row.account.address),
        label=LABELS[status],
        tone=_TONES[status],
        tx_hash=row.tx_hash,
        block_number=row.block_number,
        nonce=row.nonce,
        attempts=row.attempts,
        gas_used=row.gas_used,
        fee=row.fee,
        queued_at=row.queued_at,
        cause=row.error,
        args=shown_arguments(item["inputs"], named, known) if item else shown_plain(named),
        error=shown_arguments(error_inputs(row.error_name), row.error_args, known),
        task=TaskLink(task.pk, task.title) if task else None,
        task_row=task,
        retriable=status in RETRIABLE,
    )
