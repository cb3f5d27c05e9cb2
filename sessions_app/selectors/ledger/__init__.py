"""The chain as a book: what a hash, a number or a name on any page leads to."""

from sessions_app.selectors.ledger.address import AddressPage, address_page
from sessions_app.selectors.ledger.filters import Filters, read_filters
from sessions_app.selectors.ledger.keyset import BadQuery
from sessions_app.selectors.ledger.lists import (
    LISTS,
    ledger_home,
    ledger_list,
    ledger_new,
    token_page,
)
from sessions_app.selectors.ledger.rows import chain_id, network_id
from sessions_app.selectors.ledger.search import find, find_named
from sessions_app.selectors.ledger.transaction import block_page, transaction_page

__all__ = [
    "LISTS",
    "AddressPage",
    "BadQuery",
    "Filters",
    "address_page",
    "block_page",
    "chain_id",
    "find",
    "find_named",
    "ledger_home",
    "ledger_list",
    "ledger_new",
    "network_id",
    "read_filters",
    "token_page",
    "transaction_page",
]
