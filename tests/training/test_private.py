"""Everyone's own data: what a schema promises, and what is said of a file that breaks it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import data, private
from training.blobs import BlobStore
from training.errors import DataError, SpecError
from training.schema import DataSchema, Feature
from training.specs import DatasetSpec, ModelSpec, TaskConfig

FEATURES = (
    Feature("age", kind="integer", minimum=0, maximum=120, center=50, scale=20),
    Feature("size", minimum=0.0),
    Feature("side", kind="category", categories=("left", "right")),
)
SCHEMA = DataSchema(FEATURES, "diagnosis", ("benign", "malignant"), "0x" + "1" * 64, 3)
GOOD = "id,size,age,side,diagnosis\n1,2.5,40,left,benign\n2,0,71,right,malignant\n3,9e2,0,left,1\n"


def file(tmp_path: Path, text: str, name: str = "my.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_columns_are_found_by_name_and_the_rest_is_left_out(tmp_path: Path) -> None:
    table = private.read(file(tmp_path, GOOD), SCHEMA)
    assert table.x.tolist() == [[40, 2.5, 1, 0], [71, 0, 0, 1], [0, 900, 1, 0]]
    assert table.y.tolist() == [0, 1, 1]
    assert table.ignored == ("id",)


def test_the_scaling_is_the_schema_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOB_ROOT", str(tmp_path))
    table = private.read(file(tmp_path, GOOD), SCHEMA)
    ref = BlobStore(tmp_path).put(private.evaluation_blob(table))
    config = configured(replace(SCHEMA, evaluation=ref))
    share = data.own_share(config, table)
    assert share.x[:, 0].tolist() == [-0.5, pytest.approx(1.05), -2.5]
    assert share.x[:, 2:].tolist() == table.x[:, 2:].tolist()
    held = data.holdout(config)
    assert (held.x.tolist(), held.y.tolist()) == (share.x.tolist(), share.y.tolist())
    with pytest.raises(DataError, match="no shares to deal"):
        data.share(config, 0)


def configured(schema: DataSchema) -> TaskConfig:
    return TaskConfig(
        dataset=DatasetSpec(name="private", schema=schema), model=ModelSpec("logistic")
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("40", ""), "line 2, column age: empty, but expected a whole number from 0 to 120"),
        (("71", "171"), "line 3, column age: '171', but expected a whole number from 0 to 120"),
        (("71", "7.5"), "line 3, column age: '7.5', but expected a whole number"),
        (("2.5", "-1"), "line 2, column size: '-1', but expected a number of at least 0"),
        (("2.5", "nan"), "line 2, column size: 'nan'"),
        (("right", "up"), "line 3, column side: 'up', but expected one of left, right"),
        (("benign", "maybe"), "column diagnosis: 'maybe', but expected a class: benign, malignant"),
        (("age", "years"), "lacks 1 of the task's 3 columns: age. It has id, size, years"),
        (("diagnosis", "outcome"), "no column 'diagnosis' for the label. Its columns are id, size"),
        ((",left,benign", ",left"), "line 2: 4 columns, but expected 5"),
    ],
)
def test_what_is_wrong_is_said_by_line_and_column(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    with pytest.raises(DataError) as caught:
        private.read(file(tmp_path, GOOD.replace(*change)), SCHEMA)
    assert said in str(caught.value)


def test_the_label_s_column_may_have_another_name(tmp_path: Path) -> None:
    path = file(tmp_path, GOOD.replace("diagnosis", "outcome"))
    assert private.read(path, SCHEMA, "outcome").y.tolist() == [0, 1, 1]


def test_a_long_list_of_problems_is_cut(tmp_path: Path) -> None:
    path = file(tmp_path, GOOD.splitlines()[0] + "\n" + "1,1,,left,benign\n" * 50)
    with pytest.raises(DataError) as caught:
        private.read(path, SCHEMA)
    assert str(caught.value).count("column age: empty") == private.MAX_PROBLEMS
    assert "… and 30 more." in str(caught.value)


def test_npz_rows_are_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "my.npz"
    x = np.array([[40, 2.5, 0], [200, 1.0, 1]])
    np.savez(path, x=x, y=np.array([0, 1]))
    with pytest.raises(DataError, match=r"sample 1, column age: '200\.0'"):
        private.read(path, SCHEMA)
    x[1, 0] = 71
    np.savez(path, x=x, y=np.array([0, 1]))
    assert private.read(path, SCHEMA).x.tolist() == [[40, 2.5, 1, 0], [71, 1, 0, 1]]


def test_a_schema_is_part_of_the_configuration_and_its_hash() -> None:
    config = configured(SCHEMA)
    again = TaskConfig.from_dict(config.to_dict())
    assert again == config
    assert again.hash() == config.hash()
    assert config.dataset.input_shape == (4,)
    wider = replace(SCHEMA, features=(*FEATURES[:1], replace(FEATURES[1], minimum=-1.0)))
    assert configured(wider).hash() != config.hash()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": ("one",)}, "classes"),
        ({"features": ()}, "features"),
        ({"label": "age"}, "named once"),
        ({"evaluation": "0x12"}, "evaluation"),
        ({"features": [{"name": "a", "kind": "picture"}]}, "kind"),
        ({"features": [{"name": "a", "scale": 0}]}, "scale"),
        ({"features": [{"name": "a", "minimum": 2, "maximum": 1}]}, "minimum"),
        ({"features": [{"name": "a", "colour": 1}]}, "colour"),
    ],
)
def test_a_schema_that_cannot_be_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        replace(SCHEMA, **change)


def test_a_schema_belongs_to_private_data_alone() -> None:
    with pytest.raises(SpecError, match=r"dataset\.schema"):
        DatasetSpec(name="private")
    with pytest.raises(SpecError, match=r"dataset\.schema"):
        DatasetSpec(name="digits", schema=SCHEMA)


def test_a_schema_drawn_from_the_operator_s_file(tmp_path: Path) -> None:
    head, *rows = GOOD.replace("left,1", "left,benign").splitlines()
    text = "\n".join([f"{head},note", *(f"{row},n{at}" for at, row in enumerate(rows))])
    schema, blob = private.describe(file(tmp_path, text), "side")
    assert schema.classes == ("left", "right")
    kinds = {feature.name: feature.kind for feature in schema.features}
    assert "note" not in kinds  # differs in every row
    assert kinds["diagnosis"] == "category"
    assert {kinds[name] for name in ("id", "size", "age")} == {"number"}
    held = private.evaluation_table(blob, schema)
    assert len(held.y) == schema.evaluation_samples == 3
    with pytest.raises(DataError, match="but the schema says x"):
        private.evaluation_table(blob, replace(schema, evaluation_samples=4))
