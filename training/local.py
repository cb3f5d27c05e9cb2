"""A participant's local training and the evaluation of a model, with TensorFlow on the CPU.

Importing it imports TensorFlow (about 10 s): do so lazily, in a worker child.

`training.programs` has what is compiled. A task's data set is held whole as one tensor and a share
is a list of places in it, so shares of any size run the same program; what somebody brings is
padded to a power of two of rows. Same job, same bytes: batches are drawn with NumPy from (seed,
round, slot) and each process computes on its own fixed threads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from training import data, privacy, zoo
from training.batches import LEAST_ROWS, FullBatch, Schedule, bucket, pad, schedule
from training.blobs import BlobStore
from training.data import PURPOSE_SHUFFLE, Samples, generator
from training.errors import TrainingError
from training.jobs import GROUP_SAMPLES
from training.programs import Engine, Training, engine_for, held
from training.specs import LocalSpec, TaskConfig, TrainJob, TrainResult, update_hash
from training.weights import Float32, Weights, encode

_SECONDS_PER_CALL = 0.2  # long trainings come back this often to report
_TOGETHER = 4  # short trainings in one call at most: the others' updates are stored meanwhile
_EVALUATE_ROWS = 4096  # at most so many rows of logits at once

Progress = Callable[[int, int, float], None]  # samples done, samples in all, samples per second
Outcome = TrainResult | TrainingError


@dataclass(frozen=True)
class Metrics:
    """`accuracy` 0 to 1 = correct ÷ total; `loss` mean cross-entropy in nats; `per_class` the
    accuracy within each class (NaN never: a class without samples counts 0); `right` says of each
    sample whether it was classified right."""

    accuracy: float
    loss: float
    correct: int
    total: int
    per_class: tuple[float, ...]
    right: npt.NDArray[np.bool_] = field(compare=False, repr=False)


def initial_weights(config: TaskConfig) -> dict[str, Float32]:
    """The global model before round 1: a fresh Keras model's weights, from `config.seed`."""
    dataset = data.load(config.dataset)
    model = zoo.build(config.model, dataset.x.shape[1:], dataset.classes, config.seed)
    return {
        variable.path: np.asarray(variable.value, dtype=np.float32)
        for variable in model.trainable_variables
    }


def train(
    job: TrainJob,
    blobs: BlobStore,
    progress: Progress | None = None,
    own: Samples | None = None,
    noise_secret: bytes | None = None,
) -> TrainResult:
    """Trains one participant's share from the global model and stores the resulting weights.

    `own`: samples of the participant's own, in the place of a share of the task's data set.
    In a private task only the noisy weights are stored, and what was seen while training stays
    here. `noise_secret` is the participant's own; by default the hosted ones'.

    Raises BlobMissing, BlobCorrupt, DataError (slot, or a blob of another model), and
    TrainingError when the training diverged to NaN or infinity.
    """
    config = TaskConfig.from_dict(job.config)
    ready = _ready(job, config, own)
    ((weights, loss, accuracy),) = _train([ready], blobs, progress)
    return _stored(_checked(ready, weights, loss, accuracy, blobs, noise_secret), blobs)


def train_all(
    jobs: Sequence[TrainJob],
    blobs: BlobStore,
    progress: Callable[[TrainJob], Progress] | None = None,
    tell: Callable[[int, Outcome], None] | None = None,
) -> list[Outcome]:
    """`train` for each. Short trainings are called together, and updates are stored while the
    next are trained, because a small share trains hardly longer than its update takes to reach the
    disk.

    One that can't be trained does not keep the others from it: its error is in its place. What
    is wrong with the global model is raised: it is the same for all of a round. `tell` gets
    each outcome with its place as soon as it is known, from another thread.
    """
    outcomes: dict[int, Future[Outcome]] = {}

    def end(place: int, trained: _Trained | TrainingError) -> Outcome:
        outcome = trained if isinstance(trained, TrainingError) else _stored(trained, blobs)
        if tell:
            tell(place, outcome)
        return outcome

    def run(waiting: list[tuple[int, _Ready]]) -> None:
        together = [ready for _, ready in waiting]
        found = _train(together, blobs, progress and progress(together[0].job))
        for (place, ready), (weights, loss, accuracy) in zip(waiting, found, strict=True):
            try:
                trained: _Trained | TrainingError = _checked(ready, weights, loss, accuracy, blobs)
            except TrainingError as error:
                trained = error
            outcomes[place] = writer.submit(end, place, trained)

    # Of those in one call, progress is told as the first one's: they end together.
    with ThreadPoolExecutor(1) as writer:
        config: TaskConfig | None = None
        waiting: list[tuple[int, _Ready]] = []
        for place, job in enumerate(jobs):
            if config is None or job.config != jobs[place - 1].config:
                config = TaskConfig.from_dict(job.config)
            try:
                ready = _ready(job, config)
            except TrainingError as error:
                outcomes[place] = writer.submit(end, place, error)
                continue
            if waiting and (len(waiting) == _TOGETHER or not ready.goes_with(waiting[0][1])):
                run(waiting)
                waiting = []
            waiting.append((place, ready))
        if waiting:
            run(waiting)
    return [outcomes[place].result() for place in range(len(jobs))]


@dataclass(frozen=True, eq=False)
class _Ready:
    """What is known before the first step; `samples` are held."""

    job: TrainJob
    config: TaskConfig
    started: float  # of time.perf_counter
    count: int
    samples: tuple[Any, Any]
    schedule: Schedule

    def goes_with(self, other: _Ready) -> bool:
        """Whether one call may train them: the same model in the same way, and both short."""
        return (
            self.config is other.config
            and self.job.model_ref == other.job.model_ref
            and self.schedule.order.shape[1] == other.schedule.order.shape[1]
            and _is_short(self.config, self.count)
            and _is_short(other.config, other.count)
        )


def _is_short(config: TaskConfig, samples: int) -> bool:
    return samples * config.local.epochs < GROUP_SAMPLES // 2


@dataclass(frozen=True, eq=False)
class _Trained:
    """An update that is not stored yet."""

    job: TrainJob
    started: float
    data: bytes
    samples: int
    loss: float | None
    accuracy: float | None


def _ready(job: TrainJob, config: TaskConfig, own: Samples | None = None) -> _Ready:
    started = time.perf_counter()
    if own is None:
        rows = data.places(config, job.slot)
        samples = _of_task(config)
    else:
        rows, samples = np.arange(len(own)), _padded(own)
    rng = generator(config.seed, PURPOSE_SHUFFLE, job.round, job.slot)
    plan = schedule(rows, _plan(config), rng)
    return _Ready(job, config, started, len(rows), samples, plan)


def _train(
    ready: Sequence[_Ready], blobs: BlobStore, progress: Progress | None
) -> list[tuple[dict[str, Float32], float, float]]:
    first = ready[0]
    width = 1 if len(ready) == 1 else _TOGETHER
    engine, spec = _engine_for(first.config), _plan(first.config)
    start = _opened(blobs, first.job.model_ref, engine, spec, width)
    plans = [one.schedule for one in ready]
    return _fit(first.config, start, first.samples, plans, progress)


def _checked(
    ready: _Ready,
    weights: dict[str, Float32],
    seen_loss: float,
    seen_accuracy: float,
    blobs: BlobStore,
    noise_secret: bytes | None = None,
) -> _Trained:
    """The update; TrainingError when the training diverged."""
    job, config = ready.job, ready.config
    if not all(np.isfinite(tensor).all() for tensor in weights.values()):
        raise TrainingError(
            f"training of slot {job.slot} in round {job.round} diverged (NaN or infinity) at "
            f"learning rate {config.local.learning_rate}. Use a smaller one."
        )
    loss: float | None = seen_loss
    accuracy: float | None = seen_accuracy
    if config.privacy.noisy:
        secret = privacy.hosted_secret() if noise_secret is None else noise_secret
        key = privacy.noise_key(secret, **job.to_dict())
        reference = blobs.open_weights(job.model_ref)
        weights = privacy.privatise(weights, reference, config.privacy.params, key)
        loss = accuracy = None
    return _Trained(job, ready.started, encode(weights), ready.count, loss, accuracy)


def _stored(trained: _Trained, blobs: BlobStore) -> TrainResult:
    job = trained.job
    content_hash = blobs.put(trained.data)
    return TrainResult(
        content_hash=content_hash,
        update_hash=update_hash(job.participant, job.task_id, job.round, content_hash),
        samples=trained.samples,
        loss=trained.loss,
        accuracy=trained.accuracy,
        seconds=time.perf_counter() - trained.started,
        participant=job.participant,
        task_id=job.task_id,
        round=job.round,
        slot=job.slot,
    )


def fit(
    config: TaskConfig,
    weights: Weights,
    share: Samples,
    rng: np.random.Generator,
    progress: Progress | None = None,
) -> tuple[dict[str, Float32], float, float]:
    """New weights, and the mean loss and accuracy seen while training in the last epoch."""
    spec = _plan(config)
    plan = schedule(np.arange(len(share)), spec, rng)
    start = _engine_for(config).start(weights, spec)
    (found,) = _fit(config, start, _padded(share), [plan], progress)
    return found


def _fit(
    config: TaskConfig,
    start: Any,
    samples: tuple[Any, Any],
    schedules: Sequence[Schedule],
    progress: Progress | None,
) -> list[tuple[dict[str, Float32], float, float]]:
    """`fit` from `Engine.start` by each of the schedules, on samples that are held. `progress` is
    of all together."""
    mu = float(config.algorithm.params.get("mu", 0.0))
    training = Training(_engine_for(config), start, samples, schedules, spec=_plan(config), mu=mu)
    longest = max(schedules, key=lambda one: one.steps)
    steps = longest.steps
    total = sum(int((one.order >= 0).sum()) for one in schedules)
    done, stride = 0, steps - longest.last_epoch if progress else steps
    started = time.perf_counter()
    if progress:
        progress(0, total, 0.0)
    while done < steps:
        stop = min(done + stride, steps)
        training.advance(done, stop)
        done = stop
        if progress:
            training.found()  # waits for the result, so that the clock below is honest
            rate = done / max(time.perf_counter() - started, 1e-9)
            progress(round(total * done / steps), total, rate * total / steps)
            stride = max(1, int(rate * _SECONDS_PER_CALL))
    return [(weights, loss / n, correct / n) for weights, loss, correct, n in training.found()]


def _of_task(config: TaskConfig) -> tuple[Any, Any]:
    return _resident(data.everything(config.dataset, config.seed))


@lru_cache(maxsize=2)
def _resident(samples: Samples) -> tuple[Any, Any]:
    return held(samples.x), held(samples.y)


def _padded(samples: Samples) -> tuple[Any, Any]:
    rows = bucket(len(samples), LEAST_ROWS)
    return held(pad(samples.x, rows)), held(pad(samples.y, rows))


@lru_cache(maxsize=2)
def _opened(
    blobs: BlobStore, ref: str, engine: Engine, spec: LocalSpec | FullBatch, width: int
) -> Any:
    """A global model, checked, as trainings begin from it: in a round many do."""
    return engine.start(blobs.open_weights(ref), spec, width)


def evaluate(config: TaskConfig, weights: Weights) -> Metrics:
    """How `weights` do on the held-out samples of the task."""
    return evaluate_on(config, weights, data.holdout(config))


def evaluate_on(config: TaskConfig, weights: Weights, samples: Samples) -> Metrics:
    """How `weights` do on `samples`. Sums run in float64."""
    logits = predict(config, weights, samples.x).astype(np.float64)  # (n, classes)
    classes = logits.shape[1]
    highest = logits.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(logits - highest).sum(axis=1)) + highest[:, 0]
    losses = log_total - logits[np.arange(len(samples)), samples.y]
    right = logits.argmax(axis=1) == samples.y
    of_class = np.bincount(samples.y, minlength=classes)
    right_of_class = np.bincount(samples.y[right], minlength=classes)
    correct = int(right.sum())
    return Metrics(
        accuracy=correct / len(samples),
        loss=float(losses.mean()),
        correct=correct,
        total=len(samples),
        per_class=tuple((right_of_class / np.maximum(of_class, 1)).tolist()),
        right=right,
    )


def predict(
    config: TaskConfig, weights: Weights, x: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Logits (n, classes) for prepared inputs (n, ...)."""
    return predictor(config, weights)(x)


def predictor(
    config: TaskConfig, weights: Weights, least: int = 256
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """`predict` with the weights held ready: prepared inputs (n, ...) to logits (n, classes).

    Inputs are padded to a power of two of rows, at least `least`; each of these compiles once.
    """
    engine = _engine_for(config)
    vector = held(engine.vector(weights))

    def logits_of(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        parts = []
        for at in range(0, len(x), _EVALUATE_ROWS):
            rows = x[at : at + _EVALUATE_ROWS]
            padded = pad(rows, bucket(len(rows), least))
            parts.append(engine.logits_of(vector, padded)[: len(rows)])
        return np.concatenate(parts)

    return logits_of


def warm_up(config: TaskConfig | None = None) -> float:
    """Compiles what `config` (default: the default task) needs; returns the seconds it took."""
    started = time.perf_counter()
    config = config or TaskConfig()
    weights = initial_weights(config)
    rng = generator(config.seed, PURPOSE_SHUFFLE, 0, 0)
    spec, rows = _plan(config), data.places(config, 0)
    for width in (1, _TOGETHER) if _is_short(config, len(rows)) else (1,):
        start = _engine_for(config).start(weights, spec, width)
        plan = schedule(rows, spec, rng)
        ((trained, _loss, _accuracy),) = _fit(config, start, _of_task(config), [plan], None)
    evaluate(config, trained)
    return time.perf_counter() - started


def _engine_for(config: TaskConfig) -> Engine:
    dataset = data.load(config.dataset)
    params = json.dumps(dict(config.model.params), sort_keys=True)
    return engine_for(config.model.name, params, dataset.x.shape[1:], dataset.classes)


def _plan(config: TaskConfig) -> LocalSpec | FullBatch:
    """What to do locally: as configured, except that FedSGD is one step on everything."""
    if config.algorithm.name == "fedsgd":
        return FullBatch(config.local.learning_rate)
    return config.local
