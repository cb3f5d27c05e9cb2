"""A whole list as CSV or JSON, row by row, however long it is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from chain.models import Block, Log, OutgoingTransaction, Transaction
from sessions_app.formats import exact_amount
from sessions_app.models import TokenBalance, TokenTransfer
from sessions_app.selectors.ledger.filters import Filters
from sessions_app.selectors.ledger.keyset import every
from sessions_app.selectors.ledger.lists import LISTS
from sessions_app.selectors.ledger.rows import network_id
from sessions_app.selectors.task.series import csv_text

Record = Mapping[str, Any]
FORMATS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


def export(kind: str, filters: Filters, style: str) -> Iterator[str]:
    """Pieces of text of up to a thousand rows each, newest row first."""
    listing = LISTS[kind]
    sources = listing.sources(network_id(), filters)
    if kind == "transfers":
        sources = [source.select_related("log__block") for source in sources]
    chunks = ([_RECORDS[kind](row) for row in rows] for rows in every(sources, listing.order))
    return _as_csv(chunks, kind) if style == "csv" else _as_json(chunks)


def _as_csv(chunks: Iterator[Sequence[Record]], kind: str) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS[kind])
    for records in chunks:
        for record in records:
            writer.writerow([_cell(record[column]) for column in COLUMNS[kind]])
        yield _taken(text)
    yield _taken(text)


def _as_json(chunks: Iterator[Sequence[Record]]) -> Iterator[str]:
    """An array with one row a line."""
    before = "[\n"
    for records in chunks:
        yield before + ",\n".join(json.dumps(record) for record in records)
        before = ",\n"
    yield "\n]\n" if before != "[\n" else "[]\n"


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return csv_text(value) if isinstance(value, str) else value


def _taken(text: io.StringIO) -> str:
    piece = text.getvalue()
    text.seek(0)
    text.truncate()
    return piece


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat().replace("+00:00", "Z")


def _block(row: Block) -> Record:
    return {
        "block": row.number,
        "hash": row.hash,
        "parent_hash": row.parent_hash,
        "time": _iso(row.timestamp),
        "transactions": row.transaction_count,
        "gas_used": row.gas_used,
        "gas_limit": row.gas_limit,
        "base_fee_wei": row.base_fee,
    }


def _transaction(row: Transaction) -> Record:
    return {
        "block": row.block_number,
        "index": row.index,
        "hash": row.hash,
        "time": _iso(row.block.timestamp),
        "from": row.from_address,
        "to": row.to_address,
        "created": row.contract_address,
        "contract": row.contract,
        "function": row.function,
        "succeeded": row.succeeded,
        "error": row.error_name,
        "error_text": row.error,
        "error_arguments": row.error_args,
        "nonce": row.nonce,
        "value_eth": exact_amount(row.value),
        "gas_used": row.gas_used,
        "gas_limit": row.gas_limit,
        "gas_price_wei": row.effective_gas_price,
        "fee_eth": exact_amount(row.fee),
    }


def _event(row: Log) -> Record:
    return {
        "block": row.block_number,
        "log": row.log_index,
        "time": _iso(row.block.timestamp),
        "transaction": row.transaction.hash,
        "contract": row.contract,
        "address": row.address,
        "event": row.event,
        "task_on_chain": row.task_id,
        "arguments": row.args,
    }


def _transfer(row: TokenTransfer) -> Record:
    return {
        "block": row.block_number,
        "log": row.log_index,
        "time": _iso(row.log.block.timestamp),
        "transaction": row.tx_hash,
        "from": row.sender,
        "to": row.recipient,
        "amount_flt": exact_amount(row.amount),
    }


def _holder(row: TokenBalance) -> Record:
    return {
        "address": row.address,
        "balance_flt": exact_amount(row.balance),
        "last_block": row.block_number,
    }


def _outgoing(row: OutgoingTransaction) -> Record:
    return {
        "number": row.pk,
        "queued_at": row.queued_at.isoformat(timespec="seconds"),
        "from": row.account.address,
        "contract": row.contract,
        "function": row.function,
        "arguments": row.args,
        "reference": row.reference,
        "status": row.status,
        "error": row.error_name,
        "error_text": row.error,
        "error_arguments": row.error_args,
        "attempts": row.attempts,
        "nonce": row.nonce,
        "transaction": row.tx_hash,
        "block": row.block_number,
        "gas_used": row.gas_used,
        "fee_eth": "" if row.fee is None else exact_amount(row.fee),
    }


_RECORDS: Mapping[str, Callable[[Any], Record]] = {
    "blocks": _block,
    "transactions": _transaction,
    "events": _event,
    "transfers": _transfer,
    "holders": _holder,
    "outbox": _outgoing,
}
COLUMNS: Mapping[str, Sequence[str]] = {
    "blocks": (
        *("block", "hash", "parent_hash", "time", "transactions", "gas_used", "gas_limit"),
        "base_fee_wei",
    ),
    "transactions": (
        *("block", "index", "hash", "time", "from", "to", "created", "contract", "function"),
        *(
            "succeeded",
            "error",
            "error_text",
            "error_arguments",
            "nonce",
            "value_eth",
            "gas_used",
            "gas_limit",
        ),
        *("gas_price_wei", "fee_eth"),
    ),
    "events": (
        *("block", "log", "time", "transaction", "contract", "address", "event", "task_on_chain"),
        "arguments",
    ),
    "transfers": ("block", "log", "time", "transaction", "from", "to", "amount_flt"),
    "holders": ("address", "balance_flt", "last_block"),
    "outbox": (
        *("number", "queued_at", "from", "contract", "function", "arguments", "reference"),
        *("status", "error", "error_text", "error_arguments", "attempts", "nonce", "transaction"),
        *("block", "gas_used", "fee_eth"),
    ),
}
