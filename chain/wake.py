"""Tell the sender of an account that there is work.

The message carries nothing: the queue is in the database, and a message that gets lost costs
the two seconds until `outbox_tick` looks.
"""

from __future__ import annotations

import logging
import time

from celery import signature
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

# The broker's client retries a dead connection for seconds; once is enough for a mere hint.
SILENT_SECONDS = 5.0
_silent_until = 0.0


def wake_sender_on_commit(account_id: int) -> None:
    """Have a worker send this account's queue once the current transaction is committed."""
    transaction.on_commit(lambda: wake_sender(account_id))


def wake_sender(account_id: int) -> None:
    """The same at once. By name: a module that only wants to wake must not import the sender."""
    global _silent_until
    if time.monotonic() < _silent_until:
        return
    task = signature("chain.tasks.account_send_task", args=(account_id,), immutable=True)
    try:
        task.apply_async(queue="control", ignore_result=True, retry=False)
    except (OperationalError, ConnectionError) as error:
        _silent_until = time.monotonic() + SILENT_SECONDS
        logger.warning(
            "No broker to wake the sender of account %s (%s); the periodic tick will.",
            account_id,
            error,
        )
