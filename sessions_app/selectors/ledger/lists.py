"""The lists of the ledger: blocks, transactions, events, transfers, holders; and its home."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from chain.models import Block, Log, Transaction
from sessions_app.models import TokenBalance, TokenTransfer
from sessions_app.selectors.ledger import filters as narrowed
from sessions_app.selectors.ledger.filters import Filters
from sessions_app.selectors.ledger.keyset import (
    BLOCKS,
    HOLDERS,
    LOGS,
    OUTGOING,
    TRANSACTIONS,
    Order,
    Slice,
    count_new,
    count_up_to,
    page_of,
)
from sessions_app.selectors.ledger.outgoing import outgoing, outgoing_rows
from sessions_app.selectors.ledger.rows import (
    chain_id,
    event_rows,
    known_in,
    names_in_transfers,
    network_id,
    transaction_rows,
    transfer_rows,
)
from sessions_app.selectors.people.people import ZERO_ADDRESS, Party, contract_parties, names_of

HOME_ROWS = 12
HOLDERS_SHOWN = 10
COUNT_AT_MOST = 10_000


@dataclass(frozen=True)
class ListPage:
    rows: Sequence[Any]
    newer: str
    older: str
    newest: str


@dataclass(frozen=True)
class Holder:
    party: Party
    balance: int
    share: float | None  # of the supply, 0 to 1
    block_number: int


@dataclass(frozen=True)
class TokenPage:
    supply: int
    holders: Sequence[Holder]
    holder_count: int
    counted_all: bool
    escrow: int  # held by the coordinator
    coordinator: Party | None
    address: str  # of the token's contract; empty while it is not deployed


@dataclass(frozen=True)
class LedgerHome:
    blocks: ListPage
    transactions: ListPage
    events: ListPage


def ledger_home() -> LedgerHome:
    """The newest of everything. Seven queries."""
    network = network_id()
    return LedgerHome(
        *(_page(kind, network, Filters(), "", "", HOME_ROWS) for kind in
          ("blocks", "transactions", "events"))
    )  # fmt: skip


def ledger_list(kind: str, filters: Filters, *, before: str = "", after: str = "") -> ListPage:
    """One page of `blocks`, `transactions`, `events`, `transfers` or `holders`. Raises BadQuery."""
    return _page(kind, network_id(), filters, before, after)


def ledger_new(kind: str, filters: Filters, after: str) -> int:
    """How many rows are newer than the cursor `after`, at most keyset.NEW_AT_MOST."""
    listing = LISTS[kind]
    return count_new(listing.sources(network_id(), filters), listing.order, after)


def token_page() -> TokenPage:
    """Supply and the largest holders. Supply is what was minted less what was burned: in this
    token one mint, at its deployment."""
    network = network_id()
    moved = TokenTransfer.objects.filter(network_id=network)
    minted = sum(moved.filter(sender=ZERO_ADDRESS).values_list("amount", flat=True))
    burned = sum(moved.filter(recipient=ZERO_ADDRESS).values_list("amount", flat=True))
    supply = minted - burned
    held = _holders(network)
    top = list(held.order_by(*HOLDERS.descending)[:HOLDERS_SHOWN])
    number = count_up_to(held, COUNT_AT_MOST)
    names = names_of({row.address for row in top}, chain_id())
    ours = {party.name: party for party in contract_parties(chain_id())}
    coordinator = ours.get("Coordinator")
    escrow = (
        TokenBalance.objects.filter(network_id=network, address=coordinator.address).first()
        if coordinator
        else None
    )
    token = ours.get("FLT token")
    return TokenPage(
        supply=supply,
        holders=[
            Holder(names.party(r.address), r.balance, _share(r.balance, supply), r.block_number)
            for r in top
        ],
        holder_count=min(number, COUNT_AT_MOST),
        counted_all=number <= COUNT_AT_MOST,
        escrow=escrow.balance if escrow else 0,
        coordinator=coordinator,
        address=token.address if token else "",
    )


@dataclass(frozen=True)
class Listing:
    order: Order
    sources: Callable[[int, Filters], list[QuerySet[Any]]]
    rows: Callable[[Sequence[Any], int, Filters], Sequence[Any]]


def _holders(network: int) -> QuerySet[TokenBalance]:
    # The zero address counts down what was minted; it holds nothing.
    return TokenBalance.objects.filter(network_id=network, balance__gt=0).exclude(
        address=ZERO_ADDRESS
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole > 0 else None


def _transaction_sources(network: int, filters: Filters) -> list[QuerySet[Transaction]]:
    found = narrowed.transactions(network, filters)
    return [source.select_related("block").defer("input") for source in found]


def _event_list(logs: Sequence[Log], network: int, _: Filters) -> Sequence[Any]:
    return event_rows(logs, known_in(logs, network))


def _transfer_list(rows: Sequence[TokenTransfer], _: int, filters: Filters) -> Sequence[Any]:
    return transfer_rows(rows, names_in_transfers(rows), of=filters.address)


def _holder_list(rows: Sequence[TokenBalance], network: int, _: Filters) -> Sequence[Holder]:
    moved = TokenTransfer.objects.filter(network_id=network, sender=ZERO_ADDRESS)
    supply = sum(moved.values_list("amount", flat=True))
    names = names_of({row.address for row in rows}, chain_id())
    return [
        Holder(names.party(r.address), r.balance, _share(r.balance, supply), r.block_number)
        for r in rows
    ]


def _block_list(rows: Sequence[Block], _: int, __: Filters) -> Sequence[Block]:
    return rows


def _transaction_list(rows: Sequence[Transaction], _: int, __: Filters) -> Sequence[Any]:
    return transaction_rows(rows, times=True)


LISTS: Mapping[str, Listing] = {
    "blocks": Listing(BLOCKS, narrowed.blocks, _block_list),
    "transactions": Listing(TRANSACTIONS, _transaction_sources, _transaction_list),
    "events": Listing(LOGS, narrowed.events, _event_list),
    "transfers": Listing(LOGS, narrowed.transfers, _transfer_list),
    "outbox": Listing(OUTGOING, outgoing, outgoing_rows),
    "holders": Listing(HOLDERS, lambda network, _: [_holders(network)], _holder_list),
}


def _page(
    kind: str, network: int, filters: Filters, before: str, after: str, size: int = 50
) -> ListPage:
    listing = LISTS[kind]
    found: Slice[Any] = page_of(
        listing.sources(network, filters), listing.order, before=before, after=after, size=size
    )
    rows = listing.rows(found.rows, network, filters)
    return ListPage(rows, found.newer, found.older, found.newest)
