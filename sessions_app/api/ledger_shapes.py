"""How blocks, transactions, logs and contracts look in JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema

from chain.models import Block, Log, OutgoingTransaction, Transaction
from sessions_app.api.base import Address, Hash, Wei
from sessions_app.api.task_shapes import CallOut, PartyOut, call_out, moment, wei
from sessions_app.models import TokenBalance, TokenTransfer
from sessions_app.selectors.ledger import contract as contracts_read
from sessions_app.selectors.ledger.values import Shown


class BlockOut(Schema):
    number: int
    hash: Hash
    parent_hash: Hash
    time: datetime
    transactions: int
    gas_used: int
    gas_limit: int
    base_fee: int = Field(description="wei per gas")


class TransactionOut(Schema):
    hash: Hash
    block: int
    index: int
    time: datetime
    sender: Address
    to: Address = Field(description="Empty for the creation of a contract.")
    created: Address
    contract: str = Field(description="Ours by name, or empty.")
    function: str
    succeeded: bool
    error_name: str
    error: str
    nonce: int
    value: Wei
    gas_used: int
    gas_limit: int
    gas_price: int = Field(description="wei per gas")
    fee: Wei


class LogOut(Schema):
    block: int
    log_index: int
    time: datetime
    tx_hash: Hash
    address: Address
    contract: str
    event: str
    onchain_task: int | None
    args: dict[str, Any]


class TransferOut(Schema):
    block: int
    log_index: int
    tx_hash: Hash
    sender: Address
    recipient: Address
    amount: Wei


class HolderOut(Schema):
    address: Address
    balance: Wei
    last_block: int


class OutgoingOut(CallOut):
    """A transaction of the console's own accounts."""

    contract: str
    reference: str
    nonce: int | None
    block: int | None
    attempts: int
    gas_used: int | None
    queued_at: datetime


class ValueOut(Schema):
    name: str
    type: str
    value: str


class TransactionDetail(TransactionOut):
    title: str
    signature: str
    call: list[ValueOut]
    error_values: list[ValueOut]
    events: list[LogOut]
    transfers: list[TransferOut]
    task: int | None
    input: str


class BlockDetail(BlockOut):
    hashes: list[Hash] = Field(description="Of its transactions, in order.")


class RoleOut(Schema):
    task: int
    title: str
    role: Literal["operator", "evaluator", "participant"]


class AddressOut(PartyOut):
    kind: str
    person: str
    balance: Wei = Field(description="FLT, as of the last block read.")
    roles: list[RoleOut] = Field(description="The newest 20.")
    known: bool = Field(description="It has a name, or did something on this chain.")


class ContractOut(Schema):
    name: str
    label: str
    purpose: str
    address: Address
    deployed_block: int | None
    deployed_tx: Hash
    compiler: str
    source_hash: str
    size: int = Field(description="Bytes of code.")


class ContractDetail(ContractOut):
    read: list[str] = Field(description="Signatures that …/call takes.")
    write: list[str]
    events: list[str]
    errors: list[str]
    abi: list[dict[str, Any]]


class CodeOut(Schema):
    matches: bool | None = Field(description="null: it could not be checked.")
    text: str
    note: str


class SearchOut(Schema):
    page: str = Field(description="The one page it leads to, or empty.")
    tasks: list[dict[str, Any]]
    people: list[PartyOut]


def block_out(row: Block) -> dict[str, Any]:
    return {
        "number": row.number,
        "hash": row.hash,
        "parent_hash": row.parent_hash,
        "time": moment(row.timestamp),
        "transactions": row.transaction_count,
        "gas_used": row.gas_used,
        "gas_limit": row.gas_limit,
        "base_fee": row.base_fee,
    }


def transaction_out(row: Transaction) -> dict[str, Any]:
    return {
        "hash": row.hash,
        "block": row.block_number,
        "index": row.index,
        "time": moment(row.block.timestamp),
        "sender": row.from_address,
        "to": row.to_address,
        "created": row.contract_address,
        "contract": row.contract,
        "function": row.function,
        "succeeded": row.succeeded,
        "error_name": row.error_name,
        "error": row.error,
        "nonce": row.nonce,
        "value": wei(row.value),
        "gas_used": row.gas_used,
        "gas_limit": row.gas_limit,
        "gas_price": row.effective_gas_price,
        "fee": wei(row.fee),
    }


def log_out(row: Log) -> dict[str, Any]:
    return {
        "block": row.block_number,
        "log_index": row.log_index,
        "time": moment(row.block.timestamp),
        "tx_hash": row.transaction.hash,
        "address": row.address,
        "contract": row.contract,
        "event": row.event,
        "onchain_task": row.task_id,
        "args": row.args,
    }


def transfer_out(row: TokenTransfer) -> dict[str, Any]:
    return {
        "block": row.block_number,
        "log_index": row.log_index,
        "tx_hash": row.tx_hash,
        "sender": row.sender,
        "recipient": row.recipient,
        "amount": wei(row.amount),
    }


def holder_out(row: TokenBalance) -> dict[str, Any]:
    return {"address": row.address, "balance": wei(row.balance), "last_block": row.block_number}


def outgoing_out(row: OutgoingTransaction) -> dict[str, Any]:
    return {
        **call_out(row),
        "contract": row.contract,
        "reference": row.reference,
        "nonce": row.nonce,
        "block": row.block_number,
        "attempts": row.attempts,
        "gas_used": row.gas_used,
        "queued_at": row.queued_at,
    }


def contract_out(page: contracts_read.ContractPage) -> dict[str, Any]:
    where = page.deployed
    return {
        "name": page.name,
        "label": page.label,
        "purpose": page.purpose,
        "address": where.address if where else "",
        "deployed_block": where.block_number if where else None,
        "deployed_tx": where.tx_hash if where else "",
        "compiler": page.compiler,
        "source_hash": page.source_hash,
        "size": page.size,
    }


def value_out(value: Shown) -> dict[str, Any]:
    return {"name": value.name, "type": value.type, "value": str(value.exact or value.text)}
