"""One's own layers: what is let in, what is counted, what is refused."""

import json
from typing import Any

import pytest

from training.architecture import LAYERS, check_layers, count_weights, from_keras
from training.errors import SpecError
from training.specs import DatasetSpec, ModelSpec, TaskConfig

CNN = [
    {"layer": "Conv2D", "filters": 4, "activation": "relu"},
    {"layer": "GroupNormalization", "groups": 2},
    {"layer": "MaxPooling2D"},
    {"layer": "Flatten"},
    {"layer": "Dense", "units": 8, "activation": "tanh"},
]


def test_weights_are_counted_by_hand() -> None:
    """3·3·1·4 + 4, 2·4, then 4·4·4 inputs: 64·8 + 8, and 8·10 + 10 for the logits."""
    layers = check_layers("layers", CNN)
    assert count_weights("layers", layers, (8, 8), 10) == 40 + 8 + 520 + 90


def test_defaults_are_filled_in_so_that_hashes_agree() -> None:
    assert check_layers("f", CNN)[0] == {
        "layer": "Conv2D",
        "filters": 4,
        "kernel": 3,
        "activation": "relu",
    }
    written = TaskConfig(model=ModelSpec("layers", {"layers": CNN}))
    again = TaskConfig.from_dict(json.loads(written.canonical_bytes()))
    assert again.hash() == written.hash()


@pytest.mark.parametrize(
    ("layers", "field"),
    [
        ([], "model.params.layers"),
        ([{"layer": "Flatten"}] * 33, "model.params.layers"),
        ("Dense", "model.params.layers"),
        ([{"layer": "Lambda", "function": "x"}], "model.params.layers[0]"),
        ([{"layer": ["Dense"]}], "model.params.layers[0]"),
        (["Dense"], "model.params.layers[0]"),
        ([{"layer": "Flatten"}, {"layer": "Dense", "units": 0}], "model.params.layers[1].units"),
        ([{"layer": "Dense", "activation": "eval"}], "model.params.layers[0].activation"),
        ([{"layer": "Flatten", "units": 3}], "model.params.layers[0].units"),
        ([{"layer": "Dense"}], "model.params.layers[0]"),  # the input is a picture
        ([{"layer": "Flatten"}, {"layer": "MaxPooling2D"}], "model.params.layers[1]"),
        ([{"layer": "MaxPooling2D"}] * 4, "model.params.layers[3]"),
        ([{"layer": "GroupNormalization", "groups": 3}], "model.params.layers[0].groups"),
        (
            [{"layer": "Flatten"}, *[{"layer": "Dense", "units": 4096}] * 3],
            "model.params.layers",
        ),
    ],
)
def test_bad_layers_are_refused(layers: Any, field: str) -> None:
    with pytest.raises(SpecError) as caught:
        TaskConfig(model=ModelSpec("layers", {"layers": layers}))
    assert caught.value.field == field


def test_layers_too_wide_for_the_picture_are_refused() -> None:
    layers = check_layers("layers", [{"layer": "Conv2D", "filters": 256}])
    with pytest.raises(SpecError, match="at most 1048576 outputs"):
        count_weights("layers", layers, (224, 224, 3), 10)


def test_rows_take_dense_layers_only() -> None:
    spec = DatasetSpec("breast_cancer")
    TaskConfig(dataset=spec, model=ModelSpec("layers", {"layers": [{"layer": "Dense"}]}))
    with pytest.raises(SpecError, match="its input is a row"):
        TaskConfig(dataset=spec, model=ModelSpec("layers", {"layers": [{"layer": "Conv2D"}]}))


def keras_json(*layers: tuple[str, dict[str, Any]], model: str = "Sequential") -> str:
    described = [{"class_name": name, "config": config} for name, config in layers]
    return json.dumps({"class_name": model, "config": {"layers": described}})


def test_what_keras_wrote_becomes_a_list_of_layers() -> None:
    text = keras_json(
        ("InputLayer", {"batch_shape": [None, 8, 8, 1]}),
        ("Conv2D", {"filters": 4, "kernel_size": [3, 3], "padding": "same", "activation": "relu"}),
        ("GroupNormalization", {"groups": 2, "axis": -1}),
        ("MaxPooling2D", {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"}),
        ("Flatten", {}),
        ("Dense", {"units": 8, "activation": "tanh"}),
        ("Dense", {"units": 10, "activation": "softmax"}),
    )
    assert from_keras(text, 10) == check_layers("f", CNN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 10_000,
        "{}",
        "null",
        '{"class_name": "Sequential", "config": {"layers": [1]}}',
        keras_json(("Dense", 1)),  # type: ignore[arg-type]
        keras_json(("Lambda", {"function": ["4wAAAA=="]})),
        keras_json(("Dense", {"units": 4}), model="Functional"),
        keras_json(("Conv2D", {"filters": 4, "kernel_size": [3, 5], "padding": "same"})),
        keras_json(("Conv2D", {"filters": 4, "kernel_size": [3, 3], "padding": "valid"})),
        keras_json(("Dense", {"units": 4, "activation": {"class_name": "function"}})),
        keras_json(("Dense", {"units": 4, "use_bias": False})),
        "x" * 300_000,
    ],
)
def test_hostile_json_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        from_keras(text, 10)


def test_no_layer_runs_code() -> None:
    assert not LAYERS.keys() & {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer"}
