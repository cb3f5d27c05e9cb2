"""One's own architecture as a list of whitelisted layers. Pure.

{"layer": "Conv2D", "filters": 8, "kernel": 3, "activation": "relu"}: names as in Keras, numbers
within bounds, no code, no paths, no Lambda. A stranger's `.keras` file is never opened: its safe
mode has known ways around. The last layer, Dense with a logit per class, is added by us.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from training.errors import SpecError
from training.parameters import Parameter

MAX_LAYERS = 32
MAX_WEIGHTS = 20_000_000  # 80 MB an update
MAX_VALUES = 1 << 20  # of one layer's output for one sample
MAX_JSON_BYTES = 1 << 18

ACTIVATIONS = ("linear", "relu", "elu", "gelu", "tanh", "sigmoid")
_ACTIVATION = Parameter(
    "activation", "Activation", "What follows the sum.", "choice", "linear", options=ACTIVATIONS
)

# Dropout is not among them: two workers would have to draw the same numbers.
LAYERS: dict[str, tuple[Parameter, ...]] = {
    "Dense": (Parameter("units", "Units", "Outputs.", "int", 64, 1, 4096), _ACTIVATION),
    "Conv2D": (
        Parameter("filters", "Filters", "Stride 1, zero padding.", "int", 8, 1, 256),
        Parameter("kernel", "Kernel", "Side of the filters.", "int", 3, 1, 7),
        _ACTIVATION,
    ),
    "MaxPooling2D": (),
    "GlobalAveragePooling2D": (),
    "Flatten": (),
    "GroupNormalization": (
        Parameter("groups", "Groups", "Must divide the channels.", "int", 8, 1, 256),
    ),
}

_KERAS_FIXED: dict[str, dict[str, Any]] = {
    "Conv2D": {
        "strides": [1, 1],
        "padding": "same",
        "dilation_rate": [1, 1],
        "groups": 1,
        "use_bias": True,
        "data_format": "channels_last",
    },
    "Dense": {"use_bias": True},
    "MaxPooling2D": {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"},
    "GlobalAveragePooling2D": {"keepdims": False},
    "GroupNormalization": {"axis": -1, "center": True, "scale": True},
}


def check_layers(field: str, layers: Any) -> list[dict[str, Any]]:
    """The layers with defaults filled in; SpecError for whatever is not on the list."""
    if not isinstance(layers, (list, tuple)) or not 1 <= len(layers) <= MAX_LAYERS:
        raise SpecError(
            field,
            layers,
            f"a list of 1 to {MAX_LAYERS} layers",
            'Write [{"layer": "Dense", "units": 64, "activation": "relu"}], say.',
        )
    return [_check_layer(f"{field}[{at}]", layer) for at, layer in enumerate(layers)]


def _check_layer(field: str, layer: Any) -> dict[str, Any]:
    name = layer.get("layer") if isinstance(layer, Mapping) else None
    if not isinstance(name, str) or name not in LAYERS:
        raise SpecError(
            field, layer, "an object whose layer is one of " + ", ".join(LAYERS), "Choose of these."
        )
    known = {parameter.name: parameter for parameter in LAYERS[name]}
    for key in layer:
        if key != "layer" and key not in known:
            limit = "one of " + ", ".join(known) if known else f"absent: {name} takes none"
            raise SpecError(f"{field}.{key}", layer[key], limit, "Remove it.")
    return {
        "layer": name,
        **{
            key: parameter.check(f"{field}.{key}", layer.get(key, parameter.default))
            for key, parameter in known.items()
        },
    }


def count_weights(
    field: str, layers: list[dict[str, Any]], input_shape: tuple[int, ...], classes: int
) -> int:
    """Weights of checked `layers` on this input; SpecError where they don't fit or are too many."""
    shape = input_shape if len(input_shape) != 2 else (*input_shape, 1)
    total = 0
    for at, layer in enumerate(layers):
        where = f"{field}[{at}]"
        shape, weights = _through(where, layer, shape)
        total += weights
        if math.prod(shape) > MAX_VALUES:
            raise SpecError(
                where, layer, f"a layer with at most {MAX_VALUES} outputs a sample", "Pool before."
            )
    total += (math.prod(shape) + 1) * classes
    if total > MAX_WEIGHTS:
        raise SpecError(field, f"{total} weights", f"at most {MAX_WEIGHTS}", "Use smaller layers.")
    return total


def _through(where: str, layer: dict[str, Any], shape: tuple[int, ...]) -> tuple[Any, int]:
    name = layer["layer"]
    if name == "Flatten":
        return (math.prod(shape),), 0
    if name == "Dense":
        if len(shape) != 1:
            raise SpecError(where, layer, "after Flatten: its input is a picture", "Add Flatten.")
        return (layer["units"],), (shape[0] + 1) * layer["units"]
    if name == "GroupNormalization":
        if shape[-1] % layer["groups"]:
            raise SpecError(
                f"{where}.groups", layer["groups"], f"a divisor of {shape[-1]}", "Use one, or 1."
            )
        return shape, 2 * shape[-1]
    if len(shape) != 3:
        raise SpecError(where, layer, "on a picture: its input is a row", "Put it before Flatten.")
    height, width, channels = shape
    if name == "Conv2D":
        weights = (layer["kernel"] ** 2 * channels + 1) * layer["filters"]
        return (height, width, layer["filters"]), weights
    if name == "GlobalAveragePooling2D":
        return (channels,), 0
    if min(height, width) < 2:
        raise SpecError(where, layer, f"on 2 × 2 pixels or more: {height} × {width}", "Remove it.")
    return (height // 2, width // 2, channels), 0


def from_keras(text: str, classes: int) -> list[dict[str, Any]]:
    """The layers of what `keras.Sequential(...).to_json()` wrote, without running any of it.

    A last Dense of `classes` units is left out: we add it. SpecError for anything we don't have.
    """
    field = "architecture"
    if len(text.encode()) > MAX_JSON_BYTES:
        raise SpecError(
            field, f"{len(text)} characters", f"at most {MAX_JSON_BYTES}", "Shorten it."
        )
    try:
        model = json.loads(text)
        described = model["config"]["layers"]
        plain = [(layer["class_name"], layer["config"]) for layer in described]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SpecError(
            field, text, "JSON of a keras.Sequential", f"Use model.to_json() ({error!r})."
        ) from error
    if model.get("class_name") != "Sequential":
        raise SpecError(
            field, model.get("class_name"), "a Sequential model", "Use keras.Sequential."
        )
    if not all(isinstance(config, dict) for _, config in plain):
        raise SpecError(field, text, "an object as config of every layer", "Use model.to_json().")
    layers = [_from_keras(name, config) for name, config in plain if name != "InputLayer"]
    layers = [layer for layer in layers if layer]
    if layers and layers[-1]["layer"] == "Dense" and layers[-1]["units"] == classes:
        del layers[-1]
    return check_layers(field, layers)


def _from_keras(name: Any, config: dict[str, Any]) -> dict[str, Any]:
    field = f"architecture.{config.get('name', name)}"
    if name == "Reshape" and config.get("target_shape", [0])[-1] == 1:
        return {}  # the channel of grey pictures; we add it too
    if not isinstance(name, str) or name not in LAYERS:
        raise SpecError(field, name, "one of " + ", ".join(LAYERS), "Replace this layer.")
    for key, fixed in _KERAS_FIXED.get(name, {}).items():
        value = config.get(key, fixed)
        if value != fixed:
            raise SpecError(f"{field}.{key}", value, repr(fixed), "Change the layer.")
    layer: dict[str, Any] = {"layer": name}
    for parameter in LAYERS[name]:
        value = config.get("kernel_size" if parameter.name == "kernel" else parameter.name)
        if parameter.name == "kernel" and isinstance(value, list) and len(set(value)) == 1:
            value = value[0]
        if parameter.name == "activation" and value == "softmax":
            value = "linear"
        layer[parameter.name] = value
    return layer
