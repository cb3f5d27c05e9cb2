"""A finished task as one JSON-safe object: what `run_task` prints and the API returns."""

from __future__ import annotations

from typing import Any

from chain.models import OutgoingTransaction, Transaction
from chain.selectors import contract_address
from sessions_app.models import Reward, Task, TokenBalance


def task_report(task: Task) -> dict[str, Any]:
    """Amounts in wei as strings (they exceed 2**53), gas as integers, seconds as floats."""
    gas = _gas_by_round(task)
    return {
        "task": {
            "id": task.pk,
            "onchain_id": task.onchain_id,
            "title": task.title,
            "stage": task.stage,
            "phase": task.phase,
            "failure": task.failure,
        },
        "contract": contract_address("FLCoordinator"),
        "token": contract_address("FLToken"),
        "chain_id": task.network.chain_id if task.network else None,
        "config_hash": task.config_hash,
        "config": task.config,
        "rounds": _rounds(task, gas),
        "participants": _participants(task),
        "pool": {
            "funded": str(task.pool_funded),
            "allocated": str(task.pool_allocated),
            "returned": str(task.pool_returned),
        },
        "gas": {"total": sum(sum(calls.values()) for calls in gas.values()), "setup": gas[None]},
        "transactions": _transactions(task),
    }


def _rounds(task: Task, gas: dict[int | None, dict[str, int]]) -> list[dict[str, Any]]:
    runs = {run.number: run for run in task.round_runs.all()}
    rows = []
    for round_ in task.round_set.order_by("number"):
        run = runs.get(round_.number)
        ppm = round_.accuracy_ppm
        rows.append(
            {
                "number": round_.number,
                "phase": round_.phase,
                "accuracy": None if ppm is None else ppm / 1_000_000,
                "loss": run.loss if run else None,
                "model_hash": round_.model_hash,
                "reward_root": round_.reward_root,
                "rewards_match": round_.rewards_match,
                "gas": gas.get(round_.number, {}),
                "seconds": {
                    "total": run.seconds if run else None,
                    "train": run.seconds_train if run else None,
                    "score": run.seconds_score if run else None,
                    "aggregate": run.seconds_aggregate if run else None,
                    "chain_wait": run.seconds_chain if run else None,
                },
                "transaction": round_.finalized_tx,
            }
        )
    return rows


def _participants(task: Task) -> list[dict[str, Any]]:
    names = {s.account.address: s.account.label for s in task.seats.select_related("account")}
    balances = dict(
        TokenBalance.objects.filter(network=task.network).values_list("address", "balance")
    )
    scores: dict[int, list[int]] = {}
    for member, score in (
        Reward.objects.filter(round__task=task)
        .order_by("round__number")
        .values_list("participant_id", "score")
    ):
        scores.setdefault(member, []).append(score)
    return [
        {
            "address": member.address,
            "name": names.get(member.address, ""),
            "samples": member.samples_cap,
            "status": member.status,
            "scores": scores.get(member.pk, []),
            "earned": str(member.earned),
            "claimed": str(member.claimed),
            "balance": str(balances.get(member.address, 0)),
        }
        for member in task.members.order_by("index")
    ]


def _transactions(task: Task) -> list[dict[str, Any]]:
    """Everything we sent for the task, the refused ones too, in the order it was queued."""
    sent = OutgoingTransaction.objects.filter(reference=task.reference).select_related("account")
    return [
        {
            "hash": row.tx_hash,
            "function": row.function,
            "from": row.account.address,
            "status": row.status,
            "block": row.block_number,
            "gas_used": row.gas_used,
            "error": row.error,
        }
        for row in sent.order_by("pk")
    ]


def _gas_by_round(task: Task) -> dict[int | None, dict[str, int]]:
    """Gas by function for each round; None holds what belongs to no round (create, join, ...).

    A transaction belongs to the smallest round that its events name: the one that finalises a
    round also opens the next.
    """
    rounds: dict[str, int | None] = {}
    events = task.events.values_list("tx_hash", "round_number")
    for tx_hash, number in events:
        known = rounds.get(tx_hash)
        rounds[tx_hash] = number if known is None else min(known, number or known)
    gas: dict[int | None, dict[str, int]] = {None: {}}
    mined = Transaction.objects.filter(network=task.network, hash__in=rounds)
    for tx_hash, function, used in mined.values_list("hash", "function", "gas_used"):
        calls = gas.setdefault(rounds[tx_hash] if function != "start" else None, {})
        calls[function] = calls.get(function, 0) + used
    return gas
