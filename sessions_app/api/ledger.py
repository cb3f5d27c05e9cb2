"""The chain as a book: blocks, transactions, events, transfers, holders, what we sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from django.db.models import QuerySet
from django.http import HttpRequest
from eth_utils.address import is_address, to_checksum_address
from ninja import Field, Path, Query, Schema

from chain.artifacts import NAMES
from chain.models import Block, OutgoingTransaction, Transaction
from sessions_app.api.base import Address, Hash, Key, Page, area, not_found, user_of
from sessions_app.api.ledger_shapes import (
    AddressOut,
    BlockDetail,
    BlockOut,
    CodeOut,
    ContractDetail,
    ContractOut,
    HolderOut,
    LogOut,
    OutgoingOut,
    SearchOut,
    TransactionDetail,
    TransactionOut,
    TransferOut,
    ValueOut,
    block_out,
    contract_out,
    holder_out,
    log_out,
    outgoing_out,
    transaction_out,
    transfer_out,
    value_out,
)
from sessions_app.api.task_shapes import CallOut, call_out, wei
from sessions_app.models import TokenTransfer
from sessions_app.selectors import ledger as read
from sessions_app.selectors.ledger import contract as contracts_read
from sessions_app.selectors.ledger.keyset import page_of
from sessions_app.selectors.ledger.lists import LISTS
from sessions_app.services.outbox import outgoing_retry

router = area("Ledger")


class LedgerQuery(Schema):
    """Not each list can be narrowed by everything; what does not apply is ignored."""

    limit: int = Field(50, ge=1, le=200)
    cursor: str = Field("", max_length=200, description="`next` of the page before: older rows.")
    after: str = Field("", max_length=200, description="`newest` of a page: newer rows.")
    contract: str = Field("", max_length=60)
    function: str = Field("", max_length=80)
    event: str = Field("", max_length=80)
    status: Literal["", "succeeded", "reverted"] = ""
    state: Literal["", "queued", "sent", "confirmed", "failed", "cancelled"] = ""
    task: int | None = Field(None, ge=1, le=2**53)
    address: str = Field("", max_length=42)
    from_block: int | None = Field(None, ge=0, le=2**53)
    to_block: int | None = Field(None, ge=0, le=2**53)


class LedgerPage(Page[Any]):
    newest: str = Field(description="Ask with `after` = this for newer rows.")


def _page(kind: str, shape: Callable[[Any], dict[str, Any]], query: LedgerQuery) -> dict[str, Any]:
    network = read.network_id()
    given = {
        "contract": query.contract,
        "function": query.function,
        "event": query.event,
        "status": query.status,
        "state": query.state,
        "address": query.address,
        "task": "" if query.task is None else str(query.task),
        "from": "" if query.from_block is None else str(query.from_block),
        "to": "" if query.to_block is None else str(query.to_block),
    }
    filters = read.read_filters(given, network)
    listing = LISTS[kind]
    sources: Sequence[QuerySet[Any]] = listing.sources(network, filters)
    found = page_of(
        sources, listing.order, before=query.cursor, after=query.after, size=query.limit
    )
    return {
        "items": [shape(row) for row in found.rows],
        "next": found.older or None,
        "newest": found.newest,
    }


LedgerIn = Query[LedgerQuery]


class BlockPage(LedgerPage):
    items: list[BlockOut]


class TransactionPage(LedgerPage):
    items: list[TransactionOut]


class LogPage(LedgerPage):
    items: list[LogOut]


class TransferPage(LedgerPage):
    items: list[TransferOut]


class HolderPage(LedgerPage):
    items: list[HolderOut]


class OutgoingPage(LedgerPage):
    items: list[OutgoingOut]


@router.get("/blocks", response=BlockPage, summary="Blocks, newest first")
def ledger_blocks(request: HttpRequest, query: LedgerIn) -> dict[str, Any]:
    """Narrowed by from_block, to_block."""
    user_of(request)
    return _page("blocks", block_out, query)


@router.get("/blocks/{number}", response=BlockDetail, summary="One block")
def ledger_block(request: HttpRequest, number: int) -> dict[str, Any]:
    """With the hashes of its transactions."""
    user_of(request)
    block = None
    if 0 <= number < 2**53:
        block = Block.objects.filter(network_id=read.network_id(), number=number).first()
    if block is None:
        raise not_found(f"Block {number} has not been read. It may not be mined yet.")
    hashes = block.transactions.order_by("index").values_list("hash", flat=True)
    return {**block_out(block), "hashes": list(hashes)}


@router.get("/transactions", response=TransactionPage, summary="Transactions, newest first")
def ledger_transactions(request: HttpRequest, query: LedgerIn) -> dict[str, Any]:
    """Narrowed by contract, function, status, task, address, from_block, to_block."""
    user_of(request)
    return _page("transactions", transaction_out, query)


@router.get("/transactions/{tx_hash}", response=TransactionDetail, summary="One transaction")
def ledger_transaction(request: HttpRequest, tx_hash: Path[Hash]) -> dict[str, Any]:
    """What was asked, done, moved and paid."""
    user_of(request)
    try:
        page = read.transaction_page(tx_hash)
    except Transaction.DoesNotExist as error:
        raise not_found(
            f"Transaction {tx_hash} has not been read from this chain. It may still be waiting "
            "to be mined, or belong to another network."
        ) from error
    row = page.transaction
    logs = row.logs.select_related("block", "transaction").order_by("log_index")
    transfers = TokenTransfer.objects.filter(log__transaction=row).order_by("log_index")
    return {
        **transaction_out(row),
        "title": page.title,
        "signature": page.signature,
        "call": [value_out(value) for value in page.call],
        "error_values": [value_out(value) for value in page.error],
        "events": [log_out(log) for log in logs],
        "transfers": [transfer_out(moved) for moved in transfers],
        "task": page.task.pk if page.task else None,
        "input": row.input,
    }


@router.get("/events", response=LogPage, summary="Logs of contracts, newest first")
def ledger_events(request: HttpRequest, query: LedgerIn) -> dict[str, Any]:
    """Narrowed by contract, event, task, address, from_block, to_block."""
    user_of(request)
    return _page("events", log_out, query)


@router.get("/transfers", response=TransferPage, summary="Transfers of FLT, newest first")
def ledger_transfers(request: HttpRequest, query: LedgerIn) -> dict[str, Any]:
    """Narrowed by address, from_block, to_block."""
    user_of(request)
    return _page("transfers", transfer_out, query)


@router.get("/holders", response=HolderPage, summary="Holders of FLT, largest first")
def ledger_holders(request: HttpRequest, query: LedgerIn) -> dict[str, Any]:
    """The zero address, from which all was minted, is left out."""
    user_of(request)
    return _page("holders", holder_out, query)


@router.get("/outbox", response=OutgoingPage, summary="What the console sends, newest first")
def ledger_outbox(request: HttpRequest, query: LedgerIn) -> dict[str, Any]:
    """Narrowed by state, contract, function, task, address."""
    user_of(request)
    return _page("outbox", outgoing_out, query)


@router.get("/outbox/{call_id}", response=OutgoingOut, summary="One of them")
def ledger_call(request: HttpRequest, call_id: Key) -> dict[str, Any]:
    """To see what has become of a launch, a claim, a cancellation."""
    user_of(request)
    row = OutgoingTransaction.objects.select_related("account").filter(pk=call_id).first()
    if row is None:
        raise not_found(f"There is no transaction {call_id} in the outbox.")
    return outgoing_out(row)


@router.post("/outbox/{call_id}/retry", response=CallOut, summary="Send a failed one again")
def ledger_retry(request: HttpRequest, call_id: Key) -> dict[str, Any]:
    """The task's operator or an admin."""
    return call_out(outgoing_retry(row_id=call_id, by=user_of(request)))


@router.get("/addresses/{address}", response=AddressOut, summary="One address")
def ledger_address(request: HttpRequest, address: Path[Address]) -> dict[str, Any]:
    """Who it is here and what it holds. Its transactions: /ledger/transactions?address=…"""
    user_of(request)
    if not is_address(address):
        raise not_found(f"“{address}” is not an Ethereum address (0x and 40 hex digits).")
    page = read.address_page(to_checksum_address(address))
    return {
        "address": page.party.address,
        "name": page.party.name,
        "kind": page.party.kind,
        "person": page.person,
        "balance": wei(page.balance),
        "roles": [{"task": r.task.pk, "title": r.task.title, "role": r.role} for r in page.roles],
        "known": page.known,
    }


@router.get("/contracts", response=list[ContractOut], summary="Our contracts")
def ledger_contracts(request: HttpRequest) -> list[dict[str, Any]]:
    """The token and the coordinator."""
    user_of(request)
    return [contract_out(page) for page in contracts_read.contract_list()]


@router.get("/contracts/{name}", response=ContractDetail, summary="One contract, with its ABI")
def ledger_contract(request: HttpRequest, name: Literal["FLToken", "FLCoordinator"]) -> Any:
    """The ABI is that of the committed build."""
    user_of(request)
    page = contracts_read.contract_page(name)
    return {
        **contract_out(page),
        "read": [entry.key for entry in page.read],
        "write": [entry.key for entry in page.write],
        "events": [entry.key for entry in page.events],
        "errors": [entry.key for entry in page.errors],
        "abi": list(page.abi),
    }


@router.get("/contracts/{name}/code", response=CodeOut, summary="Is its code the build's?")
def ledger_contract_code(
    request: HttpRequest, name: Literal["FLToken", "FLCoordinator"]
) -> dict[str, Any]:
    """Asks the node."""
    user_of(request)
    assert name in NAMES
    check = contracts_read.code_check(name)
    matches = {"ok": True, "bad": False}.get(check.tone)
    return {"matches": matches, "text": check.text, "note": check.note}


@router.get("/contracts/{name}/call", response=list[ValueOut], summary="Ask a contract")
def ledger_contract_call(
    request: HttpRequest,
    name: Literal["FLToken", "FLCoordinator"],
    function: str,
    arg: Query[list[str]] = [],  # noqa: B006 (ninja copies it)
) -> list[dict[str, Any]]:
    """A view function by its signature, `balanceOf(address)`, at the chain's head. Arguments in
    their order: `arg=…&arg=…`."""
    user_of(request)
    values = {f"arg{at}": text for at, text in enumerate(arg)}
    return [value_out(value) for value in contracts_read.contract_read(name, function, values)]


@router.get("/search", response=SearchOut, summary="Find a hash, number, address or name")
def ledger_search(request: HttpRequest, q: str = "") -> dict[str, Any]:
    """As the search box of the pages."""
    user_of(request)
    text = q.strip()[:200]
    found = read.find_named(text)
    return {
        "page": read.find(text) if text else "",
        "tasks": [{"id": task.pk, "title": task.title} for task in found.tasks],
        "people": list(found.people),
    }
