"""A global model as files that run without this project: `.keras`, SavedModel and TFLite.

Imports TensorFlow: only inside a worker child. Every file holds standard layers only, takes
samples as they stand in the data (the scaling is its first layer) and answers logits. Each is
loaded again and compared with `training.local.predict` before it is stored, so a file that
answers otherwise never leaves the worker.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training import data, local, zoo
from training.blobs import BlobStore
from training.errors import DataError, TrainingError
from training.runtime import keras, tf
from training.specs import TaskConfig
from training.weights import Weights

TOLERANCE = 1e-5  # of a logit, relative to the largest one
CHECKED_SAMPLES = 64
_EPOCH = (1980, 1, 1, 0, 0, 0)  # in every zip entry: the same files give the same bytes

Float32 = npt.NDArray[np.float32]
Report = Callable[[str, int, int], None]  # stage, done, total


@dataclass(frozen=True)
class Artefact:
    """An exported file. `file` is relative to the blob store's root, `sha256` plain hex, `bytes`
    its size, `max_difference` the largest deviation from our own logits on `checked` samples."""

    format: str
    model_hash: str
    config_hash: str
    file: str
    sha256: str
    bytes: int
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    output: str
    max_difference: float
    checked: int
    tensorflow: str
    keras: str
    seconds: float


def export(
    config: TaskConfig,
    model_ref: str,
    format: str,
    blobs: BlobStore,
    report: Report = lambda stage, done, total: None,
) -> Artefact:
    """Makes one file and its manifest (the same name with `.json`) in the blob store.

    Raises BlobMissing, BlobCorrupt (bytes that are not what the chain names), DataError (a blob
    of another architecture) and TrainingError (unknown format, or a file that answers otherwise).
    """
    started = time.perf_counter()
    if format not in _WRITERS:
        raise TrainingError(f"unknown format {format!r}; use {', '.join(sorted(_WRITERS))}.")
    write, run, suffix = _WRITERS[format]
    report("reading", 1, 5)
    weights = blobs.open_weights(model_ref)
    report("building", 2, 5)
    model = portable(config, weights)
    dataset = data.load(config.dataset)
    held = data.split(config.dataset, config.seed).holdout[:CHECKED_SAMPLES]
    with tempfile.TemporaryDirectory(prefix="bcfl-export-") as folder:
        path = Path(folder) / f"model{suffix}"
        report("writing", 3, 5)
        write(model, path)
        report("checking", 4, 5)
        expected = local.predict(config, weights, data.holdout(config).x[:CHECKED_SAMPLES])
        difference = _difference(expected, run(path, dataset.x[held]))
        if not difference <= TOLERANCE:
            raise TrainingError(
                f"the {format} file answers {difference:.2g} away from the model it was made of "
                f"(limit {TOLERANCE:g}). It was not stored; use the safetensors file."
            )
        content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    artefact = Artefact(
        format=format,
        model_hash=model_ref,
        config_hash=config.hash(),
        file=f"exports/{digest[:2]}/{digest}{suffix}",
        sha256=digest,
        bytes=len(content),
        input_shape=dataset.x.shape[1:],
        classes=dataset.class_names,
        output="logits; softmax gives probabilities",
        max_difference=difference,
        checked=len(held),
        tensorflow=tf.__version__,
        keras=keras.__version__,
        seconds=round(time.perf_counter() - started, 3),
    )
    report("storing", 5, 5)
    target = blobs.root / artefact.file
    _store(target, content)
    manifest = json.dumps(asdict(artefact), indent=1, sort_keys=True)
    _store(target.with_name(target.name + ".json"), manifest.encode())
    return artefact


def portable(config: TaskConfig, weights: Weights) -> keras.Model:
    """The model in Keras' own layers, which load anywhere, with `weights` in it.

    Our two layers are other ways to compute Conv2D and MaxPooling2D (see training.zoo).
    """
    dataset = data.load(config.dataset)
    shape = dataset.x.shape[1:]
    trained = zoo.build(config.model, shape, dataset.classes, config.seed)
    model = keras.models.clone_model(trained, clone_function=_standard)
    shapes = {variable.path: tuple(variable.shape) for variable in model.trainable_variables}
    given = {name: tensor.shape for name, tensor in weights.items()}
    if shapes != given:
        raise DataError(
            f"weights with tensors {given}, but this model has {shapes}. Use a blob of this task."
        )
    for variable in model.trainable_variables:
        variable.assign(weights[variable.path])
    scale = data.scaling(config.dataset, config.seed)
    if scale is None:
        return model
    inputs = keras.Input(shape=shape, name="input")
    scaled = keras.layers.Normalization(
        mean=scale.mean, variance=scale.deviation**2, name="standardise"
    )(inputs)
    return keras.Model(inputs, model(scaled), name=f"{config.model.name}_standardised")


def _standard(layer: Any) -> Any:
    if isinstance(layer, zoo.PatchConv2D):
        return keras.layers.Conv2D(layer.filters, layer.side, padding="same", name=layer.name)
    if isinstance(layer, zoo.HalvingMaxPool):
        return keras.layers.MaxPooling2D(2, name=layer.name)
    return layer.__class__.from_config(layer.get_config())


def _write_keras(model: Any, path: Path) -> None:
    with warnings.catch_warnings():
        # Keras copies each variable with np.array(x), which NumPy 2 asks for another signature.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        model.save(path)


def run_keras(path: Path, x: Float32) -> Float32:
    """Logits of a `.keras` file, loaded in Keras' safe mode and without our layers."""
    model = keras.models.load_model(path, compile=False, safe_mode=True)
    return np.asarray(model(x, training=False))


def _write_saved_model(model: Any, path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="bcfl-saved-") as folder:
        _save(model, folder)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(Path(folder).rglob("*")):
                if file.is_file():
                    name = f"saved_model/{file.relative_to(folder).as_posix()}"
                    archive.writestr(zipfile.ZipInfo(name, _EPOCH), file.read_bytes())


def run_saved_model(path: Path, x: Float32) -> Float32:
    """Logits of a zipped SavedModel."""
    with tempfile.TemporaryDirectory(prefix="bcfl-saved-") as folder:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        loaded = tf.saved_model.load(str(Path(folder) / "saved_model"))
        return np.asarray(loaded.serve(tf.constant(x)))


def _write_tflite(model: Any, path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="bcfl-saved-") as folder:
        _save(model, folder)
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())


def run_tflite(path: Path, x: Float32) -> Float32:
    """Logits of a TFLite file, for all rows at once."""
    with warnings.catch_warnings():
        # TensorFlow 2.21 advertises LiteRT, a separate package, each time.
        warnings.simplefilter("ignore", UserWarning)
        interpreter = tf.lite.Interpreter(model_path=str(path), num_threads=1)
    entry = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(entry["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(entry["index"], np.ascontiguousarray(x))
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def _save(model: Any, folder: str) -> None:
    model.export(folder, format="tf_saved_model", verbose=False)


_WRITERS: dict[str, tuple[Callable[[Any, Path], None], Callable[[Path, Float32], Float32], str]] = {
    "keras": (_write_keras, run_keras, ".keras"),
    "savedmodel": (_write_saved_model, run_saved_model, ".zip"),
    "tflite": (_write_tflite, run_tflite, ".tflite"),
}


def _difference(expected: Float32, found: Float32) -> float:
    """Largest deviation of a logit, relative to the largest logit (at least 1)."""
    if expected.shape != found.shape:
        return float("inf")
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(expected.astype(np.float64) - found).max()) / scale


def _store(target: Path, content: bytes) -> None:
    """By one rename: a reader sees all of it or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
