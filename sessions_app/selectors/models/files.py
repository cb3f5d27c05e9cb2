"""The files of a version: what there is, what is being made, and how to load each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sessions_app.models import ModelFile, Task
from sessions_app.selectors.models.registry import RegisteredModel, Version, bytes_of
from sessions_app.selectors.task.config import task_config
from training.blobs import BlobStore
from training.specs import TaskConfig

NAMES = {
    "safetensors": ("safetensors", "The weights alone, byte for byte what the chain names."),
    "keras": ("Keras", "Architecture and weights in standard layers."),
    "savedmodel": ("TensorFlow SavedModel", "A zipped folder for TensorFlow Serving."),
    "tflite": ("TFLite", "For phones and small devices."),
}
SUFFIXES = {"safetensors": "safetensors", "keras": "keras", "savedmodel": "zip", "tflite": "tflite"}


@dataclass(frozen=True)
class FormatRow:
    """`row` is None until the file was asked for; safetensors needs no making."""

    format: str
    label: str
    about: str
    snippet: str
    row: ModelFile | None
    ready: bool
    size: int | None  # bytes
    sha256: str
    percent: int

    @property
    def under_way(self) -> bool:
        return self.row is not None and self.row.under_way


def format_rows(model: RegisteredModel, version: Version) -> Sequence[FormatRow]:
    """One query, and one look at the blob."""
    task = model.task
    stored = bytes_of(version)
    made = {
        row.format: row
        for row in ModelFile.objects.filter(task=task, model_hash=version.model_hash)
    }
    rows = []
    for format, (label, about) in NAMES.items():
        weights_alone = format == "safetensors"
        if not weights_alone and not model.config_known:
            continue
        row = made.get(format)
        ready = stored.state == "match" and (
            weights_alone
            or (
                row is not None
                and row.status == ModelFile.Status.READY
                and (BlobStore.default().root / row.file).is_file()
            )
        )
        rows.append(
            FormatRow(
                format=format,
                label=label,
                about=about,
                snippet=_snippet(format, task, version),
                row=row,
                ready=ready,
                size=(stored.size if weights_alone else row.bytes if row else None)
                if ready
                else None,
                sha256=row.sha256 if row and ready else "",
                percent=round(100 * row.done / row.total) if row and row.total else 0,
            )
        )
    return rows


def _snippet(format: str, task: Task, version: Version) -> str:
    name = f"model-{task.pk}-version-{version.number}.{SUFFIXES[format]}"
    config = task_config(task)
    return _SNIPPETS[format].format(name=name, hash=version.model_hash, zeros=_zeros(config))


def _zeros(config: TaskConfig | None) -> str:
    shape = config.dataset.input_shape if config else ()
    return f"np.zeros(({', '.join(map(str, (1, *shape)))}), dtype=np.float32)"


_SNIPPETS = {
    "safetensors": """\
# pip install safetensors numpy eth-hash[pycryptodome]
from eth_hash.auto import keccak
from safetensors.numpy import load

data = open("{name}", "rb").read()
assert "0x" + keccak(data).hex() == "{hash}"  # what the chain names
weights = load(data)  # name -> array
""",
    "keras": """\
# pip install keras tensorflow
import keras
import numpy as np

model = keras.models.load_model("{name}", compile=False)
logits = model({zeros})  # samples as they stand in the data
probabilities = keras.ops.softmax(logits)
""",
    "savedmodel": """\
# unzip {name}; pip install tensorflow
import numpy as np
import tensorflow as tf

model = tf.saved_model.load("saved_model")
logits = model.serve({zeros})
probabilities = tf.nn.softmax(logits)
""",
    "tflite": """\
# pip install ai-edge-litert numpy
import numpy as np
from ai_edge_litert.interpreter import Interpreter

model = Interpreter("{name}")
model.allocate_tensors()
model.set_tensor(model.get_input_details()[0]["index"], {zeros})
model.invoke()
logits = model.get_tensor(model.get_output_details()[0]["index"])
""",
}
