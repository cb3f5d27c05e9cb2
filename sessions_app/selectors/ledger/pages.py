"""The chain as a book: blocks, transactions, addresses. What a hash on any page leads to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.urls import reverse

from chain.artifacts import load
from chain.calls import decode_call
from chain.errors import NotDeployed
from chain.models import Account, Block, Log, OutgoingTransaction, Transaction
from sessions_app.formats import words
from sessions_app.models import Participant, Round, Task, TokenBalance, TokenTransfer, Update
from sessions_app.selectors.events import addresses_in, event_line
from sessions_app.selectors.people import ZERO_ADDRESS, Names, Party, names_of

BLOCKS = 20
EVENTS = 20
TRANSFERS = 50


@dataclass(frozen=True)
class EventRow:
    tone: str
    text: str
    name: str
    contract: str
    tx_hash: str
    block_number: int
    block_time: int
    log_index: int
    args: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class TransactionRow:
    hash: str
    function: str
    sender: Party
    recipient: Party | None
    succeeded: bool
    gas_used: int
    fee: int
    block_number: int


@dataclass(frozen=True)
class LedgerHome:
    blocks: Sequence[Block]
    events: Sequence[EventRow]
    next_before: int | None


@dataclass(frozen=True)
class BlockPage:
    block: Block
    transactions: Sequence[TransactionRow]
    has_next: bool


@dataclass(frozen=True)
class TransactionPage:
    transaction: Transaction
    block: Block
    sender: Party
    recipient: Party | None
    title: str
    call: Sequence[tuple[str, str]]
    logs: Sequence[EventRow]
    outgoing: OutgoingTransaction | None
    task: Task | None


@dataclass(frozen=True)
class TransferRow:
    incoming: bool
    other: Party
    amount: int
    tx_hash: str
    block_number: int


@dataclass(frozen=True)
class AddressPage:
    party: Party
    balance: int | None
    transfers: Sequence[TransferRow]
    more_transfers: bool
    transactions: Sequence[TransactionRow]
    tasks: Sequence[tuple[Task, Participant]]
    known: bool
    supply: bool  # the zero address


def chain_id() -> int:
    return int(settings.NETWORKS[settings.CHAIN_NETWORK]["chain_id"])


def ledger_home(before: int | None = None) -> LedgerHome:
    """Three queries."""
    blocks = Block.objects.filter(network__chain_id=chain_id())
    logs = Log.objects.filter(network__chain_id=chain_id()).exclude(event="")
    if before is not None:
        blocks = blocks.filter(number__lt=before)
        logs = logs.filter(block_number__lt=before)
    shown = list(blocks.order_by("-number")[: BLOCKS + 1])
    found = list(
        logs.select_related("block", "transaction").order_by("-block_number", "-log_index")[:EVENTS]
    )
    return LedgerHome(
        blocks=shown[:BLOCKS],
        events=_event_rows(found, _names_in(found)),
        next_before=shown[BLOCKS - 1].number if len(shown) > BLOCKS else None,
    )


def block_page(number: int) -> BlockPage:
    """Raises Block.DoesNotExist."""
    block = Block.objects.get(network__chain_id=chain_id(), number=number)
    transactions = list(block.transactions.order_by("index"))
    return BlockPage(
        block,
        _transaction_rows(transactions),
        Block.objects.filter(network_id=block.network_id, number=number + 1).exists(),
    )


def transaction_page(tx_hash: str) -> TransactionPage:
    """Raises Transaction.DoesNotExist."""
    row = Transaction.objects.select_related("block").get(
        network__chain_id=chain_id(), hash=tx_hash
    )
    logs = list(row.logs.select_related("block", "transaction").order_by("log_index"))
    call = _decoded_call(row)
    sent = OutgoingTransaction.objects.filter(tx_hash=tx_hash).select_related("account").first()
    mentioned = {row.from_address, row.to_address, row.contract_address} | addresses_in(call)
    names = names_of(mentioned.union(*(addresses_in(log.args) for log in logs)), chain_id())
    task_ids = {log.task_id for log in logs if log.task_id is not None}
    reference = sent.reference.split(":") if sent else []
    if len(reference) == 2 and reference[0] == "task" and reference[1].isdigit():
        task = Task.objects.filter(pk=int(reference[1])).first()
    else:
        task = Task.objects.filter(
            network_id=row.network_id, onchain_id__in=task_ids or {-1}
        ).first()
    target = row.to_address or row.contract_address
    title = words(row.function).capitalize() if row.function else "Contract creation"
    if not row.function and row.to_address:
        title = "Transfer of ETH" if row.input in ("0x", "") else "Call"
    return TransactionPage(
        transaction=row,
        block=row.block,
        sender=names.party(row.from_address),
        recipient=names.party(target) if target else None,
        title=title,
        call=_readable(call, names),
        logs=_event_rows(logs, names),
        outgoing=sent,
        task=task,
    )


def address_page(address: str) -> AddressPage:
    """Eight queries. Knows every address: one never seen has an empty page."""
    account = Account.objects.filter(address__iexact=address).first()
    if account is not None:
        address = account.address
    transfers = list(
        TokenTransfer.objects.filter(
            Q(sender=address) | Q(recipient=address), network__chain_id=chain_id()
        ).order_by("-block_number", "-log_index")[: TRANSFERS + 1]
    )
    transactions = list(
        Transaction.objects.filter(
            Q(from_address=address) | Q(to_address=address) | Q(contract_address=address),
            network__chain_id=chain_id(),
        ).order_by("-block_number", "-index")[:EVENTS]
    )
    balance = TokenBalance.objects.filter(network__chain_id=chain_id(), address=address).first()
    members = list(
        Participant.objects.filter(address=address).select_related("task").order_by("-task_id")[:20]
    )
    names = names_of(
        {address} | {end for t in transfers for end in (t.sender, t.recipient)}, chain_id()
    )
    party = names.party(address)
    return AddressPage(
        party=party,
        balance=balance.balance if balance else None,
        transfers=[
            TransferRow(
                t.recipient == address,
                names.party(t.sender if t.recipient == address else t.recipient),
                t.amount,
                t.tx_hash,
                t.block_number,
            )
            for t in transfers[:TRANSFERS]
        ],
        more_transfers=len(transfers) > TRANSFERS,
        transactions=_transaction_rows(transactions),
        tasks=[(m.task, m) for m in members],
        known=bool(party.kind or transfers or transactions or members),
        supply=address == ZERO_ADDRESS,
    )


def find(query: str) -> str:
    """The page that a typed hash, address, block or task number leads to; "" when none does."""
    text = query.strip().lower().lstrip("#").replace(",", "")
    if text.isdigit():
        number = int(text)
        if query.strip().startswith("#") and Task.objects.filter(pk=number).exists():
            return reverse("task", args=(number,))
        if Block.objects.filter(network__chain_id=chain_id(), number=number).exists():
            return reverse("block", args=(number,))
        if Task.objects.filter(pk=number).exists():
            return reverse("task", args=(number,))
        return ""
    if len(text) == 42 and text.startswith("0x"):
        return reverse("address", args=(query.strip(),))
    if len(text) == 66 and text.startswith("0x"):
        return _find_hash(text)
    named = Task.objects.filter(title__icontains=query.strip()).first() if query.strip() else None
    return reverse("task", args=(named.pk,)) if named else ""


def _find_hash(value: str) -> str:
    if Transaction.objects.filter(hash=value).exists():
        return reverse("transaction", args=(value,))
    block = Block.objects.filter(hash=value).first()
    if block is not None:
        return reverse("block", args=(block.number,))
    task = Task.objects.filter(
        Q(config_hash=value) | Q(model_hash=value) | Q(initial_model_hash=value)
    ).first()
    if task is not None:
        return reverse("task", args=(task.pk,))
    round_ = Round.objects.filter(Q(model_hash=value) | Q(reward_root=value)).first()
    if round_ is not None:
        return reverse("task", args=(round_.task_id,)) + "#rounds"
    update = Update.objects.filter(update_hash=value).first()
    return reverse("transaction", args=(update.tx_hash,)) if update else ""


def _decoded_call(row: Transaction) -> Mapping[str, Any]:
    """Named arguments of a call to one of our contracts; empty for any other."""
    if not row.contract or not row.to_address:
        return {}
    try:
        decoded = decode_call(load(row.contract).abi, bytes.fromhex(row.input[2:]))
    except (NotDeployed, ValueError):
        return {}
    return decoded[1] if decoded else {}


def _readable(args: Mapping[str, Any], names: Names) -> list[tuple[str, str]]:
    rows = []
    for name, value in args.items():
        if isinstance(value, Mapping):
            rows += [(f"{name}.{inner}", text) for inner, text in _readable(value, names)]
        else:
            rows.append((name, _value_text(value, names)))
    return rows


def _value_text(value: Any, names: Names) -> str:
    if isinstance(value, str) and len(value) == 42 and value.startswith("0x"):
        party = names.party(value)
        return f"{party.name} ({value})" if party.kind else value
    if isinstance(value, (list, tuple)):
        return ", ".join(_value_text(entry, names) for entry in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) else json.dumps(value)


def _names_in(logs: Sequence[Log]) -> Names:
    found: set[str] = set()
    return names_of(found.union(*(addresses_in(log.args) for log in logs)), chain_id())


def _event_rows(logs: Sequence[Log], names: Names) -> list[EventRow]:
    rows = []
    for log in logs:
        tone, text = (
            event_line(log.event, log.args, names) if log.event else ("", "Log of another contract")
        )
        rows.append(
            EventRow(
                tone=tone,
                text=text,
                name=log.event or "unknown",
                contract=log.contract,
                tx_hash=log.transaction.hash,
                block_number=log.block_number,
                block_time=log.block.timestamp,
                log_index=log.log_index,
                args=_readable(log.args, names),
            )
        )
    return rows


def _transaction_rows(transactions: Sequence[Transaction]) -> list[TransactionRow]:
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
            gas_used=t.gas_used,
            fee=t.fee,
            block_number=t.block_number,
        )
        for t in transactions
    ]
