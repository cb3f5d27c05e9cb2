"""Compiled programs: one architecture's forward pass and its gradient steps, with XLA on the CPU.

A whole local training is one compiled function from weights to weights: no Keras variable is
assigned, nothing is rebuilt or traced again for another participant. Each process computes on its
own fixed threads, so the same inputs give the same bytes. Only `training.local` imports this.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from training import zoo
from training.batches import FullBatch
from training.errors import DataError
from training.runtime import tf
from training.specs import LocalSpec, ModelSpec
from training.weights import Float32, Weights

_ADAM_BETA_1, _ADAM_BETA_2, _ADAM_EPSILON = 0.9, 0.999, 1e-7  # Kingma & Ba 2015; Keras' ε

_lock = threading.Lock()  # tracing the same function from two threads would compile it twice


class _Compiled(Protocol):
    """A tf.function: compiles once for each shape of its arguments."""

    def __call__(self, *args: Any) -> Any: ...
    def get_concrete_function(self, *args: Any) -> Callable[..., Any]: ...


@dataclass(frozen=True, eq=False)
class Engine:
    """One architecture in this process: tensor names and shapes, and its compiled functions."""

    names: tuple[str, ...]  # in Keras' order
    shapes: tuple[tuple[int, ...], ...]
    logits: _Compiled  # (tensors, x (n, ...)) -> (n, classes)
    steps: dict[tuple[str, bool], _Compiled]  # (optimizer, proximal) -> see _compile_steps
    ready: dict[Any, Callable[..., Any]] = field(default_factory=dict)  # for shapes met before

    def step_function(self, optimizer: str, proximal: bool, *args: Any) -> Callable[..., Any]:
        """The program for samples of these shapes and types. Asking the general one to find it
        among its own takes longer than a gradient step of a small model."""
        key = optimizer, proximal, *((tuple(arg.shape), arg.dtype) for arg in args[3:6])
        if key not in self.ready:
            self.ready[key] = self.steps[optimizer, proximal].get_concrete_function(*args)
        return self.ready[key]

    def tensors(self, weights: Weights) -> list[Any]:
        """Raises DataError for the weights of another model."""
        shapes = {name: tensor.shape for name, tensor in weights.items()}
        expected = dict(zip(self.names, self.shapes, strict=True))
        if shapes != expected:
            raise DataError(
                f"weights with tensors {shapes}, but this model has {expected}. "
                "Use a blob of this task."
            )
        return [tf.constant(weights[name]) for name in self.names]

    def logits_of(self, tensors: list[Any], x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(n, classes) for prepared inputs (n, ...)."""
        with _lock:
            logits = self.logits(tensors, tf.constant(x))
        found: npt.NDArray[np.float32] = logits.numpy()
        return found


class Training:
    """One participant's local training, on padded samples x (n, ...), y (n,) in the batches of
    `order` (steps, batch). `last_epoch`: the step from which loss and accuracy are counted.
    `mu`: FedProx' pull towards the first weights."""

    def __init__(
        self,
        engine: Engine,
        tensors: list[Any],
        x: npt.NDArray[np.float32],
        y: npt.NDArray[np.int32],
        order: npt.NDArray[np.int32],
        *,
        last_epoch: int,
        spec: LocalSpec | FullBatch,
        mu: float,
    ) -> None:
        self._engine = engine
        self._optimizer = _optimizer(spec)
        self._proximal = mu > 0
        # Weights, the optimizer's slots, and the sums of loss, correct and samples.
        self._carry = [tensors, _fresh_slots(self._optimizer, tensors), tf.zeros(3)]
        self._samples = tf.constant(x), tf.constant(y), tf.constant(order)
        self._constants = (
            tf.constant(last_epoch),
            tf.constant(spec.learning_rate, tf.float32),
            tf.constant(spec.momentum, tf.float32),
            tf.constant(mu, tf.float32),
            tensors if mu else [],
        )

    def advance(self, start: int, stop: int) -> None:
        """Gradient steps `start` ... `stop - 1`."""
        span = tf.constant(start), tf.constant(stop)
        args = (*self._carry, *self._samples, *span, *self._constants)
        with _lock:
            run = self._engine.step_function(self._optimizer, self._proximal, *args)
            self._carry = run(*args)

    def seen(self) -> tuple[float, float, float]:
        """Of the last epoch so far: the sum of the losses, how many were right, and of how many.
        Waits for the steps to be done."""
        loss, correct, samples = self._carry[2].numpy().tolist()
        return loss, correct, samples

    def weights(self) -> dict[str, Float32]:
        return {
            name: np.array(tensor.numpy(), dtype=np.float32)
            for name, tensor in zip(self._engine.names, self._carry[0], strict=True)
        }


def engine_for(name: str, params: str, input_shape: tuple[int, ...], classes: int) -> Engine:
    """The engine of an architecture in `training.zoo`, made once; `params` as JSON."""
    with _lock:
        return _engine(name, params, input_shape, classes)


@lru_cache(maxsize=16)
def _engine(name: str, params: str, input_shape: tuple[int, ...], classes: int) -> Engine:
    model = zoo.build(ModelSpec(name, json.loads(params)), input_shape, classes, seed=0)

    def forward(tensors: Any, x: Any) -> Any:
        logits, _ = model.stateless_call(list(tensors), model.non_trainable_variables, x)
        return logits

    return Engine(
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
