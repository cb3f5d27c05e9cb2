"""Tell the sender of an account that there is work.

The message carries nothing: the queue is in the database, and a message that gets lost costs
the two seconds until `outbox_tick` looks.
"""

from __future__ import annotations

import logging

from celery import signature
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)


def wake_sender_on_commit(account_id: int) -> None:
    """Have a worker send this account's queue once the current transaction is committed."""
    transaction.on_commit(lambda: wake_sender(account_id), robust=False)


def wake_sender(account_id: int) -> None:
    """The same at once. By name: a module that only wants to wake must not import the sender."""
    task = signature("chain.tasks.account_send_task", args=(account_id,), immutable=True)
    try:
        task.apply_async(queue="control", ignore_result=True, retry=False)
    except (OperationalError, ConnectionError) as error:
        logger.warning("No broker to wake the sender of account %s: %s", account_id, error)
