"""Calls that a task makes on chain, asked for as often as anyone likes and made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar, cast

from django.utils import timezone

from chain.errors import ChainError
from chain.models import Account, OutgoingTransaction
from chain.outbox import transaction_enqueue, transaction_retry
from sessions_app.errors import ChainTrouble
from sessions_app.models import Task

# A refusal can be a moment's truth (a reorg, an evaluator that was faster): while the step is
# still due it is asked for again, so often.
RETRY_AFTER = timedelta(seconds=5)
MINED_ATTEMPTS = 3  # a call that was mined and reverted has cost gas


def task_call(
    task: Task,
    account: Account,
    function: str,
    args: Sequence[Any],
    *,
    key: str,
    contract: str = "FLCoordinator",
    at_once: bool = False,
) -> OutgoingTransaction:
    """Make a call for a task once; `key` is unique within the task.

    Called again for a call that was refused, it tries again after RETRY_AFTER, or, when a person
    asks, at once.
    """
    row = transaction_enqueue(
        account=account,
        contract=contract,
        function=function,
        args=args,
        idempotency_key=f"{task.reference}:{key}",
        reference=task.reference,
    )
    if row.status == OutgoingTransaction.Status.FAILED and (at_once or _is_time(row)):
        return transaction_retry(row.pk)
    return row


def _is_time(row: OutgoingTransaction) -> bool:
    at = row.confirmed_at or row.attempted_at or row.queued_at
    if timezone.now() - at < RETRY_AFTER:
        return False
    return row.block_number is None or row.attempts < MINED_ATTEMPTS


def keeper(task: Task) -> Account | None:
    """Who sends from here what the contract lets anyone send once a deadline is over: the
    operator's account, or an evaluator's where the operator signs in a wallet. None: nobody."""
    return task.operator_account or task.evaluator_accounts.order_by("pk").first()


def task_terms(task: Task) -> dict[str, object]:
    """The contract's `TaskParams`."""
    return {
        "configHash": task.config_hash,
        "modelHash": task.initial_model_hash,
        "pool": task.pool,
        "stake": task.stake,
        "rounds": task.rounds,
        "minParticipants": task.min_participants,
        "maxParticipants": task.max_participants,
        "quorum": task.quorum,
        "rewardMode": ("equal", "samples", "score").index(task.reward_mode),
        "joinSeconds": task.join_seconds,
        "updateSeconds": task.update_seconds,
        "scoreSeconds": task.score_seconds,
        "aggregateSeconds": task.aggregate_seconds,
        "evaluators": [
            *task.evaluator_accounts.order_by("pk").values_list("address", flat=True),
            *task.outside_evaluators,
        ],
    }


Service = TypeVar("Service", bound=Callable[..., object])


def chain_errors_as_ours(service: Service) -> Service:
    """A page shows what went wrong on chain as it shows its own refusals: nothing typed is lost."""

    @wraps(service)
    def guarded(*args: object, **kwargs: object) -> object:
        try:
            return service(*args, **kwargs)
        except ChainError as error:
            raise ChainTrouble(str(error)) from error

    return cast(Service, guarded)
