"""A task on everyone's own data, made in the wizard: columns, classes, held-out rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from sessions_app.errors import InvalidTask
from sessions_app.forms.columns import columns_read, columns_text
from sessions_app.forms.private import FILE
from sessions_app.forms.values import form_of
from sessions_app.models import Task, TaskDraft, User
from sessions_app.services.tasks import task_create
from tests import factories
from tests.pages.test_wizard import FILLED, evaluator, start
from training import data
from training.blobs import BlobStore
from training.errors import SpecError
from training.schema import DataSchema, Feature
from training.specs import DatasetSpec, TaskConfig
from training.weights import encode

pytestmark = pytest.mark.django_db
__all__ = ["evaluator"]

ROWS = (
    "patient,age,size,side,diagnosis\n"
    "P1,40,2.5,left,benign\nP2,71,0.5,right,malignant\nP3,50,9e2,left,benign\n"
)
COLUMNS = (
    "age: whole number from 0 to 120, center 50, scale 20\nsize: number from 0\nside: left | right"
)
PRIVATE = FILLED | {
    "dataset": "private",
    "model": "logistic",
    "private__columns": COLUMNS,
    "private__label": "diagnosis",
    "private__classes": "benign, malignant",
}


@pytest.fixture(autouse=True)
def blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    monkeypatch.setenv("BLOB_ROOT", str(tmp_path))
    return BlobStore(tmp_path)


def read(client: Client, draft: TaskDraft, action: str, text: str, **typed: str) -> Any:
    upload = SimpleUploadedFile("operator.csv", text.encode())
    sent = {"action": action, FILE: upload} | typed
    return client.post(f"/tasks/drafts/{draft.pk}/data/", sent, follow=True)


def stored(blobs: BlobStore) -> list[Path]:
    return [path for path in blobs.root.rglob("*") if path.is_file()]


# --- the columns as text --------------------------------------------------------------------


def test_columns_are_read_line_by_line() -> None:
    age, size, side, bare = columns_read(COLUMNS + "\n\nweight")
    assert age == Feature("age", "integer", 0, 120, 50, 20)
    assert size == Feature("size", minimum=0)
    assert side == Feature("side", "category", categories=("left", "right"))
    assert bare == Feature("weight")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("age: numbr", "Line 1, “age: numbr”"),
        ("age\nsize: number from 9 to 1", "Line 2"),
        ("size: number, scale 0", "above 0"),
        ("side: left | left", "names that differ"),
        (": number", "1 to 120 characters"),
        ("[1]", "Column 1 is no JSON object"),
        ('[{"name": "a", "scales": 2}]', "Column 1 is no JSON object"),
        ("[", "Line 1, column 2"),
    ],
)
def test_a_column_that_cannot_be_read_is_named(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        columns_read(text)


numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
texts = st.text(min_size=1, max_size=8)


@st.composite
def features(draw: Any) -> Feature:
    try:
        if draw(st.booleans()):
            values = draw(st.lists(texts, min_size=1, max_size=4))
            return Feature(draw(texts), kind="category", categories=tuple(values))
        return Feature(
            draw(texts),
            kind=draw(st.sampled_from(("number", "integer"))),
            minimum=draw(st.none() | numbers),
            maximum=draw(st.none() | numbers),
            center=draw(numbers),
            scale=draw(numbers),
        )
    except SpecError:
        return Feature("a: b")


@given(st.lists(features(), min_size=1, max_size=4))
def test_any_columns_come_back_from_their_text(columns: list[Feature]) -> None:
    assert columns_read(columns_text(columns)) == columns


# --- the form -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"private__columns": ""}, "private__columns", "No column is named"),
        ({"private__columns": "age: many"}, "private__columns", "Line 1"),
        ({"private__label": ""}, "private__label", "The label is empty"),
        ({"private__classes": ""}, "private__classes", "No class is named"),
        ({}, "private__held_out", "no held-out samples"),
    ],
)
def test_each_missing_part_is_told_at_its_field(
    changes: dict[str, str], field: str, words: str
) -> None:
    form = form_of(PRIVATE | changes)
    assert words in " ".join(form.errors[field])
    assert field in [problem.name for problem in form.problems()]


def test_what_is_not_shown_cannot_stand_in_the_way() -> None:
    form = form_of(FILLED | {"model": "cnn", "model__hidden": "many", "private__columns": "a: b"})
    assert form.is_valid(), form.errors


# --- the pages ------------------------------------------------------------------------------


def test_an_example_tells_the_columns_and_is_dropped(as_operator: Client, blobs: BlobStore) -> None:
    draft = start(as_operator)
    answer = read(
        as_operator, draft, "columns", ROWS, title="Tumours", dataset="private",
        private__label="diagnosis",
    )  # fmt: skip
    assert "Its rows were dropped" in answer.content.decode()
    draft.refresh_from_db()
    assert draft.values["title"] == "Tumours"
    assert draft.values["private__classes"] == "benign, malignant"
    names = [column.name for column in columns_read(draft.values["private__columns"])]
    assert names == ["age", "size", "side"]  # a text that differs in every row names the row
    assert "private__held_out" not in draft.values
    assert stored(blobs) == []


def test_from_nothing_to_a_saved_task(as_operator: Client, blobs: BlobStore) -> None:
    draft = start(as_operator)
    read(as_operator, draft, "held-out", ROWS, **PRIVATE)
    draft.refresh_from_db()
    page = as_operator.get(f"/tasks/drafts/{draft.pk}/data/").content.decode()
    assert "3 held-out samples" in page
    assert len(stored(blobs)) == 1
    review = as_operator.get(f"/tasks/drafts/{draft.pk}/review/").content.decode()
    assert "diagnosis: benign, malignant" in review
    assert "0 trained for here, 5 open" in review
    as_operator.post(f"/tasks/drafts/{draft.pk}/review/", {"action": "keep"})
    task = Task.objects.get()
    assert (task.hosted_places, task.max_participants) == (0, 5)
    config = TaskConfig.from_dict(task.config or {})
    held = data.holdout(config)
    assert held.x.tolist()[0] == [-0.5, 2.5, 1, 0]
    assert held.y.tolist() == [0, 1, 0]
    # Cloned, nothing is lost: the same configuration but for what tells two tasks apart.
    as_operator.post(f"/tasks/{task.pk}/clone/")
    clone = form_of(TaskDraft.objects.get().values)
    assert clone.is_valid(), clone.errors
    assert clone.config is not None
    assert clone.config.dataset == config.dataset


def test_bad_rows_are_told_line_by_line_and_nothing_typed_is_lost(
    as_operator: Client, blobs: BlobStore
) -> None:
    draft = start(as_operator)
    bad = ROWS.replace("P2,71,0.5,right,malignant", "P2,-7,0.5,up,dead")
    answer = read(as_operator, draft, "held-out", bad, **PRIVATE)
    page = answer.content.decode()
    assert answer.status_code == 422
    for words in (
        "operator.csv, line 3, column age: &#x27;-7&#x27;, but expected a whole number from 0",
        "column side",
        "a class: benign, malignant",
        "left | right",
    ):
        assert words in page
    assert stored(blobs) == []
    draft.refresh_from_db()
    assert draft.values["private__columns"] == COLUMNS


def test_an_autosave_that_was_overtaken_does_not_empty_what_the_file_filled_in(
    as_operator: Client, blobs: BlobStore
) -> None:
    draft = start(as_operator)
    page = {"editor": "desk", "version": "0", "dataset": "private", "private__label": "diagnosis"}
    read(as_operator, draft, "held-out", ROWS, turn="2", **page)
    late = {"step": "data", "private__columns": "", "turn": "1"}
    as_operator.post(f"/tasks/drafts/{draft.pk}/save/", page | late)
    draft.refresh_from_db()
    assert "age" in draft.values["private__columns"]
    assert draft.values["private__held_out"]


@pytest.mark.parametrize("action", ["columns", "held-out"])
def test_no_file_or_another_kind_is_refused(as_operator: Client, action: str) -> None:
    draft = start(as_operator)
    url = f"/tasks/drafts/{draft.pk}/data/"
    typed = {"action": action, "dataset": "private", "private__label": "diagnosis"}
    assert "Choose a CSV file first" in as_operator.post(url, typed).content.decode()
    typed |= {FILE: SimpleUploadedFile("rows.xlsx", b"PK")}  # type: ignore[dict-item]
    assert "rows.xlsx is no .csv file" in as_operator.post(url, typed).content.decode()
    typed |= {"private__label": "", FILE: SimpleUploadedFile("rows.csv", ROWS.encode())}  # type: ignore[dict-item]
    assert "which column of rows.csv is the label" in as_operator.post(url, typed).content.decode()
    typed |= {"private__label": "age!", FILE: SimpleUploadedFile("rows.csv", ROWS.encode())}  # type: ignore[dict-item]
    assert "Its columns are patient, age" in as_operator.post(url, typed).content.decode()


def test_changed_columns_need_the_rows_read_again(as_operator: Client) -> None:
    draft = start(as_operator)
    read(as_operator, draft, "held-out", ROWS, **PRIVATE)
    draft.refresh_from_db()
    assert form_of(draft.values).is_valid()
    rescaled = draft.values | {"private__columns": COLUMNS.replace("center 50", "center 40")}
    assert form_of(rescaled).is_valid()
    swapped = draft.values | {"private__classes": "malignant, benign"}
    assert "Read the file again" in " ".join(form_of(swapped).errors["private__held_out"])


def test_no_page_can_make_up_held_out_samples(as_operator: Client) -> None:
    draft = start(as_operator)
    made_up = '{"hash": "0x", "samples": 2, "file": "", "fits": ""}'
    as_operator.post(
        f"/tasks/drafts/{draft.pk}/save/", {"step": "data", "private__held_out": made_up}
    )
    draft.refresh_from_db()
    assert "private__held_out" not in draft.values


def test_only_the_owner_reads_files_into_a_draft(client: Client, as_operator: Client) -> None:
    draft = start(as_operator)
    other = factories.user("operator", name="Other")
    client.force_login(other)
    assert read(client, draft, "held-out", ROWS, **PRIVATE).status_code == 403


def test_a_model_cannot_be_passed_off_as_held_out_samples(operator: User, blobs: BlobStore) -> None:
    """Members may read what is held out: else a model of others could be read through a task."""
    columns = columns_read(COLUMNS)
    model = blobs.put(encode({"dense/kernel": np.zeros((4, 2), dtype=np.float32)}))
    schema = DataSchema(tuple(columns), "diagnosis", ("benign", "malignant"), model, 3)
    config = TaskConfig(dataset=DatasetSpec(name="private", schema=schema))
    with pytest.raises(InvalidTask, match="cannot be held out"):
        task_create(owner=operator, title="T", config=config, pool=10**18)
