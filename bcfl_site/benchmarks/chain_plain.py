"""The plain way from a chain into the same tables, to measure ours against.

What one would write first: web3's `process_log` for each log and one `save()` for each row,
with look-ups by `get`. It is spared what costs most: one database transaction holds a whole
block, and rewards are not worked out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.db import transaction

from chain.artifacts import deployment, load
from chain.models import Block, Log, Network, Transaction
from chain.network import client_current, network_settings
from sessions_app.models import (
    Participant,
    Round,
    Task,
    TaskEvent,
    TokenBalance,
    TokenTransfer,
    Update,
)


def plain(events: str) -> dict[str, Any]:
    """Over the first blocks with so many events. Events, seconds and CPU seconds."""
    from web3 import HTTPProvider, Web3

    url = client_current().url
    w3 = Web3(HTTPProvider(url))
    deployed = deployment(network_settings()["chain_id"])
    contracts = {
        own.address: w3.eth.contract(address=own.address, abi=load(name).abi)  # type: ignore[call-overload]
        for name, own in deployed.contracts.items()
    }
    by_topic = {
        (address, Web3.keccak(text=event.signature).hex()): getattr(contract.events, event.name)()
        for address, contract in contracts.items()
        for event in contract.events
    }
    network = Network.objects.create(name="plain", chain_id=network_settings()["chain_id"] + 1)
    done = 0
    started, used = time.perf_counter(), time.process_time()
    number = 0
    while done < int(events):
        answer: Any = w3.eth.get_block(number, full_transactions=True)
        receipts = w3.eth.get_block_receipts(number)
        with transaction.atomic():
            block = _plain_block(network, answer)
            rows = {}
            for sent, receipt in zip(answer["transactions"], receipts, strict=True):
                rows[sent["hash"]] = _plain_transaction(network, block, sent, receipt)
            for receipt in receipts:
                for log in receipt["logs"]:
                    event = by_topic.get((log["address"], log["topics"][0].hex()))
                    if event is None:
                        continue
                    decoded = event.process_log(log)
                    row = _plain_log(network, block, rows[log["transactionHash"]], log, decoded)
                    _plain_projection(row)
                    done += 1
        number += 1
    seconds = time.perf_counter() - started
    return {
        "events": done,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(time.process_time() - used, 3),
    }


def _plain_block(network: Network, answer: Any) -> Block:
    return Block.objects.create(
        network=network,
        number=answer["number"],
        hash="0x" + answer["hash"].hex(),
        parent_hash="0x" + answer["parentHash"].hex(),
        timestamp=answer["timestamp"],
        gas_used=answer["gasUsed"],
        gas_limit=answer["gasLimit"],
        base_fee=answer["baseFeePerGas"],
        transaction_count=len(answer["transactions"]),
    )


def _plain_transaction(network: Network, block: Block, sent: Any, receipt: Any) -> Transaction:
    return Transaction.objects.create(
        network=network,
        block=block,
        block_number=block.number,
        index=sent["transactionIndex"],
        hash="0x" + sent["hash"].hex(),
        from_address=sent["from"],
        to_address=sent.get("to") or "",
        nonce=sent["nonce"],
        value=sent["value"],
        input="0x" + sent["input"].hex(),
        succeeded=receipt["status"] == 1,
        gas_limit=sent["gas"],
        gas_used=receipt["gasUsed"],
        effective_gas_price=receipt["effectiveGasPrice"],
    )


def _plain_log(network: Network, block: Block, sent: Transaction, log: Any, decoded: Any) -> Log:
    args = {name: _plain_value(value) for name, value in decoded["args"].items()}
    return Log.objects.create(
        network=network,
        block=block,
        transaction=sent,
        block_number=block.number,
        log_index=log["logIndex"],
        address=log["address"],
        topics=["0x" + topic.hex() for topic in log["topics"]],
        data="0x" + log["data"].hex(),
        event=decoded["event"],
        args=args,
        task_id=args.get("taskId"),
    )


def _plain_projection(log: Log) -> None:
    args, tx_hash = log.args, log.transaction.hash
    if log.event == "Transfer":
        TokenTransfer.objects.create(
            log=log,
            network=log.network,
            sender=args["from"],
            recipient=args["to"],
            amount=args["value"],
            tx_hash=tx_hash,
            block_number=log.block_number,
            log_index=log.log_index,
        )
        for address, change in ((args["from"], -args["value"]), (args["to"], args["value"])):
            if int(address, 16):
                balance, _ = TokenBalance.objects.get_or_create(
                    network=log.network,
                    address=address,
                    defaults={"balance": 0, "block_number": log.block_number},
                )
                balance.balance += change
                balance.block_number = log.block_number
                balance.save()
    if log.task_id is None:
        return
    if log.event == "TaskCreated":
        params = args["params"]
        Task.objects.create(
            network=log.network,
            title=f"Task {log.task_id}",
            onchain_id=log.task_id,
            config_hash=args["configHash"],
            phase=Task.Phase.OPEN,
            operator_address=args["operator"],
            pool_funded=params["pool"],
            stake=params["stake"],
            rounds=params["rounds"],
        )
    task = Task.objects.get(network=log.network, onchain_id=log.task_id)
    project = PLAIN_HANDLERS.get(log.event)
    if project is not None:
        project(task, log)
    TaskEvent.objects.create(
        log=log,
        task=task,
        round_number=args.get("round"),
        name=log.event,
        actor=args.get("participant", ""),
        tx_hash=tx_hash,
        block_number=log.block_number,
        log_index=log.log_index,
        block_time=log.block.timestamp,
    )


def _plain_join(task: Task, log: Log) -> None:
    Participant.objects.create(
        task=task,
        address=log.args["participant"],
        index=log.args["index"],
        samples_cap=log.args["samplesCap"],
        stake=log.args["stake"],
        joined_tx=log.transaction.hash,
        joined_block=log.block_number,
    )


def _plain_round(task: Task, log: Log) -> None:
    Round.objects.create(
        task=task,
        number=log.args["round"],
        base_model_hash=log.args["modelHash"],
        opened_block=log.block_number,
        opened_time=log.block.timestamp,
        opened_tx=log.transaction.hash,
        update_deadline=log.args["updateDeadline"],
        phase_deadline=log.args["updateDeadline"],
    )
    task.current_round = log.args["round"]
    task.save()


def _plain_update(task: Task, log: Log) -> None:
    Update.objects.create(
        round=Round.objects.get(task=task, number=log.args["round"]),
        participant=Participant.objects.get(task=task, address=log.args["participant"]),
        update_hash=log.args["updateHash"],
        samples=log.args["samples"],
        tx_hash=log.transaction.hash,
        block_number=log.block_number,
    )


PLAIN_HANDLERS: dict[str, Callable[[Task, Log], None]] = {
    "ParticipantJoined": _plain_join,
    "RoundOpened": _plain_round,
    "UpdateSubmitted": _plain_update,
}


def _plain_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if hasattr(value, "items"):
        return {name: _plain_value(inner) for name, inner in value.items()}
    return value
