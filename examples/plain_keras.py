"""Federated averaging the plain way: for every client a fresh Keras model and `fit`.

What most tutorials do, and what `manage.py benchmark training` measures our engine against. Keras
and TensorFlow with their own settings, all cores.

Reads one JSON line {"data": "shares.npz", "model": {...}, "batch_size", "epochs",
"learning_rate"}, then trains one round for every further line and answers
{"seconds", "cpu_seconds" (of all threads), "loss"}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras


def build(task: dict[str, Any], shape: tuple[int, ...], classes: int) -> keras.Model:
    """The architecture of training.zoo's `cnn` and `mlp`, from Keras' own layers."""
    layers: list[Any] = [keras.Input(shape)]
    params = task["model"]["params"]
    if task["model"]["name"] == "cnn":
        layers.append(keras.layers.Reshape((*shape[:2], 1)))
        for filters in params["filters"]:
            layers.append(
                keras.layers.Conv2D(filters, params["kernel"], padding="same", activation="relu")
            )
            layers.append(keras.layers.MaxPooling2D())
        layers += [keras.layers.Flatten(), keras.layers.Dense(params["dense"], "relu")]
    else:
        layers.append(keras.layers.Flatten())
        layers += [keras.layers.Dense(units, "relu") for units in params["hidden"]]
    model = keras.Sequential([*layers, keras.layers.Dense(classes)])
    model.compile(
        keras.optimizers.SGD(task["learning_rate"]),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def main() -> None:
    task = json.loads(sys.stdin.readline())
    with np.load(task["data"]) as file:
        count = len([name for name in file.files if name.startswith("x")])
        shares = [(file[f"x{client}"], file[f"y{client}"]) for client in range(count)]
    shape, classes = shares[0][0].shape[1:], task["classes"]
    keras.utils.set_random_seed(task["seed"])
    weights = build(task, shape, classes).get_weights()
    for _ in sys.stdin:
        started, used = time.perf_counter(), time.process_time()
        trained, losses = [], []
        for x, y in shares:
            model = build(task, shape, classes)
            model.set_weights(weights)
            history = model.fit(
                x, y, batch_size=task["batch_size"], epochs=task["epochs"], verbose=0
            )
            trained.append(model.get_weights())
            losses.append(history.history["loss"][-1])
        samples = [len(y) for _, y in shares]
        weights = [
            np.average(np.stack(layer), axis=0, weights=samples).astype(np.float32)
            for layer in zip(*trained, strict=True)
        ]
        answer = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - used,
            "loss": float(np.mean(losses)),
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
