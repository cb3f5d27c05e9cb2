"""The architectures, as Keras models. Imports TensorFlow: workers do, by `training.local`.

Every model ends in logits, one per class. Layers are named here, so that the tensor names in a
weights blob ("hidden_1/kernel") never depend on how many models a process has built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from training.data import PURPOSE_INITIAL, generator
from training.runtime import keras
from training.specs import ModelSpec

_CHANNELS_BY_ROWS = 16  # fewer make products too thin to pay for another order of the axes


class _Seeds:
    """One fresh initialiser per layer, from the task's seed alone."""

    def __init__(self, seed: int) -> None:
        self._rng = generator(seed, PURPOSE_INITIAL)

    def next(self) -> int:
        return int(self._rng.integers(2**31))

    def glorot(self) -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=self.next())

    def he(self) -> keras.initializers.Initializer:
        return keras.initializers.HeNormal(seed=self.next())


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


@keras.saving.register_keras_serializable(package="bcfl")
class PatchConv2D(keras.layers.Layer):
    """Convolution with stride 1 and zero padding, written as patches × matrix.

    XLA on a CPU runs the gradient of a real convolution inside a loop 20 to 60 times slower.
    Where there are several channels, the patches reach over columns only and the rows of the
    kernel are added up: a fifth of the memory for a kernel of side 5, and shifted rows are one
    block of memory because rows come first. One channel makes those products too thin.
    The kernel keeps the shape of keras.layers.Conv2D's, so weights fit either.
    """

    def __init__(self, filters: int, side: int, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.filters, self.side, self.seed = filters, side, seed

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.kernel = self.add_weight(
            shape=(self.side, self.side, input_shape[-1], self.filters),
            initializer=keras.initializers.HeNormal(seed=self.seed),
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        by_rows = self.side > 1 and x.shape[-1] >= _CHANNELS_BY_ROWS
        return (self._by_rows(x) if by_rows else self._by_patches(x)) + self.bias

    def _by_patches(self, x: Any) -> Any:
        _, height, width, channels = x.shape
        margin = self._margin()
        padded = keras.ops.pad(x, ((0, 0), margin, margin, (0, 0)))
        patches = keras.ops.concatenate(
            [
                padded[:, row : row + height, column : column + width, :]
                for row in range(self.side)
                for column in range(self.side)
            ],
            axis=-1,
        )  # (batch, height, width, side · side · channels)
        kernel = keras.ops.reshape(self.kernel, (self.side * self.side * channels, self.filters))
        return keras.ops.matmul(patches, kernel)  # (batch, height, width, filters)

    def _by_rows(self, x: Any) -> Any:
        _, height, width, channels = x.shape
        margin = self._margin()
        x = keras.ops.transpose(x, (1, 0, 2, 3))  # (height, batch, width, channels)
        padded = keras.ops.pad(x, (margin, (0, 0), margin, (0, 0)))
        patches = keras.ops.concatenate(
            [padded[:, :, column : column + width, :] for column in range(self.side)], axis=-1
        )  # (height + side - 1, batch, width, side · channels)
        kernel = keras.ops.reshape(self.kernel, (self.side, self.side * channels, self.filters))
        total = keras.ops.matmul(patches[:height], kernel[0])
        for row in range(1, self.side):
            total = total + keras.ops.matmul(patches[row : row + height], kernel[row])
        return keras.ops.transpose(total, (1, 0, 2, 3))  # (batch, height, width, filters)

    def _margin(self) -> tuple[int, int]:
        before = (self.side - 1) // 2
        return before, self.side - 1 - before

    def get_config(self) -> dict[str, Any]:
        mine = {"filters": self.filters, "side": self.side, "seed": self.seed}
        return {**super().get_config(), **mine}


@keras.saving.register_keras_serializable(package="bcfl")
class HalvingMaxPool(keras.layers.Layer):
    """2 × 2 max-pooling as a reshape and a maximum, whose gradient is a mask (fast under XLA).
    An odd last row or column is dropped, as keras.layers.MaxPooling2D does."""

    def call(self, x: Any) -> Any:
        _, height, width, channels = x.shape
        rows, columns = height // 2, width // 2
        x = x[:, : 2 * rows, : 2 * columns, :]
        x = keras.ops.reshape(x, (-1, rows, 2, columns, 2, channels))
        return keras.ops.max(x, axis=(2, 4))  # (batch, rows, columns, channels)


def _with_channel(x: Any) -> Any:
    if len(x.shape) == 3:
        return keras.layers.Reshape((*x.shape[1:], 1), name="channel")(x)  # (batch, h, w, 1)
    return x


def _cnn(params: Mapping[str, Any], x: Any, classes: int, seeds: _Seeds) -> Any:
    """After LeNet-5 (LeCun et al. 1998), with ReLU and max-pooling."""
    x = _with_channel(x)
    for number, filters in enumerate(params["filters"], start=1):
        x = PatchConv2D(filters, params["kernel"], seeds.next(), name=f"conv_{number}")(x)
        x = keras.layers.ReLU(name=f"relu_{number}")(x)
        x = HalvingMaxPool(name=f"pool_{number}")(x)  # (batch, h ÷ 2, w ÷ 2, filters)
    x = keras.layers.Flatten(name="flatten")(x)
    x = _dense(params["dense"], "dense", seeds.he(), "relu")(x)  # (batch, dense)
    return _dense(classes, "logits", seeds.glorot())(x)  # (batch, classes)


def _resnet(params: Mapping[str, Any], x: Any, classes: int, seeds: _Seeds) -> Any:
    """After He et al. 2016 (arXiv 1512.03385). Group instead of batch normalisation: nothing is
    averaged over other people's batches (Hsieh et al. 2020, arXiv 1910.00189)."""

    def normed(x: Any, filters: int, side: int, name: str) -> Any:
        x = PatchConv2D(filters, side, seeds.next(), name=f"{name}_conv")(x)
        groups = math.gcd(8, filters)
        return keras.layers.GroupNormalization(groups, name=f"{name}_norm")(x)

    def rectified(x: Any, name: str) -> Any:
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    stages = params["stages"]
    x = rectified(normed(_with_channel(x), stages[0], 3, "stem"), "stem")
    for stage, filters in enumerate(stages, start=1):
        if stage > 1:
            x = HalvingMaxPool(name=f"stage_{stage}_pool")(x)  # (batch, h ÷ 2, w ÷ 2, ...)
        for block in range(1, params["blocks"] + 1):
            name = f"stage_{stage}_block_{block}"
            inner = rectified(normed(x, filters, 3, f"{name}_a"), f"{name}_a")
            inner = normed(inner, filters, 3, f"{name}_b")
            if x.shape[-1] != filters:
                x = PatchConv2D(filters, 1, seeds.next(), name=f"{name}_shortcut")(x)
            x = rectified(keras.layers.Add(name=f"{name}_add")([x, inner]), name)
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)  # (batch, filters)
    return _dense(classes, "logits", seeds.glorot())(x)  # (batch, classes)


def _layers(params: Mapping[str, Any], x: Any, classes: int, seeds: _Seeds) -> Any:
    """One's own list of layers: training.architecture."""
    x = _with_channel(x)
    for number, layer in enumerate(params["layers"], start=1):
        name = f"layer_{number}"
        match layer["layer"]:
            case "Dense":
                x = _dense(layer["units"], name, seeds.he(), layer["activation"])(x)
            case "Conv2D":
                x = PatchConv2D(layer["filters"], layer["kernel"], seeds.next(), name=name)(x)
                x = keras.layers.Activation(layer["activation"], name=f"{name}_activation")(x)
            case "MaxPooling2D":
                x = HalvingMaxPool(name=name)(x)
            case "GlobalAveragePooling2D":
                x = keras.layers.GlobalAveragePooling2D(name=name)(x)
            case "GroupNormalization":
                x = keras.layers.GroupNormalization(layer["groups"], name=name)(x)
            case _:
                x = keras.layers.Flatten(name=name)(x)
    if len(x.shape) > 2:
        x = keras.layers.Flatten(name="flatten")(x)
    return _dense(classes, "logits", seeds.glorot())(x)  # (batch, classes)


_BUILDERS: dict[str, Callable[[Mapping[str, Any], Any, int, _Seeds], Any]] = {
    "logistic": _logistic,
    "mlp": _mlp,
    "cnn": _cnn,
    "resnet": _resnet,
    "layers": _layers,
}
