"""Each exported file and the warm predictor answer what training.local.predict answers."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from training import data, export, local, private, serving
from training.blobs import BlobStore
from training.errors import BlobCorrupt, BlobMissing, DataError, InputRefused, TrainingError
from training.schema import DataSchema, Feature
from training.specs import DatasetSpec, ModelSpec, TaskConfig
from training.weights import decode, encode

RUNNERS = {
    "keras": export.run_keras,
    "savedmodel": export.run_saved_model,
    "tflite": export.run_tflite,
}
CONFIGS = {
    "mlp": TaskConfig(participants=2, rounds=1),
    "cnn": TaskConfig(participants=2, rounds=1, model=ModelSpec("cnn")),
    "resnet": TaskConfig(participants=2, rounds=1, model=ModelSpec("resnet", {"stages": [4, 8]})),
    # Its columns are scaled before use: the file must do that itself.
    "table": TaskConfig(participants=2, rounds=1, dataset=DatasetSpec("breast_cancer")),
}


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def stored(config: TaskConfig, blobs: BlobStore) -> str:
    return blobs.put(encode(local.initial_weights(config)))


# A residual network once: it has the layers that the others lack, and compiles slowest.
PAIRS = [(name, format) for name in CONFIGS if name != "resnet" for format in RUNNERS]


@pytest.mark.parametrize(("name", "format"), [*PAIRS, ("resnet", "keras")])
def test_the_file_predicts_the_same(name: str, format: str, blobs: BlobStore) -> None:
    config = CONFIGS[name]
    ref = stored(config, blobs)
    stages: list[str] = []
    made = export.export(
        config, ref, format, blobs, lambda stage, done, total: stages.append(stage)
    )
    path = blobs.root / made.file
    assert hashlib.sha256(path.read_bytes()).hexdigest() == made.sha256
    held = data.split(config.dataset, config.seed).holdout
    raw = data.load(config.dataset).x[held]
    expected = local.predict(config, decode(blobs.get(ref)), data.holdout(config).x)
    np.testing.assert_allclose(RUNNERS[format](path, raw), expected, rtol=1e-5, atol=1e-5)
    manifest = json.loads(path.with_name(path.name + ".json").read_text())
    assert manifest["model_hash"] == ref
    assert manifest["config_hash"] == config.hash()
    assert manifest["sha256"] == made.sha256
    assert stages == ["reading", "building", "writing", "checking", "storing"]


def test_a_keras_file_names_no_layer_of_ours(blobs: BlobStore) -> None:
    config = CONFIGS["cnn"]
    made = export.export(config, stored(config, blobs), "keras", blobs)
    with zipfile.ZipFile(blobs.root / made.file) as archive:
        architecture = json.loads(archive.read("config.json"))
    layers = architecture["config"]["layers"]
    assert {layer["module"] for layer in layers} == {"keras.layers"}
    assert "Conv2D" in {layer["class_name"] for layer in layers}


def test_other_bytes_than_the_chain_names_are_refused(blobs: BlobStore) -> None:
    config = CONFIGS["mlp"]
    ref = stored(config, blobs)
    content = bytearray(blobs.path(ref).read_bytes())
    content[-1] ^= 1
    blobs.path(ref).write_bytes(content)
    other = BlobStore(blobs.root / "elsewhere").put(bytes(content))
    rows = [[0.0] * 64]
    for attempt in (
        lambda: export.export(config, ref, "keras", blobs),
        lambda: serving.predict_rows(config.to_dict(), ref, rows, blobs),
    ):
        with pytest.raises(BlobCorrupt) as refused:
            attempt()
        assert ref in str(refused.value)
        assert other in str(refused.value)
    assert not (blobs.root / "exports").exists()


def test_another_models_weights_are_refused(blobs: BlobStore) -> None:
    ref = stored(CONFIGS["table"], blobs)
    with pytest.raises(DataError, match="Use a blob of this task"):
        export.export(CONFIGS["mlp"], ref, "keras", blobs)
    with pytest.raises(BlobMissing):
        export.export(CONFIGS["mlp"], "0x" + "0" * 64, "keras", blobs)
    with pytest.raises(TrainingError, match="unknown format 'onnx'"):
        export.export(CONFIGS["mlp"], ref, "onnx", blobs)


@pytest.mark.parametrize("name", ["mlp", "cnn", "table"])
def test_the_warm_predictor_answers_the_same(name: str, blobs: BlobStore) -> None:
    config = CONFIGS[name]
    ref = stored(config, blobs)
    held = data.split(config.dataset, config.seed).holdout[:20]
    raw = data.load(config.dataset).x[held].reshape(20, -1)
    first = serving.predict_rows(config.to_dict(), ref, raw.tolist(), blobs)
    again = serving.predict_rows(config.to_dict(), ref, raw[:1].tolist(), blobs)
    logits = local.predict(config, decode(blobs.get(ref)), data.holdout(config).x[:20])
    expected = serving.softmax(logits)
    found = [p["probabilities"] for p in first["predictions"]]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert [p["index"] for p in first["predictions"]] == expected.argmax(axis=1).tolist()
    assert (first["warm"], again["warm"]) == (False, True)
    assert first["model_hash"] == ref
    with pytest.raises(InputRefused, match=rf"rows\[0\] has {raw.shape[1] - 1} numbers"):
        serving.predict_rows(config.to_dict(), ref, raw[:, :-1].tolist(), blobs)


def test_a_table_is_described_and_asked_by_name(blobs: BlobStore) -> None:
    config = CONFIGS["table"]
    about = serving.describe(config.to_dict())
    names = [feature["name"] for feature in about["features"]]
    assert (about["kind"], about["shape"], about["bounds"]) == ("table", [30], None)
    assert (names[0], about["classes"]) == ("mean radius", ["malignant", "benign"])
    ref = stored(config, blobs)
    row = {feature["name"]: feature["mean"] for feature in about["features"]}
    shuffled = dict(sorted(row.items()))
    in_order = serving.predict_rows(config.to_dict(), ref, [list(row.values())], blobs)
    by_name = serving.predict_rows(config.to_dict(), ref, [shuffled], blobs)
    assert by_name["predictions"] == in_order["predictions"]
    assert by_name["warnings"] == []
    far = serving.predict_rows(config.to_dict(), ref, [{**row, "mean radius": 900}], blobs)
    assert far["warnings"][0].startswith("Row 1: mean radius is 900, but training has ")


def test_a_private_table_is_asked_by_its_own_words(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOB_ROOT", str(blobs.root))
    features = (
        Feature("age", kind="integer", minimum=0, maximum=120, center=50, scale=20),
        Feature("side", kind="category", categories=("left", "right")),
    )
    held = private.Table(np.array([[40, 1, 0], [70, 0, 1]], np.float32), np.array([0, 1], np.int32))
    ref = blobs.put(private.evaluation_blob(held))
    schema = DataSchema(features, "diagnosis", ("benign", "malignant"), ref, 2)
    config = TaskConfig(
        participants=2,
        rounds=1,
        dataset=DatasetSpec("private", schema=schema),
        model=ModelSpec("logistic"),
    )
    plain = config.to_dict()
    about = serving.describe(plain)
    assert [f["name"] for f in about["features"]] == ["age", "side=left", "side=right"]
    assert about["holdout"] == 2
    model = stored(config, blobs)
    spelled = serving.predict_rows(plain, model, [{"age": 70, "side": "right"}], blobs)
    flat = serving.predict_rows(plain, model, [[70, 0, 1]], blobs)
    assert spelled["predictions"] == flat["predictions"]
    with pytest.raises(InputRefused, match="side is 'up', but must be one of left, right"):
        serving.predict_rows(plain, model, [{"age": 70, "side": "up"}], blobs)


def test_an_image_has_bounds(blobs: BlobStore) -> None:
    config = CONFIGS["mlp"]
    about = serving.describe(config.to_dict())
    assert (about["kind"], about["shape"], about["bounds"]) == ("image", [8, 8], [0.0, 1.0])
    ref = stored(config, blobs)
    with pytest.raises(
        InputRefused, match=r"rows\[0\]\[3\] is 16, but must be a number from 0 to 1"
    ):
        serving.predict_rows(config.to_dict(), ref, [[0, 0, 0, 16] + [0] * 60], blobs)
    assert serving.warm_up(config.to_dict(), ref, blobs)["warm"] is False
    assert serving.predict_rows(config.to_dict(), ref, [[0] * 64], blobs)["warm"] is True


def test_a_held_out_sample_is_one_the_model_never_saw() -> None:
    config = CONFIGS["table"]
    held = data.split(config.dataset, config.seed).holdout
    sample = serving.holdout_sample(config.to_dict(), len(held) + 3)
    assert (sample["number"], sample["of"]) == (3, len(held))
    np.testing.assert_allclose(sample["row"], data.load(config.dataset).x[held[3]], atol=1e-5)
    assert sample["label"] == data.load(config.dataset).y[held[3]]
