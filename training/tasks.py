"""What Celery runs on the queues `training` and `serving`: thin wrappers that load and call.

The parent of the worker processes imports this module, so TensorFlow (`training.local`) is
imported inside the functions, in the child. Weights never travel through the broker: jobs and
results hold the hashes of blobs in BLOB_ROOT.

Results reach the caller by the `link` signature it passes (of trainings that go together, by one
for each). A task delivered twice gives the same result, so late acknowledgement is safe.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from celery import current_app, shared_task, signature
from celery.signals import worker_process_init
from kombu.exceptions import OperationalError

from training.blobs import BlobStore
from training.errors import BlobMissing, TrainingError
from training.specs import AggregateJob, TaskConfig, TrainJob

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.25  # at most four reports a second from one task
PROGRESS_QUEUE = "control"

# A blob that another machine has just written may take a moment to appear on a shared disk.
_OPTIONS: dict[str, Any] = {
    "acks_late": True,
    "reject_on_worker_lost": True,
    "autoretry_for": (BlobMissing, OSError),
    "retry_backoff": 1,
    "retry_kwargs": {"max_retries": 4},
}


@shared_task(**_OPTIONS)
def initialise_model(config: Mapping[str, Any]) -> dict[str, Any]:
    """Stores the initial global model of a configuration.

    {"config_hash", "model_hash", "parameters" (count), "bytes", "samples" (the size of each
    slot's share; none for private data), "accuracy", "loss"}: the last two on the held-out
    samples, before any training.
    """
    from training import data, local
    from training.weights import encode

    spec = TaskConfig.from_dict(config)
    weights = local.initial_weights(spec)
    encoded = encode(weights)
    metrics = local.evaluate(spec, weights)
    return {
        "config_hash": spec.hash(),
        "model_hash": BlobStore.default().put(encoded),
        "parameters": sum(tensor.size for tensor in weights.values()),
        "bytes": len(encoded),
        "samples": []
        if spec.dataset.is_private
        else [len(data.share(spec, slot)) for slot in range(spec.participants)],
        "accuracy": metrics.accuracy,
        "loss": metrics.loss,
    }


@shared_task(**_OPTIONS)
def train_updates(
    jobs: Sequence[Mapping[str, Any]],
    progress: str | None = None,
    answers: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Runs TrainJobs of one round; returns of each its TrainResult as a dict, or {"error": what
    was wrong with this one}. `jobs.in_groups` says which to send together.

    `answers`, if given, has a signature for each, which gets its result as the first argument as
    soon as it is there: who is ready first does not wait for the others.

    `progress` names a Celery task that is sent {task_id, round, slot, participant, stage:
    "training", done, total, samples_per_second}, done and total in samples over all epochs.
    """
    from training import local

    reporter = Reporter(progress)

    def watch(job: TrainJob) -> Callable[[int, int, float], None]:
        names = ("task_id", "round", "slot", "participant")
        subject = {name: getattr(job, name) for name in names}
        return lambda done, total, rate: reporter.send(subject, "training", done, total, rate)

    def plain(outcome: local.Outcome) -> dict[str, Any]:
        if isinstance(outcome, TrainingError):
            return {"error": f"{type(outcome).__name__}: {outcome}"}
        return outcome.to_dict()

    def answer(place: int, outcome: local.Outcome) -> None:
        if answers:
            signed = signature(answers[place], app=app)
            signed.clone(args=(plain(outcome),)).apply_async()

    app = current_app._get_current_object()  # another thread would find the default one
    specs = [TrainJob.from_dict(job) for job in jobs]
    return [plain(one) for one in local.train_all(specs, BlobStore.default(), watch, answer)]


@shared_task(**_OPTIONS)
def aggregate_round(job: Mapping[str, Any], progress: str | None = None) -> dict[str, Any]:
    """Runs an AggregateJob; returns an AggregateResult as a dict.

    `progress` as in `train_updates`, with the stages "scoring" (done and total in updates),
    "gain" (models evaluated, and the most there can be; only for scorings that need them) and
    "aggregating", and slot and participant None.
    """
    from training import local
    from training.round import aggregate_round as run

    spec = AggregateJob.from_dict(job)
    subject = {"task_id": spec.task_id, "round": spec.round, "slot": None, "participant": None}
    report = partial(Reporter(progress).send, subject)
    return run(spec, BlobStore.default(), local.evaluate, report).to_dict()


@shared_task(**{**_OPTIONS, "autoretry_for": (OSError,)}, throws=(TrainingError,))
def export_model(
    config: Mapping[str, Any],
    model_ref: str,
    format: str,
    progress: str | None = None,
    subject: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Makes a file of a model; returns a `training.export.Artefact` as a dict.

    `progress` names a Celery task that is sent `subject` and {stage, done, total}.
    """
    from training import export

    report = partial(Reporter(progress).send, subject or {})
    made = export.export(
        TaskConfig.from_dict(config), model_ref, format, BlobStore.default(), report
    )
    return asdict(made)


# On the queue `serving`, by name: see CELERY_TASK_ROUTES. Somebody waits for the answer, so it is
# never tried again and never delivered twice.
_ANSWERS: dict[str, Any] = {
    "ignore_result": False,
    "acks_late": False,
    "throws": (TrainingError,),
}


@shared_task(name="training.serving.predict", **_ANSWERS)
def predict(config: Mapping[str, Any], model_ref: str, rows: Any) -> dict[str, Any]:
    from training import serving

    return serving.predict_rows(config, model_ref, rows, BlobStore.default())


@shared_task(name="training.serving.warm_up", **_ANSWERS)
def warm_up_model(config: Mapping[str, Any], model_ref: str) -> dict[str, Any]:
    from training import serving

    return serving.warm_up(config, model_ref, BlobStore.default())


@shared_task(name="training.serving.describe", **_ANSWERS)
def describe_input(config: Mapping[str, Any]) -> dict[str, Any]:
    from training import serving

    return serving.describe(config)


@shared_task(name="training.serving.sample", **_ANSWERS)
def holdout_sample(config: Mapping[str, Any], number: int) -> dict[str, Any]:
    from training import serving

    return serving.holdout_sample(config, number)


class Reporter:
    """Sends progress to a Celery task by name, at most one message per PROGRESS_SECONDS.

    Progress is for people watching: a broker that does not take it never stops the training.
    """

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._next = 0.0

    def send(
        self, subject: Mapping[str, Any], stage: str, done: int, total: int, rate: float = 0.0
    ) -> None:
        now = time.monotonic()
        if not self._name or now < self._next:
            return
        self._next = now + PROGRESS_SECONDS
        payload = {
            **subject,
            "stage": stage,
            "done": done,
            "total": total,
            "samples_per_second": round(rate, 1),
        }
        try:
            current_app.send_task(
                self._name, args=[payload], queue=PROGRESS_QUEUE, ignore_result=True, retry=False
            )
        except OperationalError as error:
            log.warning("progress of %s not sent: %s", subject, error)


@worker_process_init.connect
def warm_up_child(**_: Any) -> None:
    """Imports TensorFlow and compiles the default model before the child takes its first job.

    Only in workers that serve the training queue, which the Procfile marks by BCFL_ROLE.
    """
    if os.environ.get("BCFL_ROLE") != "training":
        return
    started = time.perf_counter()
    from training import local

    compiled = local.warm_up()
    log.info(
        "training child ready after %.1f s (compiling %.1f s)",
        time.perf_counter() - started,
        compiled,
    )
