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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from training import zoo
from training.batches import FullBatch, Schedule, stacked
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
    them): a call of a compiled function takes longer with each argument.
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

    def start(self, weights: Weights, spec: LocalSpec | FullBatch, width: int = 1) -> Any:
        """Where `width` trainings from these weights begin: of each the weights, the optimizer's
        slots, and the sums of loss, correct and samples, as one row that is `held`."""
        vector = self.vector(weights)
        slots = _SLOTS[_optimizer(spec)]
        row = np.concatenate([vector, np.zeros(slots * vector.size + 3, np.float32)])
        return held(np.tile(row, (width, 1)))


def held(array: npt.NDArray[Any]) -> Any:
    """The array as a tensor."""
    return tf.constant(array)


class Training:
    """Local trainings of some participants, one after the other in one call, from the weights of
    `start`: as many rows as there may be participants. Samples x (n, ...) and y (n,) are `held`;
    `mu` is FedProx' pull towards the first weights."""

    def __init__(
        self,
        engine: Engine,
        start: Any,
        samples: tuple[Any, Any],
        schedules: Sequence[Schedule],
        *,
        spec: LocalSpec | FullBatch,
        mu: float,
    ) -> None:
        width = start.shape[0]
        self._engine = engine
        self._optimizer = _optimizer(spec)
        self._proximal = mu > 0
        self._states = start
        self._count = len(schedules)
        self._ends = np.zeros((width, 2), np.int32)
        for end, one in zip(self._ends, schedules, strict=False):
            end[:] = one.steps, one.last_epoch
        self._given = *samples, tf.constant(stacked(schedules, width))
        self._rates = tf.constant(np.array([spec.learning_rate, spec.momentum, mu], np.float32))
        self._anchor = start if mu > 0 else []

    def advance(self, start: int, stop: int) -> None:
        """Gradient steps `start` ... `stop - 1` of each, as far as it has them."""
        steps, last_epoch = self._ends.T
        spans = np.stack([np.minimum(start, steps), np.minimum(stop, steps), last_epoch], axis=1)
        args = (self._states, *self._given, tf.constant(spans), self._rates, self._anchor)
        with _lock:
            run = self._engine.step_function(self._optimizer, self._proximal, *args)
            self._states = run(*args)

    def found(self) -> list[tuple[dict[str, Float32], float, float, float]]:
        """Of each participant the weights; and of its last epoch so far the sum of the losses, how
        many were right, and of how many. Waits for the steps to be done."""
        states = self._states.numpy()
        return [
            (self._engine.weights(state), *state[-3:].tolist()) for state in states[: self._count]
        ]


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
    """Gradient steps of schedules, one after the other, as one XLA program.

    (states (k, ...), x (n, ...), y (n,), orders (k, steps, batch), spans (k, 3), rates, anchor)
    -> states, as `Engine.start` has them; a span is the first step, the one to stop before, and
    the one from which loss, correct and samples are counted; `rates` are the learning rate, the
    momentum and mu. An index of -1 in an order is padding and weighs nothing. `proximal` adds
    mu · (tensors - anchor) to the gradients: FedProx, Li et al. 2020 (arXiv 1812.06127),
    equation 2.
    """
    update = _UPDATES[optimizer]

    def run(states: Any, x: Any, y: Any, orders: Any, spans: Any, rates: Any, anchor: Any) -> Any:
        def one(at: Any, ended: Any) -> Any:
            pulled_to = layout.unpack(anchor[0]) if proximal else []
            state = train(states[at], x, y, orders[at], spans[at], rates, pulled_to)
            return at + 1, ended.write(at, state)

        count = states.shape[0]
        if count == 1:
            return one(0, tf.TensorArray(tf.float32, 1))[1].stack()
        ended = tf.TensorArray(tf.float32, count, element_shape=states.shape[1:])
        return tf.while_loop(lambda at, _: at < count, one, (0, ended))[1].stack()

    def train(state: Any, x: Any, y: Any, order: Any, span: Any, rates: Any, to: Any) -> Any:
        start, stop, last_epoch = span[0], span[1], span[2]
        learning_rate, momentum, mu = rates[0], rates[1], rates[2]

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
                    gradient + mu * (tensor - first)
                    for gradient, tensor, first in zip(gradients, tensors, to, strict=True)
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
