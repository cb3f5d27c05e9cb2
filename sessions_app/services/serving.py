"""Asking a serving worker, and waiting for its answer."""

from __future__ import annotations

import time
from typing import Any

from celery import Task as CeleryTask
from celery import current_app
from celery.exceptions import TimeoutError as NoAnswer
from django.conf import settings
from kombu.exceptions import OperationalError

from sessions_app.errors import BadInput, ModelRefused, ServingTrouble
from training.errors import BlobCorrupt, BlobMissing, InputRefused, TrainingError

QUEUE = "serving"
# After so long without an answer, is there a worker at all? Asked twice: one that is just
# starting may not answer the first time.
_LOOK_AFTER = (1.5, 4.0)  # seconds
_LOOK = 1.0


def ask(task: CeleryTask, *args: Any) -> Any:
    """What a worker on the queue `serving` returns.

    Raises BadInput (what was sent does not fit the model), ModelRefused (missing or tampered
    bytes), and ServingTrouble: no worker, no answer within PREDICTION_SECONDS, or no queue.
    """
    seconds = settings.PREDICTION_SECONDS
    deadline = time.monotonic() + seconds
    try:
        sent = task.apply_async(args=args, expires=seconds, retry=False)
        try:
            return _wait(sent, deadline, seconds)
        finally:
            sent.forget()
    except InputRefused as error:
        raise BadInput(str(error)) from error
    except (BlobCorrupt, BlobMissing) as error:
        raise ModelRefused(f"The model is refused: {error}") from error
    except TrainingError as error:
        raise ServingTrouble(f"The model cannot be asked: {error}") from error
    except (OperationalError, OSError) as error:
        raise ServingTrouble(
            f"The queue (Redis) does not answer: {error}. Start it, then try again."
        ) from error


def _wait(sent: Any, deadline: float, seconds: float) -> Any:
    silent = 0
    for pause in (*_LOOK_AFTER, seconds):
        left = max(0.0, deadline - time.monotonic())
        try:
            return sent.get(timeout=min(pause, left), disable_sync_subtasks=False)
        except NoAnswer:
            if pause < seconds and not _served():
                silent += 1
            if silent == len(_LOOK_AFTER):
                break
    if silent == len(_LOOK_AFTER):
        raise ServingTrouble(
            f"No worker serves predictions (queue {QUEUE}). Start the process `serving` of the "
            "Procfile, then try again."
        )
    raise ServingTrouble(
        f"No answer within {seconds:g} s (PREDICTION_SECONDS). The first prediction after a start "
        "loads TensorFlow; try again. If it stays so, look at logs/serving.log."
    )


def _served() -> bool:
    """Does any worker listen to the queue? Takes up to `_LOOK` seconds."""
    found = current_app.control.inspect(timeout=_LOOK).active_queues() or {}
    return any(queue["name"] == QUEUE for queues in found.values() for queue in queues)
