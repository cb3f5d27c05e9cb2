"""What a list of the ledger is narrowed to: read from the address, applied along an index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from django.db.models import Max, Min, QuerySet
from eth_utils.address import is_address, to_checksum_address

from chain.artifacts import NAMES as CONTRACTS
from chain.models import (
    Account,
    Block,
    Log,
    OutgoingStatus,
    OutgoingTransaction,
    Transaction,
)
from sessions_app.models import Task, TokenTransfer
from sessions_app.selectors.ledger.keyset import BadQuery
from sessions_app.selectors.ledger.values import abi_of

LARGEST = 2**63 - 1
RARE = 2_000  # transactions of one sender
STATUSES = {"succeeded": True, "reverted": False}


@dataclass(frozen=True)
class Filters:
    """Empty or None: not narrowed. ``address`` is checksummed, ``task`` our number of it."""

    event: str = ""
    contract: str = ""
    function: str = ""
    status: str = ""
    state: str = ""  # of the outbox
    address: str = ""
    who: str = ""  # what was typed for the address
    task: int | None = None
    onchain_task: int | None = None
    first: int | None = None
    last: int | None = None

    @property
    def query(self) -> str:
        """The same filters as the query part of an address, without cursors."""
        values = {
            "event": self.event,
            "contract": self.contract,
            "function": self.function,
            "status": self.status,
            "state": self.state,
            "address": self.who,
            "task": self.task,
            "from": self.first,
            "to": self.last,
        }
        return urlencode({name: v for name, v in values.items() if v not in ("", None)})

    def __bool__(self) -> bool:
        return bool(self.query)


@lru_cache(maxsize=8)
def names_in_abi(kind: str) -> dict[str, tuple[str, ...]]:
    """Contract -> names of its events, or of the functions that a transaction can call."""
    return {
        contract: tuple(
            sorted(
                item["name"]
                for item in abi_of(contract)
                if item["type"] == kind and item.get("stateMutability") not in ("view", "pure")
            )
        )
        for contract in CONTRACTS
    }


def read_filters(values: Mapping[str, str], network_id: int) -> Filters:
    """Raises BadQuery, which says what can be asked for instead."""
    task = _number(values.get("task", "").lstrip("#"), "Task")
    return Filters(
        event=_one_of(values.get("event", ""), "event"),
        contract=_contract(values.get("contract", "")),
        function=_one_of(values.get("function", ""), "function"),
        status=_status(values.get("status", "")),
        state=_state(values.get("state", "")),
        address=_address(values.get("address", "").strip()),
        who=values.get("address", "").strip(),
        task=task,
        onchain_task=_onchain(task, network_id),
        first=_number(values.get("from", ""), "From block"),
        last=_number(values.get("to", ""), "To block"),
    )


def blocks(network_id: int, filters: Filters) -> list[QuerySet[Block]]:
    return [_between(Block.objects.filter(network_id=network_id), filters, "number")]


def transactions(network_id: int, filters: Filters) -> list[QuerySet[Transaction]]:
    """One query for each way in which a row can fit, each along an index."""
    rows = _between(Transaction.objects.filter(network_id=network_id), filters)
    if filters.contract:
        rows = rows.filter(contract=filters.contract)
    if filters.function:
        rows = rows.filter(function=filters.function)
    if filters.status:
        rows = rows.filter(succeeded=STATUSES[filters.status])
    sources = [rows]
    if filters.task is not None:
        logs = Log.objects.filter(network_id=network_id, task_id=filters.onchain_task)
        sent = OutgoingTransaction.objects.filter(reference=f"task:{filters.task}")
        # The second finds what was reverted and left no log.
        sources = [
            rows.filter(pk__in=logs.order_by().values("transaction_id")),
            rows.filter(hash__in=sent.exclude(tx_hash="").values("tx_hash")),
        ]
    if filters.address:
        sources = [
            source.filter(**end)
            for source in sources
            for end in (
                {"from_address": filters.address},
                {"to_address": filters.address},
                {"to_address": "", "contract_address": filters.address},
            )
        ]
    return sources


def events(network_id: int, filters: Filters) -> list[QuerySet[Log]]:
    """Events of our contracts. With an address: those of transactions that it sent."""
    rows = _between(Log.objects.filter(network_id=network_id), filters)
    if filters.event:
        emitters = [c for c, names in names_in_abi("event").items() if filters.event in names]
        rows = rows.filter(contract__in=emitters, event=filters.event)
    else:
        rows = rows.exclude(event="")
    if filters.contract:
        rows = rows.filter(contract=filters.contract)
    if filters.task is not None:
        rows = rows.filter(task_id=filters.onchain_task)
    if filters.address:
        rows = _sent_by(rows, network_id, filters.address)
    return [rows.select_related("block", "transaction").defer("transaction__input")]


def _sent_by(rows: QuerySet[Log], network_id: int, address: str) -> QuerySet[Log]:
    """Logs of transactions that the address sent.

    Of a rare sender the transactions are named one by one; the logs of a frequent one lie close
    together in the order of the page, between its first and its last transaction.
    """
    sent = Transaction.objects.filter(network_id=network_id, from_address=address).order_by()
    some = list(sent.values_list("pk", flat=True)[: RARE + 1])
    if len(some) <= RARE:
        return rows.filter(transaction_id__in=some)
    ends = sent.aggregate(first=Min("block_number"), last=Max("block_number"))
    return rows.filter(
        transaction__from_address=address,
        block_number__gte=ends["first"],
        block_number__lte=ends["last"],
    )


def transfers(network_id: int, filters: Filters) -> list[QuerySet[TokenTransfer]]:
    rows = _between(TokenTransfer.objects.filter(network_id=network_id), filters)
    if filters.address:
        return [rows.filter(sender=filters.address), rows.filter(recipient=filters.address)]
    return [rows]


def _between(rows: QuerySet[Any], filters: Filters, column: str = "block_number") -> QuerySet[Any]:
    if filters.first is not None:
        rows = rows.filter(**{f"{column}__gte": filters.first})
    if filters.last is not None:
        rows = rows.filter(**{f"{column}__lte": filters.last})
    return rows


def _number(text: str, what: str) -> int | None:
    text = text.strip().replace(",", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= LARGEST):
        raise BadQuery(f"{what} “{text[:40]}” is not a whole number of 0 or more.")
    return int(text)


def _one_of(name: str, kind: str) -> str:
    known = {entry for names in names_in_abi(kind).values() for entry in names}
    if name and name not in known:
        raise BadQuery(f"Our contracts have no {kind} “{name[:60]}”. Choose one from the list.")
    return name


def _contract(name: str) -> str:
    if name and name not in CONTRACTS:
        raise BadQuery(f"“{name[:60]}” is none of our contracts: {', '.join(CONTRACTS)}.")
    return name


def _status(name: str) -> str:
    if name and name not in STATUSES:
        raise BadQuery(f"A transaction has {' or '.join(STATUSES)}; it has no “{name[:40]}”.")
    return name


def _state(name: str) -> str:
    if name and name not in OutgoingStatus.values:
        known = ", ".join(OutgoingStatus.values)
        raise BadQuery(f"The outbox knows {known}; it has no “{name[:40]}”.")
    return name


def _address(text: str) -> str:
    """An address in any case, or the name of someone we know."""
    if not text:
        return ""
    if is_address(text):
        return str(to_checksum_address(text))
    found = Account.objects.filter(label__iexact=text).values_list("address", flat=True).first()
    if found is None:
        raise BadQuery(
            f"“{text[:60]}” is neither an address (0x and 40 hex digits) nor a name known here."
        )
    return found


def _onchain(task: int | None, network_id: int) -> int | None:
    if task is None:
        return None
    row = Task.objects.filter(pk=task).values_list("onchain_id", "network_id").first()
    if row is None:
        raise BadQuery(f"There is no task {task}.")
    onchain_id, network = row
    return onchain_id if onchain_id is not None and network == network_id else -1
