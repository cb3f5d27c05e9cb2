"""A node's JSON as frozen dataclasses. Pure; refuses what does not have the expected form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chain.errors import InconsistentAnswer
from chain.events import RawLog, checksum

EMPTY_BLOOM = "0x" + "0" * 512


@dataclass(frozen=True, slots=True)
class Header:
    """A block's header. `timestamp` in Unix seconds, `base_fee` in wei per gas."""

    number: int
    hash: str
    parent_hash: str
    timestamp: int
    gas_used: int
    gas_limit: int
    base_fee: int
    logs_bloom: str
    transaction_count: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """How a mined transaction went. `effective_gas_price` in wei per gas."""

    tx_hash: str
    block_number: int
    block_hash: str
    tx_index: int
    succeeded: bool
    gas_used: int
    effective_gas_price: int
    contract_address: str
    logs: tuple[RawLog, ...]


@dataclass(frozen=True, slots=True)
class MinedTransaction:
    """A transaction with its receipt. `value` in wei; `to_address` empty for a creation."""

    hash: str
    index: int
    from_address: str
    to_address: str
    nonce: int
    value: int
    input: str
    gas_limit: int
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class FullBlock:
    header: Header
    transactions: tuple[MinedTransaction, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Fees:
    """EIP-1559 fees in wei per gas, as of a block."""

    base_fee: int
    priority_fee: int

    @property
    def max_fee(self) -> int:
        """Enough for about six full blocks of rising base fee (12.5 % each)."""
        return 2 * self.base_fee + self.priority_fee


def quantity(what: str, answer: Any) -> int:
    """A number the node gave as 0x-hex. Raises InconsistentAnswer for anything else."""
    try:
        return int(answer, 16)
    except (TypeError, ValueError) as error:
        raise _garbled(what, answer, error) from error


def content(what: str, answer: Any) -> bytes:
    """Bytes the node gave as 0x-hex. Raises InconsistentAnswer for anything else."""
    try:
        return bytes.fromhex(answer.removeprefix("0x"))
    except (AttributeError, ValueError) as error:
        raise _garbled(what, answer, error) from error


def parse_header(answer: Mapping[str, Any]) -> Header:
    try:
        return Header(
            number=int(answer["number"], 16),
            hash=answer["hash"],
            parent_hash=answer["parentHash"],
            timestamp=int(answer["timestamp"], 16),
            gas_used=int(answer["gasUsed"], 16),
            gas_limit=int(answer["gasLimit"], 16),
            base_fee=int(answer.get("baseFeePerGas") or "0x0", 16),
            logs_bloom=answer["logsBloom"],
            transaction_count=len(answer["transactions"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _garbled("block", answer, error) from error


def parse_log(answer: Mapping[str, Any]) -> RawLog:
    try:
        return RawLog(
            address=checksum(answer["address"]),
            topics=tuple(answer["topics"]),
            data=answer["data"],
            block_number=int(answer["blockNumber"], 16),
            block_hash=answer["blockHash"],
            tx_hash=answer["transactionHash"],
            tx_index=int(answer["transactionIndex"], 16),
            log_index=int(answer["logIndex"], 16),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _garbled("log", answer, error) from error


def parse_receipt(answer: Mapping[str, Any]) -> Receipt:
    try:
        created = answer.get("contractAddress")
        return Receipt(
            tx_hash=answer["transactionHash"],
            block_number=int(answer["blockNumber"], 16),
            block_hash=answer["blockHash"],
            tx_index=int(answer["transactionIndex"], 16),
            succeeded=int(answer["status"], 16) == 1,
            gas_used=int(answer["gasUsed"], 16),
            effective_gas_price=int(answer["effectiveGasPrice"], 16),
            contract_address=checksum(created) if created else "",
            logs=tuple(parse_log(entry) for entry in answer["logs"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _garbled("receipt", answer, error) from error


def parse_transaction(answer: Mapping[str, Any], receipt: Receipt) -> MinedTransaction:
    try:
        return MinedTransaction(
            hash=answer["hash"],
            index=int(answer["transactionIndex"], 16),
            from_address=checksum(answer["from"]),
            to_address=checksum(answer["to"]) if answer.get("to") else "",
            nonce=int(answer["nonce"], 16),
            value=int(answer["value"], 16),
            input=answer["input"],
            gas_limit=int(answer["gas"], 16),
            receipt=receipt,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _garbled("transaction", answer, error) from error


def parse_full_block(answer: Mapping[str, Any], receipts: Sequence[Mapping[str, Any]]) -> FullBlock:
    """Raises InconsistentAnswer when the receipts are not those of the block."""
    header = parse_header(answer)
    parsed = sorted((parse_receipt(entry) for entry in receipts), key=lambda r: r.tx_index)
    if len(parsed) != header.transaction_count:
        raise InconsistentAnswer(
            f"Block {header.number} has {header.transaction_count} transactions but the node gave "
            f"{len(parsed)} receipts."
        )
    transactions = tuple(
        parse_transaction(entry, receipt)
        for entry, receipt in zip(answer["transactions"], parsed, strict=True)
    )
    for transaction in transactions:
        if transaction.hash != transaction.receipt.tx_hash:
            raise InconsistentAnswer(
                f"Receipt {transaction.index} of block {header.number} is of "
                f"{transaction.receipt.tx_hash}, not of {transaction.hash}."
            )
    return FullBlock(header, transactions)


def _garbled(what: str, answer: Any, error: Exception) -> InconsistentAnswer:
    return InconsistentAnswer(
        f"The node's {what} is not in the form of the Ethereum JSON-RPC specification "
        f"({type(error).__name__}: {error}): {str(answer)[:200]}"
    )
