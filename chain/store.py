"""Facts of the chain into rows, and back out. Always inside the caller's database transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from django.db.models import QuerySet

from chain.bulk import document, insert, reserve_ids, wei
from chain.calls import json_value
from chain.errors import ContractReverted
from chain.events import Abi, DecodedEvent, EventDecoder, RawLog, selector
from chain.fetch import Fetched
from chain.models import Block, Log, Network, Transaction
from chain.wire import Header, MinedTransaction

BATCH = 500


class Names:
    """What our addresses and selectors are called. `contracts`: address -> (name, ABI)."""

    def __init__(self, contracts: Mapping[str, tuple[str, Abi]]) -> None:
        self.decoder = EventDecoder(contracts)
        self._contracts = {address: name for address, (name, _) in contracts.items()}
        self._functions = {
            (address, "0x" + selector(item).hex()): item["name"]
            for address, (_, abi) in contracts.items()
            for item in abi
            if item["type"] == "function"
        }

    @property
    def addresses(self) -> frozenset[str]:
        return self.decoder.addresses

    def of_call(self, transaction: MinedTransaction) -> tuple[str, str]:
        """(contract, function); empty strings where it is not a call of ours."""
        if not transaction.to_address:
            created = self._contracts.get(transaction.receipt.contract_address, "")
            return created, "constructor" if created else ""
        target = transaction.to_address
        function = self._functions.get((target, transaction.input[:10]), "")
        return self._contracts.get(target, ""), function


def write(network: Network, fetched: Fetched, names: Names) -> list[DecodedEvent]:
    """Insert blocks, transactions and logs; returns our events among them, in order."""
    mined = sum(len(block.transactions) for block in fetched.blocks)
    noted = sum(len(t.receipt.logs) for b in fetched.blocks for t in b.transactions)
    block_ids = reserve_ids(Block, len(fetched.blocks))
    transaction_ids, log_ids = iter(reserve_ids(Transaction, mined)), iter(reserve_ids(Log, noted))
    blocks: list[tuple[Any, ...]] = []
    transactions: list[tuple[Any, ...]] = []
    logs: list[tuple[Any, ...]] = []
    events: list[DecodedEvent] = []
    for block_id, block in zip(block_ids, fetched.blocks, strict=True):
        header = block.header
        blocks.append((block_id, network.pk, *_block_values(header)))
        for transaction in block.transactions:
            transaction_id = next(transaction_ids)
            reason = fetched.reverted.get(transaction.hash)
            transactions.append(
                (
                    transaction_id,
                    network.pk,
                    block_id,
                    header.number,
                    *_transaction_values(transaction, names, reason),
                )
            )
            for log in transaction.receipt.logs:
                event = names.decoder.decode(log, header.timestamp)
                if event is not None:
                    events.append(event)
                logs.append(
                    (
                        next(log_ids),
                        network.pk,
                        block_id,
                        transaction_id,
                        header.number,
                        *_log_values(log, event),
                    )
                )
    insert(Block, BLOCK_COLUMNS, blocks)
    insert(Transaction, TRANSACTION_COLUMNS, transactions)
    insert(Log, LOG_COLUMNS, logs)
    return events


def drop_above(network: Network, height: int) -> list[DecodedEvent]:
    """Delete every block higher than `height` with all it holds; returns the events they held."""
    orphaned = list(events_of(Log.objects.filter(network=network, block_number__gt=height)))
    Block.objects.filter(network=network, number__gt=height).delete()
    return orphaned


def replay(
    network: Network, addresses: Collection[str], task_ids: Collection[int]
) -> Iterator[DecodedEvent]:
    """Stored events of these tasks in canonical order; with no task ids those of no task."""
    logs = Log.objects.filter(network=network, address__in=addresses)
    chosen = logs.filter(task_id__in=task_ids) if task_ids else logs.filter(task_id=None)
    return events_of(chosen)


def adopt(network: Network, names: Names) -> list[DecodedEvent]:
    """Name logs that were stored before their contract was known to be ours.

    Returns their events, in order.
    """
    logs = (
        Log.objects.filter(network=network, event="", address__in=names.addresses)
        .select_related("block", "transaction")
        .order_by("block_number", "log_index")
    )
    events, changed = [], []
    for row in logs.iterator(chunk_size=BATCH):
        raw = RawLog(
            address=row.address,
            topics=tuple(row.topics),
            data=row.data,
            block_number=row.block_number,
            block_hash=row.block.hash,
            tx_hash=row.transaction.hash,
            tx_index=row.transaction.index,
            log_index=row.log_index,
        )
        event = names.decoder.decode(raw, row.block.timestamp)
        if event is not None:
            _name(row, event)
            changed.append(row)
            events.append(event)
    Log.objects.bulk_update(changed, ["contract", "event", "args", "task_id"], batch_size=BATCH)
    return events


def events_of(logs: QuerySet[Log]) -> Iterator[DecodedEvent]:
    """Our events among stored logs, in canonical order."""
    ordered = (
        logs.exclude(event="")
        .select_related("block", "transaction")
        .order_by("block_number", "log_index")
    )
    return (row.decoded() for row in ordered.iterator(chunk_size=2_000))


def hashes_at(network: Network, heights: Sequence[int]) -> dict[int, str]:
    """Height -> hash of the stored blocks among `heights`, which are consecutive."""
    if not heights:
        return {}
    rows = Block.objects.filter(network=network, number__gte=min(heights), number__lte=max(heights))
    return dict(rows.values_list("number", "hash"))


BLOCK_COLUMNS = (
    "id",
    "network_id",
    "number",
    "hash",
    "parent_hash",
    "timestamp",
    "gas_used",
    "gas_limit",
    "base_fee",
    "transaction_count",
)
TRANSACTION_COLUMNS = (
    "id",
    "network_id",
    "block_id",
    "block_number",
    "index",
    "hash",
    "from_address",
    "to_address",
    "contract_address",
    "nonce",
    "value",
    "input",
    "contract",
    "function",
    "succeeded",
    "gas_limit",
    "gas_used",
    "effective_gas_price",
    "error_name",
    "error",
    "error_args",
)
LOG_COLUMNS = (
    "id",
    "network_id",
    "block_id",
    "transaction_id",
    "block_number",
    "log_index",
    "address",
    "topics",
    "data",
    "contract",
    "event",
    "args",
    "task_id",
)


def _block_values(header: Header) -> tuple[Any, ...]:
    return (
        header.number,
        header.hash,
        header.parent_hash,
        header.timestamp,
        header.gas_used,
        header.gas_limit,
        header.base_fee,
        header.transaction_count,
    )


def _transaction_values(
    mined: MinedTransaction, names: Names, reason: ContractReverted | None
) -> tuple[Any, ...]:
    contract, function = names.of_call(mined)
    return (
        mined.index,
        mined.hash,
        mined.from_address,
        mined.to_address,
        mined.receipt.contract_address,
        mined.nonce,
        wei(mined.value),
        mined.input,
        contract,
        function,
        mined.receipt.succeeded,
        mined.gas_limit,
        mined.receipt.gas_used,
        mined.receipt.effective_gas_price,
        reason.name if reason else "",
        reason.sentence if reason else "",
        document(json_value(reason.arguments)) if reason else "{}",
    )


def _log_values(log: RawLog, event: DecodedEvent | None) -> tuple[Any, ...]:
    topics = "[" + ", ".join(f'"{topic}"' for topic in log.topics) + "]"  # JSON, but quicker
    if event is None:
        return (log.log_index, log.address, topics, log.data, "", "", "{}", None)
    return (
        log.log_index,
        log.address,
        topics,
        log.data,
        event.contract,
        event.name,
        document(event.args),  # str, int, bool, list, dict: JSON as it is
        event.task_id,
    )


def _name(row: Log, event: DecodedEvent) -> None:
    row.contract = event.contract
    row.event = event.name
    row.args = event.args
    row.task_id = event.task_id
