"""Facts of the chain into rows, and back out. Always inside the caller's database transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from django.db.models import QuerySet

from chain.errors import ContractReverted
from chain.events import Abi, DecodedEvent, EventDecoder, RawLog, selector
from chain.fetch import Fetched
from chain.models import Block, Log, Network, Transaction
from chain.wire import FullBlock, MinedTransaction

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
    blocks = Block.objects.bulk_create(
        [_block_row(network, block) for block in fetched.blocks], batch_size=BATCH
    )
    transactions = Transaction.objects.bulk_create(
        [
            _transaction_row(network, row, mined, names, fetched.reverted)
            for row, block in zip(blocks, fetched.blocks, strict=True)
            for mined in block.transactions
        ],
        batch_size=BATCH,
    )
    events: list[DecodedEvent] = []
    logs: list[Log] = []
    rows = iter(transactions)
    for block_row, block in zip(blocks, fetched.blocks, strict=True):
        for mined in block.transactions:
            transaction_row = next(rows)
            for log in mined.receipt.logs:
                event = names.decoder.decode(log, block.header.timestamp)
                if event is not None:
                    events.append(event)
                logs.append(_log_row(network, block_row, transaction_row, log, event))
    Log.objects.bulk_create(logs, batch_size=BATCH)
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


def _block_row(network: Network, block: FullBlock) -> Block:
    header = block.header
    return Block(
        network=network,
        number=header.number,
        hash=header.hash,
        parent_hash=header.parent_hash,
        timestamp=header.timestamp,
        gas_used=header.gas_used,
        gas_limit=header.gas_limit,
        base_fee=header.base_fee,
        transaction_count=header.transaction_count,
    )


def _transaction_row(
    network: Network,
    block: Block,
    mined: MinedTransaction,
    names: Names,
    reverted: Mapping[str, ContractReverted],
) -> Transaction:
    contract, function = names.of_call(mined)
    reason = reverted.get(mined.hash)
    return Transaction(
        network=network,
        block=block,
        block_number=block.number,
        index=mined.index,
        hash=mined.hash,
        from_address=mined.from_address,
        to_address=mined.to_address,
        contract_address=mined.receipt.contract_address,
        nonce=mined.nonce,
        value=mined.value,
        input=mined.input,
        contract=contract,
        function=function,
        succeeded=mined.receipt.succeeded,
        gas_limit=mined.gas_limit,
        gas_used=mined.receipt.gas_used,
        effective_gas_price=mined.receipt.effective_gas_price,
        error_name=reason.name if reason else "",
        error=reason.sentence if reason else "",
    )


def _log_row(
    network: Network,
    block: Block,
    transaction: Transaction,
    log: RawLog,
    event: DecodedEvent | None,
) -> Log:
    row = Log(
        network=network,
        block=block,
        transaction=transaction,
        block_number=block.number,
        log_index=log.log_index,
        address=log.address,
        topics=list(log.topics),
        data=log.data,
    )
    if event is not None:
        _name(row, event)
    return row


def _name(row: Log, event: DecodedEvent) -> None:
    row.contract = event.contract
    row.event = event.name
    row.args = event.args  # str, int, bool, list, dict: JSON as it is
    row.task_id = event.task_id
