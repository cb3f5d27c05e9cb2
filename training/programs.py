"""Compiled programs: one architecture's forward pass and its gradient steps, with XLA on the CPU.

A whole local training is one compiled function from a vector of weights to another: no Keras
variable is assigned, nothing is rebuilt or traced again for another participant. Each process
computes on its own fixed threads, so the same inputs give the same bytes. Only `training.local`
imports this.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
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
    """One architecture in this process: tensor names and shapes, and its compiled functions.

    Weights go in and come out as one vector, the tensors in order of their names (as a blob has
    them): each argument of a compiled function costs some 30 µs a call.
    """

    shapes: dict[str, tuple[int, ...]]  # by name, sorted
    logits: _Compiled  # (weights (p,), x (n, ...)) -> (n, classes)
    steps: dict[tuple[str, bool], _Compiled]  # (optimizer, proximal) -> see _compile_steps
    ready: dict[Any, Callable[..., Any]] = field(default_factory=dict)  # for shapes met before

    def step_function(self, optimizer: str, proximal: bool, *args: Any) -> Callable[..., Any]:
        """The program for samples of these shapes and types. Asking the general one to find it
        among its own takes longer than a gradient step of a small model."""
        key = optimizer, proximal, *((tuple(arg.shape), arg.dtype) for arg in args[1:4])
        if key not in self.ready:
            self.ready[key] = self.steps[optimizer, proximal].get_concrete_function(*args)
        return self.ready[key]

    def vector(self, weights: Weights) -> Float32:
        """The tensors as (p,). Raises DataError for the weights of another model."""
        shapes = {name: tensor.shape for name, tensor in weights.items()}
        if shapes != self.shapes:
            raise DataError(
                f"weights with tensors {shapes}, but this model has {self.shapes}. "
                "Use a blob of this task."
            )
        return np.concatenate([weights[name].reshape(-1) for name in self.shapes])

    def weights(self, vector: Float32) -> dict[str, Float32]:
        """The tensors, as views into the first p numbers of `vector`."""
        tensors, at = {}, 0
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            tensors[name] = vector[at : at + size].reshape(shape)
            at += size
        return tensors

    def logits_of(self, weights: Any, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(n, classes) for prepared inputs (n, ...); `weights` a vector that is `held`."""
        with _lock:
            logits = self.logits(weights, tf.constant(x))
        found: npt.NDArray[np.float32] = logits.numpy()
        return found

    def start(self, weights: Weights, spec: LocalSpec | FullBatch) -> Any:
        """Where a `Training` from these weights begins: weights, the optimizer's slots, and the
        sums of loss, correct and samples, as one vector that is `held`."""
        vector = self.vector(weights)
        slots = _SLOTS[_optimizer(spec)]
        return held(np.concatenate([vector, np.zeros(slots * vector.size + 3, np.float32)]))


def held(array: npt.NDArray[Any]) -> Any:
    """The array as a tensor."""
    return tf.constant(array)


class Training:
    """One participant's local training from the weights of `start`, on samples x (n, ...) and
    y (n,) that are `held`, in the batches of `order` (steps, batch). `last_epoch`: the step from
    which loss and accuracy are counted. `mu`: FedProx' pull towards the first weights."""

    def __init__(
        self,
        engine: Engine,
        start: Any,
        samples: tuple[Any, Any],
        order: npt.NDArray[np.int32],
        *,
        last_epoch: int,
        spec: LocalSpec | FullBatch,
        mu: float,
    ) -> None:
        self._engine = engine
        self._optimizer = _optimizer(spec)
        self._proximal = mu > 0
        self._state = start
        self._last_epoch = last_epoch
        self._given = *samples, tf.constant(order)
        self._rates = tf.constant(np.array([spec.learning_rate, spec.momentum, mu], np.float32))
        self._anchor = start if mu > 0 else []

    def advance(self, start: int, stop: int) -> None:
        """Gradient steps `start` ... `stop - 1`."""
        span = tf.constant(np.array([start, stop, self._last_epoch], np.int32))
        args = (self._state, *self._given, span, self._rates, self._anchor)
        with _lock:
            run = self._engine.step_function(self._optimizer, self._proximal, *args)
            self._state = run(*args)

    def found(self) -> tuple[dict[str, Float32], float, float, float]:
        """The weights; and of the last epoch so far the sum of the losses, how many were right,
        and of how many. Waits for the steps to be done."""
        state = self._state.numpy()
        loss, correct, samples = state[-3:].tolist()
        return self._engine.weights(state), loss, correct, samples


def engine_for(name: str, params: str, input_shape: tuple[int, ...], classes: int) -> Engine:
    """The engine of an architecture in `training.zoo`, made once; `params` as JSON."""
    with _lock:
        return _engine(name, params, input_shape, classes)


@lru_cache(maxsize=16)
def _engine(name: str, params: str, input_shape: tuple[int, ...], classes: int) -> Engine:
    model = zoo.build(ModelSpec(name, json.loads(params)), input_shape, classes, seed=0)
    layout = _Layout([(one.path, tuple(one.shape)) for one in model.trainable_variables])

    def forward(tensors: Any, x: Any) -> Any:
        logits, _ = model.stateless_call(list(tensors), model.non_trainable_variables, x)
        return logits

    return Engine(
        shapes={name: layout.shapes[name] for name in sorted(layout.shapes)},
        logits=tf.function(
            lambda weights, x: forward(layout.unpack(weights), x),
            jit_compile=True,
            reduce_retracing=False,
        ),
        steps={
            (optimizer, proximal): _compile_steps(forward, layout, optimizer, proximal)
            for optimizer in _UPDATES
            for proximal in (False, True)
        },
    )


class _Layout:
    """Where each tensor is in a vector of all: by name there, in Keras' order here."""

    def __init__(self, variables: list[tuple[str, tuple[int, ...]]]) -> None:
        self.shapes = dict(variables)
        self._order = sorted(self.shapes)
        sizes = [math.prod(self.shapes[name]) for name in self._order]
        self._at = dict(zip(self._order, accumulate(sizes, initial=0), strict=False))
        self.size = sum(sizes)

    def unpack(self, vector: Any, number: int = 0) -> list[Any]:
        """The tensors of the `number`th p numbers of `vector`, in Keras' order."""
        first = number * self.size
        return [
            tf.reshape(vector[first + self._at[name] :][: math.prod(shape)], shape)
            for name, shape in self.shapes.items()
        ]

    def pack(self, tensors: Any) -> Any:
        given = dict(zip(self.shapes, tensors, strict=True))
        return tf.concat([tf.reshape(given[name], [-1]) for name in self._order], axis=0)


def _compile_steps(
    forward: Callable[[Any, Any], Any], layout: _Layout, optimizer: str, proximal: bool
) -> _Compiled:
    """Gradient steps of a schedule as one XLA program.

    (state, x (n, ...), y (n,), order (steps, batch), span, rates, anchor) -> state, as
    `Engine.start` has it; `span` is the first step, the one to stop before, and the one from
    which loss, correct and samples are counted; `rates` are the learning rate, the momentum and
    mu. An index of -1 in `order` is padding and weighs nothing. `proximal` adds
    mu · (tensors - anchor) to the gradients: FedProx, Li et al. 2020 (arXiv 1812.06127),
    equation 2.
    """
    update = _UPDATES[optimizer]

    def run(state: Any, x: Any, y: Any, order: Any, span: Any, rates: Any, anchor: Any) -> Any:
        start, stop, last_epoch = span[0], span[1], span[2]
        learning_rate, momentum, mu = rates[0], rates[1], rates[2]
        pulled_to = layout.unpack(anchor) if proximal else []

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
                    gradient + mu * (tensor - to)
                    for gradient, tensor, to in zip(gradients, tensors, pulled_to, strict=True)
                ]
            number = tf.cast(step + 1, tf.float32)
            tensors, slots = update(tensors, slots, gradients, learning_rate, momentum, number)
            right = tf.cast(tf.argmax(logits, axis=1, output_type=tf.int32) == batch_y, tf.float32)
            counted = tf.stack([loss_sum, tf.reduce_sum(right * mask), count])
            seen += tf.where(step >= last_epoch, counted, tf.zeros_like(counted))
            return step + 1, tensors, slots, seen

        slots = [layout.unpack(state, 1 + number) for number in range(_SLOTS[optimizer])]
        _, tensors, slots, seen = tf.while_loop(
            lambda step, *_: step < stop, body, (start, layout.unpack(state), slots, state[-3:])
        )
        return tf.concat([layout.pack(tensors), *map(layout.pack, slots), seen], axis=0)

    return tf.function(run, jit_compile=True, reduce_retracing=False)


# (tensors, slots, gradients, learning rate, momentum, number of the step from 1) -> the first two


def _sgd(w: Any, slots: Any, g: Any, rate: Any, momentum: Any, number: Any) -> Any:
    (velocity,) = slots
    velocity = [momentum * v - rate * g for v, g in zip(velocity, g, strict=True)]
    return [w + v for w, v in zip(w, velocity, strict=True)], [velocity]


def _adam(w: Any, slots: Any, g: Any, rate: Any, momentum: Any, number: Any) -> Any:
    first, second = slots
    first = [_ADAM_BETA_1 * m + (1 - _ADAM_BETA_1) * g for m, g in zip(first, g, strict=True)]
    second = [_ADAM_BETA_2 * v + (1 - _ADAM_BETA_2) * g * g for v, g in zip(second, g, strict=True)]
    rate = rate * tf.sqrt(1 - _ADAM_BETA_2**number) / (1 - _ADAM_BETA_1**number)
    moved = [
        w - rate * m / (tf.sqrt(v) + _ADAM_EPSILON)
        for w, m, v in zip(w, first, second, strict=True)
    ]
    return moved, [first, second]


def _plain_sgd(w: Any, slots: Any, g: Any, rate: Any, momentum: Any, number: Any) -> Any:
    return [w - rate * g for w, g in zip(w, g, strict=True)], slots


# Without momentum there is no velocity to read and write: a third of a large model's step.
_PLAIN = "plain_sgd"
_UPDATES: dict[str, Callable[..., Any]] = {"adam": _adam, "sgd": _sgd, _PLAIN: _plain_sgd}
_SLOTS = {"adam": 2, "sgd": 1, _PLAIN: 0}  # how many numbers an optimizer keeps of each weight


def _optimizer(spec: LocalSpec | FullBatch) -> str:
    return _PLAIN if spec.optimizer == "sgd" and not spec.momentum else spec.optimizer
