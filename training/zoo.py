"""The architectures, as Keras models. Imports TensorFlow: only `training.local` may import this.

Every model ends in logits, one per class. Layers are named here, so that the tensor names in a
weights blob ("hidden_1/kernel") never depend on how many models a process has built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from training.data import PURPOSE_INITIAL, generator
from training.specs import ModelSpec


class _Seeds:
    """One fresh initialiser per layer, from the task's seed alone."""

    def __init__(self, seed: int) -> None:
        self._rng = generator(seed, PURPOSE_INITIAL)

    def glorot(self) -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=int(self._rng.integers(2**31)))

    def he(self) -> keras.initializers.Initializer:
        return keras.initializers.HeNormal(seed=int(self._rng.integers(2**31)))


def build(spec: ModelSpec, input_shape: tuple[int, ...], classes: int, seed: int) -> keras.Model:
    """A fresh model with initial weights drawn from `seed`. Input (batch, *input_shape) float32,
    output (batch, classes) logits."""
    inputs = keras.Input(shape=input_shape, name="input")
    outputs = _BUILDERS[spec.name](spec.params, inputs, classes, _Seeds(seed))
    return keras.Model(inputs, outputs, name=spec.name)


def _dense(units: int, name: str, initializer: Any, activation: str | None = None) -> Any:
    return keras.layers.Dense(
        units, activation=activation, kernel_initializer=initializer, name=name
    )


def _logistic(params: Mapping[str, Any], x: Any, classes: int, seeds: _Seeds) -> Any:
    x = keras.layers.Flatten(name="flatten")(x)  # (batch, features)
    return _dense(classes, "logits", seeds.glorot())(x)  # (batch, classes)


def _mlp(params: Mapping[str, Any], x: Any, classes: int, seeds: _Seeds) -> Any:
    x = keras.layers.Flatten(name="flatten")(x)  # (batch, features)
    for number, units in enumerate(params["hidden"], start=1):
        x = _dense(units, f"hidden_{number}", seeds.he(), "relu")(x)  # (batch, units)
    return _dense(classes, "logits", seeds.glorot())(x)  # (batch, classes)


_BUILDERS: dict[str, Callable[[Mapping[str, Any], Any, int, _Seeds], Any]] = {
    "logistic": _logistic,
    "mlp": _mlp,
}
