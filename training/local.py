"""A participant's local training and the evaluation of a model, with TensorFlow on the CPU.

The only module besides `training.zoo` that imports TensorFlow (about 10 s): import it lazily, in
a worker child.

A whole local training is one compiled function from weights to weights: no Keras variable is
assigned, nothing is rebuilt or traced again for another participant. Sample counts are padded to
powers of two, so only a new power of two compiles again. Same job, same bytes: batches are drawn
with NumPy from (seed, round, slot) and each process computes on its own fixed threads.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

# TensorFlow writes an error about the missing GPU on every start; what really fails raises.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its sums depend on the processor
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import tensorflow as tf

from training import data, privacy, zoo
from training.batches import LEAST_ROWS, FullBatch, bucket, pad, schedule
from training.blobs import BlobStore
from training.data import PURPOSE_SHUFFLE, Samples, generator
from training.errors import DataError, TrainingError
from training.specs import LocalSpec, ModelSpec, TaskConfig, TrainJob, TrainResult, update_hash
from training.weights import Float32, Weights, encode

THREADS = int(os.environ.get("BCFL_TRAIN_THREADS", "1"))
tf.config.threading.set_intra_op_parallelism_threads(THREADS)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.config.experimental.enable_op_determinism()

_ADAM_BETA_1, _ADAM_BETA_2, _ADAM_EPSILON = 0.9, 0.999, 1e-7  # Kingma & Ba 2015; Keras' ε
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


class _Compiled(Protocol):
    """A tf.function: compiles once for each shape of its arguments."""

    def __call__(self, *args: Any) -> Any: ...
    def get_concrete_function(self, *args: Any) -> Callable[..., Any]: ...


@dataclass(frozen=True, eq=False)
class _Engine:
    """One architecture in this process: tensor names and shapes, and its compiled functions."""

    names: tuple[str, ...]  # in Keras' order
    shapes: tuple[tuple[int, ...], ...]
    logits: _Compiled  # (tensors, x (n, ...)) -> (n, classes)
    steps: dict[tuple[str, bool], _Compiled]  # (optimizer, proximal) -> see _compile_steps
    ready: dict[Any, Callable[..., Any]] = field(default_factory=dict)  # for shapes met before

    def step_function(self, optimizer: str, proximal: bool, *args: Any) -> Callable[..., Any]:
        """The program for arguments of these shapes. Asking the general one to find it among its
        own takes longer than a gradient step of a small model."""
        key = optimizer, proximal, *(tuple(arg.shape) for arg in args[3:6])
        if key not in self.ready:
            self.ready[key] = self.steps[optimizer, proximal].get_concrete_function(*args)
        return self.ready[key]


_lock = threading.Lock()  # tracing the same function from two threads would compile it twice


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
    mu = float(config.algorithm.params.get("mu", 0.0))
    padded = bucket(len(share), LEAST_ROWS)
    order, steps_per_epoch = schedule(len(share), padded, spec, rng)
    steps = steps_per_epoch * spec.epochs
    tensors = _tensors(engine, weights)
    optimizer = _optimizer(spec)
    carry = [tensors, _fresh_slots(optimizer, tensors), tf.zeros(3)]  # loss, correct, seen
    x = tf.constant(pad(share.x, padded))  # (padded, ...)
    y = tf.constant(pad(share.y, padded))  # (padded,)
    order = tf.constant(order)  # (steps padded, batch)
    constants = (
        tf.constant(steps - steps_per_epoch),
        tf.constant(spec.learning_rate, tf.float32),
        tf.constant(spec.momentum, tf.float32),
        tf.constant(mu, tf.float32),
        tensors if mu else [],
    )
    done, stride, total = 0, steps_per_epoch if progress else steps, len(share) * spec.epochs
    started = time.perf_counter()
    if progress:
        progress(0, total, 0.0)
    while done < steps:
        stop = min(done + stride, steps)
        args = (*carry, x, y, order, tf.constant(done), tf.constant(stop), *constants)
        with _lock:
            carry = engine.step_function(optimizer, mu > 0, *args)(*args)
        done = stop
        if progress:
            carry[2].numpy()  # waits for the result, so that the clock below is honest
            rate = done / max(time.perf_counter() - started, 1e-9)
            samples = round(total * done / steps)
            progress(samples, total, rate * total / steps)
            stride = max(1, int(rate * _SECONDS_PER_CALL))
    loss, correct, seen = (float(value) for value in carry[2].numpy())
    trained = {
        name: np.array(tensor.numpy(), dtype=np.float32)
        for name, tensor in zip(engine.names, carry[0], strict=True)
    }
    return trained, loss / seen, correct / seen


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
    tensors = _tensors(engine, weights)

    def logits_of(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        parts = []
        for at in range(0, len(x), _EVALUATE_ROWS):
            rows = x[at : at + _EVALUATE_ROWS]
            with _lock:
                logits = engine.logits(tensors, tf.constant(pad(rows, bucket(len(rows), least))))
            parts.append(logits.numpy()[: len(rows)])
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


def _engine_for(config: TaskConfig) -> _Engine:
    dataset = data.load(config.dataset)
    params = json.dumps(dict(config.model.params), sort_keys=True)
    with _lock:
        return _engine(config.model.name, params, dataset.x.shape[1:], dataset.classes)


@lru_cache(maxsize=16)
def _engine(name: str, params: str, input_shape: tuple[int, ...], classes: int) -> _Engine:
    model = zoo.build(ModelSpec(name, json.loads(params)), input_shape, classes, seed=0)

    def forward(tensors: Any, x: Any) -> Any:
        logits, _ = model.stateless_call(list(tensors), model.non_trainable_variables, x)
        return logits

    return _Engine(
        names=tuple(variable.path for variable in model.trainable_variables),
        shapes=tuple(tuple(variable.shape) for variable in model.trainable_variables),
        logits=tf.function(forward, jit_compile=True, reduce_retracing=False),
        steps={
            (optimizer, proximal): _compile_steps(forward, update, proximal)
            for optimizer, update in _UPDATES.items()
            for proximal in (False, True)
        },
    )


def _compile_steps(
    forward: Callable[[Any, Any], Any], update: Callable[..., Any], proximal: bool
) -> _Compiled:
    """Gradient steps `start` ... `stop - 1` of a schedule as one XLA program.

    (tensors, slots, seen (3,), x (n, ...), y (n,), order (steps, batch), start, stop, last_epoch,
    learning_rate, momentum, mu, anchor) -> [tensors, slots, seen]. An index of -1 in `order` is
    padding and weighs nothing; `seen` sums loss, correct and samples from step `last_epoch` on.
    `proximal` adds mu · (tensors - anchor) to the gradients: FedProx, Li et al. 2020
    (arXiv 1812.06127), equation 2.
    """

    def run(
        tensors: Any,
        slots: Any,
        seen: Any,
        x: Any,
        y: Any,
        order: Any,
        start: Any,
        stop: Any,
        last_epoch: Any,
        learning_rate: Any,
        momentum: Any,
        mu: Any,
        anchor: Any,
    ) -> Any:
        def body(step: Any, tensors: Any, slots: Any, seen: Any) -> Any:
            picked = order[step]  # (batch,)
            mask = tf.cast(picked >= 0, tf.float32)  # (batch,)
            index = tf.maximum(picked, 0)
            batch_x, batch_y = tf.gather(x, index), tf.gather(y, index)
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                logits = forward(tensors, batch_x)  # (batch, classes)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(batch_y, logits)
                loss_sum = tf.reduce_sum(losses * mask)
                count = tf.reduce_sum(mask)
                loss = loss_sum / count
            gradients = tape.gradient(loss, tensors)
            if proximal:
                gradients = [
                    gradient + mu * (tensor - start_tensor)
                    for gradient, tensor, start_tensor in zip(
                        gradients, tensors, anchor, strict=True
                    )
                ]
            tensors, slots = update(tensors, slots, gradients, learning_rate, momentum)
            right = tf.cast(tf.argmax(logits, axis=1, output_type=tf.int32) == batch_y, tf.float32)
            counted = tf.stack([loss_sum, tf.reduce_sum(right * mask), count])
            seen += tf.where(step >= last_epoch, counted, tf.zeros_like(counted))
            return step + 1, tensors, slots, seen

        _, tensors, slots, seen = tf.while_loop(
            lambda step, *_: step < stop, body, (start, tensors, slots, seen)
        )
        return [tensors, slots, seen]

    return tf.function(run, jit_compile=True, reduce_retracing=False)


def _sgd(tensors: Any, slots: Any, gradients: Any, learning_rate: Any, momentum: Any) -> Any:
    velocity = [momentum * v - learning_rate * g for v, g in zip(slots, gradients, strict=True)]
    return [w + v for w, v in zip(tensors, velocity, strict=True)], velocity


def _adam(tensors: Any, slots: Any, gradients: Any, learning_rate: Any, momentum: Any) -> Any:
    first, second, step = slots
    step = step + 1.0
    first = [
        _ADAM_BETA_1 * m + (1 - _ADAM_BETA_1) * g for m, g in zip(first, gradients, strict=True)
    ]
    second = [
        _ADAM_BETA_2 * v + (1 - _ADAM_BETA_2) * g * g
        for v, g in zip(second, gradients, strict=True)
    ]
    rate = learning_rate * tf.sqrt(1 - _ADAM_BETA_2**step) / (1 - _ADAM_BETA_1**step)
    moved = [
        w - rate * m / (tf.sqrt(v) + _ADAM_EPSILON)
        for w, m, v in zip(tensors, first, second, strict=True)
    ]
    return moved, [first, second, step]


def _plain_sgd(tensors: Any, slots: Any, gradients: Any, learning_rate: Any, momentum: Any) -> Any:
    return [w - learning_rate * g for w, g in zip(tensors, gradients, strict=True)], slots


# Without momentum there is no velocity to read and write: a third of a large model's step.
_PLAIN = "plain_sgd"
_UPDATES: dict[str, Callable[..., Any]] = {"adam": _adam, "sgd": _sgd, _PLAIN: _plain_sgd}


def _optimizer(spec: LocalSpec | FullBatch) -> str:
    return _PLAIN if spec.optimizer == "sgd" and not spec.momentum else spec.optimizer


def _fresh_slots(optimizer: str, tensors: list[Any]) -> list[Any]:
    if optimizer == _PLAIN:
        return []
    zeros = [tf.zeros_like(tensor) for tensor in tensors]
    return zeros if optimizer == "sgd" else [zeros, list(zeros), tf.constant(0.0)]


def _tensors(engine: _Engine, weights: Weights) -> list[Any]:
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    expected = dict(zip(engine.names, engine.shapes, strict=True))
    if shapes != expected:
        raise DataError(
            f"weights with tensors {shapes}, but this model has {expected}. "
            "Use a blob of this task."
        )
    return [tf.constant(weights[name]) for name in engine.names]


def _plan(config: TaskConfig) -> LocalSpec | FullBatch:
    """What to do locally: as configured, except that FedSGD is one step on everything."""
    if config.algorithm.name == "fedsgd":
        return FullBatch(config.local.learning_rate)
    return config.local


# Keras' own setting; a global float16 policy from elsewhere would change every blob.
keras.config.set_floatx("float32")
