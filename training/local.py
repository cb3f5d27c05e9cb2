"""A participant's local training and the evaluation of a model, with TensorFlow on the CPU.

Importing it imports TensorFlow (about 10 s): do so lazily, in a worker child.

`training.programs` has what is compiled. Sample counts are padded to powers of two, so only a new
power of two compiles again. Same job, same bytes: batches are drawn with NumPy from (seed, round,
slot) and each process computes on its own fixed threads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from training import data, privacy, zoo
from training.batches import LEAST_ROWS, FullBatch, bucket, pad, schedule
from training.blobs import BlobStore
from training.data import PURPOSE_SHUFFLE, Samples, generator
from training.errors import TrainingError
from training.programs import Engine, Training, engine_for
from training.specs import LocalSpec, TaskConfig, TrainJob, TrainResult, update_hash
from training.weights import Float32, Weights, encode

_SECONDS_PER_CALL = 0.2  # long trainings come back this often to report
_EVALUATE_ROWS = 4096  # at most so many rows of logits at once

Progress = Callable[[int, int, float], None]  # samples done, samples in all, samples per second


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
    started = time.perf_counter()
    config = TaskConfig.from_dict(job.config)
    share = data.share(config, job.slot) if own is None else own
    reference = blobs.open_weights(job.model_ref)
    loss: float | None
    accuracy: float | None
    weights, loss, accuracy = fit(
        config,
        reference,
        share,
        generator(config.seed, PURPOSE_SHUFFLE, job.round, job.slot),
        progress,
    )
    if not all(np.isfinite(tensor).all() for tensor in weights.values()):
        raise TrainingError(
            f"training of slot {job.slot} in round {job.round} diverged (NaN or infinity) at "
            f"learning rate {config.local.learning_rate}. Use a smaller one."
        )
    if config.privacy.noisy:
        secret = privacy.hosted_secret() if noise_secret is None else noise_secret
        key = privacy.noise_key(secret, **job.to_dict())
        weights = privacy.privatise(weights, reference, config.privacy.params, key)
        loss = accuracy = None
    content_hash = blobs.put(encode(weights))
    return TrainResult(
        content_hash=content_hash,
        update_hash=update_hash(job.participant, job.task_id, job.round, content_hash),
        samples=len(share),
        loss=loss,
        accuracy=accuracy,
        seconds=time.perf_counter() - started,
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
    engine = _engine_for(config)
    spec = _plan(config)
    padded = bucket(len(share), LEAST_ROWS)
    order, steps_per_epoch = schedule(len(share), padded, spec, rng)
    steps = steps_per_epoch * spec.epochs
    training = Training(
        engine,
        engine.tensors(weights),
        pad(share.x, padded),
        pad(share.y, padded),
        order,
        last_epoch=steps - steps_per_epoch,
        spec=spec,
        mu=float(config.algorithm.params.get("mu", 0.0)),
    )
    done, stride, total = 0, steps_per_epoch if progress else steps, len(share) * spec.epochs
    started = time.perf_counter()
    if progress:
        progress(0, total, 0.0)
    while done < steps:
        stop = min(done + stride, steps)
        training.advance(done, stop)
        done = stop
        if progress:
            training.seen()  # waits for the result, so that the clock below is honest
            rate = done / max(time.perf_counter() - started, 1e-9)
            samples = round(total * done / steps)
            progress(samples, total, rate * total / steps)
            stride = max(1, int(rate * _SECONDS_PER_CALL))
    loss, correct, seen = training.seen()
    return training.weights(), loss / seen, correct / seen


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
    tensors = engine.tensors(weights)

    def logits_of(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        parts = []
        for at in range(0, len(x), _EVALUATE_ROWS):
            rows = x[at : at + _EVALUATE_ROWS]
            padded = pad(rows, bucket(len(rows), least))
            parts.append(engine.logits_of(tensors, padded)[: len(rows)])
        return np.concatenate(parts)

    return logits_of


def warm_up(config: TaskConfig | None = None) -> float:
    """Compiles what `config` (default: the default task) needs; returns the seconds it took."""
    started = time.perf_counter()
    config = config or TaskConfig()
    weights = initial_weights(config)
    rng = generator(config.seed, PURPOSE_SHUFFLE, 0, 0)
    trained, _loss, _accuracy = fit(config, weights, data.share(config, 0), rng)
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
