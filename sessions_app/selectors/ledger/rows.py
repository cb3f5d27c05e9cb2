"""Rows of the ledger's tables, with the names of everybody in them looked up at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings

from chain.models import Log, Network, Transaction
from sessions_app.formats import words
from sessions_app.models import TokenTransfer
from sessions_app.selectors.ledger.values import (
    Known,
    Shown,
    TaskLink,
    find_item,
    shown_arguments,
    shown_plain,
    task_links,
)
from sessions_app.selectors.people.people import Names, Party, names_of
from sessions_app.selectors.task.events import addresses_in, event_line


@dataclass(frozen=True)
class EventRow:
    tone: str
    text: str
    name: str
    contract: str
    address: str
    tx_hash: str
    block_number: int
    block_time: int
    log_index: int
    args: Sequence[Shown] = ()
    task: TaskLink | None = None
    topics: Sequence[str] = ()
    data: str = ""


@dataclass(frozen=True)
class TransactionRow:
    hash: str
    function: str
    sender: Party
    recipient: Party | None
    succeeded: bool
    error_name: str
    gas_used: int
    fee: int
    block_number: int
    block_time: int | None


@dataclass(frozen=True)
class TransferRow:
    """``incoming``: seen from the address whose page it is on; None on other pages."""

    sender: Party
    recipient: Party
    amount: int
    tx_hash: str
    block_number: int
    incoming: bool | None = None

    @property
    def other(self) -> Party:
        return self.sender if self.incoming else self.recipient


def chain_id() -> int:
    return int(settings.NETWORKS[settings.CHAIN_NETWORK]["chain_id"])


def network_id() -> int:
    """The key of the network's row; 0, which no row has, before anything was read.

    Filtering by it, without a join, lets an index give rows in their order.
    """
    return Network.objects.filter(chain_id=chain_id()).values_list("pk", flat=True).first() or 0


def known_in(logs: Sequence[Log], network: int, *others: str) -> Known:
    """Everyone and every task that these logs name: two queries."""
    found = set(others).union(*(addresses_in(log.args) for log in logs))
    tasks = {log.task_id for log in logs if log.task_id is not None}
    return Known(names_of(found, chain_id()), task_links(network, tasks))


def event_rows(logs: Sequence[Log], known: Known, *, raw: bool = False) -> list[EventRow]:
    """`block` and `transaction` of the logs should be select_related."""
    return [_event_row(log, known, raw) for log in logs]


def transaction_rows(
    transactions: Sequence[Transaction], *, times: bool = False
) -> list[TransactionRow]:
    """One query. ``times``: their blocks are select_related."""
    ends = {end for t in transactions for end in (t.from_address, t.to_address, t.contract_address)}
    names = names_of(ends, chain_id())
    return [
        TransactionRow(
            hash=t.hash,
            function=words(t.function) if t.function else ("call" if t.to_address else "create"),
            sender=names.party(t.from_address),
            recipient=names.party(t.to_address or t.contract_address)
            if (t.to_address or t.contract_address)
            else None,
            succeeded=t.succeeded,
            error_name=t.error_name,
            gas_used=t.gas_used,
            fee=t.fee,
            block_number=t.block_number,
            block_time=t.block.timestamp if times else None,
        )
        for t in transactions
    ]


def transfer_rows(
    transfers: Sequence[TokenTransfer], names: Names, *, of: str = ""
) -> list[TransferRow]:
    return [
        TransferRow(
            names.party(t.sender),
            names.party(t.recipient),
            t.amount,
            t.tx_hash,
            t.block_number,
            t.recipient == of if of else None,
        )
        for t in transfers
    ]


def names_in_transfers(transfers: Sequence[TokenTransfer], *others: str) -> Names:
    ends = {end for t in transfers for end in (t.sender, t.recipient)}
    return names_of(ends | set(others), chain_id())


def _event_row(log: Log, known: Known, raw: bool) -> EventRow:
    item = find_item(log.contract, "event", log.event) if log.event else None
    tone, text = (
        event_line(log.event, log.args, known.names)
        if log.event
        else ("", "Log of another contract")
    )
    return EventRow(
        tone=tone,
        text=text,
        name=log.event or "unknown",
        contract=log.contract,
        address=log.address,
        tx_hash=log.transaction.hash,
        block_number=log.block_number,
        block_time=log.block.timestamp,
        log_index=log.log_index,
        args=shown_arguments(item["inputs"], log.args, known) if item else shown_plain(log.args),
        task=known.tasks.get(log.task_id) if log.task_id is not None else None,
        topics=log.topics if raw else (),
        data=log.data if raw else "",
    )
