"""Blocks from a node, checked against each other before anybody believes them.

On the development chain every transaction of every block is read. Elsewhere headers are read
without gaps, and of the transactions only those that touch our contracts or are ours.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from chain import bloom
from chain.client import ChainClient, call_object
from chain.errors import ContractReverted, InconsistentAnswer
from chain.events import RawLog
from chain.wire import FullBlock, Header, MinedTransaction, Receipt, parse_transaction


@dataclass(frozen=True, slots=True)
class Fetched:
    """Linked blocks in order. `reverted`: tx hash -> why it failed, for failed transactions."""

    blocks: list[FullBlock]
    reverted: dict[str, ContractReverted] = field(default_factory=dict)


def fetch_whole(client: ChainClient, first: int, last: int) -> Fetched:
    """Blocks first..last with all transactions. Raises InconsistentAnswer."""
    blocks = client.full_blocks(range(first, last + 1))
    for block in blocks:
        check_logs(block)
    return Fetched(blocks, revert_reasons(client, blocks))


def fetch_touching(
    client: ChainClient,
    first: int,
    last: int,
    *,
    addresses: Collection[str],
    topics: Collection[str],
    own_hashes: Sequence[str],
) -> Fetched:
    """Blocks first..last with the transactions that log at `addresses` or are in `own_hashes`.

    Raises RangeTooLarge, InconsistentAnswer.
    """
    headers = [header for header in client.headers(range(first, last + 1)) if header is not None]
    if len(headers) != last - first + 1:
        raise InconsistentAnswer(
            f"The node has {len(headers)} of the blocks {first} to {last}: a reorg meanwhile."
        )
    logs = client.logs(first, last, sorted(addresses)) if addresses else []
    by_number = {header.number: header for header in headers}
    for log in logs:
        header = by_number.get(log.block_number)
        if header is None or header.hash != log.block_hash:
            raise InconsistentAnswer(
                f"Log {log.log_index} says block {log.block_number} is {log.block_hash}, the "
                f"header says {header.hash if header else 'nothing'}: a reorg meanwhile."
            )
    _check_silence(client, headers, logs, addresses, topics)
    receipts = _receipts(client, first, last, logs, own_hashes)
    transactions = _transactions(client, receipts)
    grouped: dict[int, list[MinedTransaction]] = {number: [] for number in by_number}
    for transaction in transactions:
        receipt = transaction.receipt
        if by_number[receipt.block_number].hash != receipt.block_hash:
            raise InconsistentAnswer(
                f"The receipt of {receipt.tx_hash} names block {receipt.block_hash}, the header of "
                f"{receipt.block_number} is another: a reorg meanwhile."
            )
        grouped[receipt.block_number].append(transaction)
    blocks = [
        FullBlock(header, tuple(sorted(grouped[header.number], key=lambda t: t.index)))
        for header in headers
    ]
    return Fetched(blocks, revert_reasons(client, blocks))


def check_logs(block: FullBlock) -> None:
    """The receipts' logs are exactly those of the header: hash by hash, and bloom for bloom.

    Raises InconsistentAnswer; a lagging or lying node gives empty logs under a full bloom.
    """
    header = block.header
    for transaction in block.transactions:
        receipt = transaction.receipt
        if receipt.block_hash != header.hash or any(
            log.block_hash != header.hash for log in receipt.logs
        ):
            raise InconsistentAnswer(
                f"Receipt of {transaction.hash} is not of block {header.number} {header.hash}: "
                "a reorg meanwhile."
            )
    logs = [(log.address, log.topics) for t in block.transactions for log in t.receipt.logs]
    if bloom.of_logs(logs) != int(header.logs_bloom, 16):
        raise InconsistentAnswer(
            f"The {len(logs)} logs of block {header.number} do not give the bloom in its header: "
            "the node left some out or made some up."
        )


def revert_reasons(client: ChainClient, blocks: Sequence[FullBlock]) -> dict[str, ContractReverted]:
    """Why each failed transaction failed."""
    return {
        t.hash: client.revert_reason(
            call_object(
                to=t.to_address or None, data=t.input, sender=t.from_address, value=t.value
            ),
            block.header.number,
            t.receipt.gas_used,
            t.gas_limit,
            parent_hash=block.header.parent_hash,
        )
        for block in blocks
        for t in block.transactions
        if not t.receipt.succeeded
    }


def _check_silence(
    client: ChainClient,
    headers: Sequence[Header],
    logs: Sequence[RawLog],
    addresses: Collection[str],
    topics: Collection[str],
) -> None:
    """Blocks whose bloom may hold our events but that came without any: ask for their receipts.

    A bloom can accuse wrongly, so it only tells where to look.
    """
    speaking = {log.block_number for log in logs}
    suspects = []
    for header in headers:
        if header.number in speaking:
            continue
        mask = int(header.logs_bloom, 16)
        if any(bloom.may_contain(mask, a) for a in addresses) and any(
            bloom.may_contain(mask, t) for t in topics
        ):
            suspects.append(header.number)
    for block in client.full_blocks(suspects):
        missing = [
            log
            for transaction in block.transactions
            for log in transaction.receipt.logs
            if log.address in addresses
        ]
        if missing:
            raise InconsistentAnswer(
                f"eth_getLogs gave none of the {len(missing)} logs of our contracts in block "
                f"{block.header.number}, its receipts have them: the node's index lags."
            )


def _receipts(
    client: ChainClient, first: int, last: int, logs: Sequence[RawLog], own: Sequence[str]
) -> list[Receipt]:
    wanted = list(dict.fromkeys([*(log.tx_hash for log in logs), *own]))
    loud = {log.tx_hash for log in logs}
    found = []
    for tx_hash, receipt in zip(wanted, client.receipts(wanted), strict=True):
        if receipt is None:
            if tx_hash in loud:
                raise InconsistentAnswer(f"{tx_hash} has logs but no receipt: a reorg meanwhile.")
        elif first <= receipt.block_number <= last:
            found.append(receipt)
    return found


def _transactions(client: ChainClient, receipts: Sequence[Receipt]) -> list[MinedTransaction]:
    answers = client.batch([("eth_getTransactionByHash", (r.tx_hash,)) for r in receipts])
    transactions = []
    for answer, receipt in zip(answers, receipts, strict=True):
        if answer is None or answer.get("transactionIndex") is None:
            raise InconsistentAnswer(
                f"{receipt.tx_hash} has a receipt but is not in a block: a reorg meanwhile."
            )
        transactions.append(parse_transaction(answer, receipt))
    return transactions
