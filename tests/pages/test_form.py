from __future__ import annotations

import pytest
from django.test import Client

from sessions_app.forms import TaskForm
from sessions_app.models import Task, User
from tests import factories
from training.specs import ALGORITHMS, DATASETS, MODELS, PARTITIONS

FLT = factories.FLT
FILLED = {"title": "Five sites", "participants": "5", "rounds": "3", "pool": "12.5"}


def test_four_fields_are_enough() -> None:
    form = TaskForm(FILLED)
    assert form.is_valid(), form.errors
    assert form.cleaned_data["pool"] == 12_500_000_000_000_000_000
    assert form.config.rounds == 3
    assert form.config.participants == 5
    assert [name for name, field in TaskForm().fields.items() if field.required] == [
        "title",
        "participants",
        "rounds",
        "pool",
    ]


def offered(name: str) -> list[str]:
    return [value for value, _ in TaskForm().fields[name].choices]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "table"), [("algorithm", ALGORITHMS), ("partition", PARTITIONS)])
def test_it_offers_what_the_tables_hold(name: str, table: dict[str, object]) -> None:
    assert offered(name) == list(table)


def test_it_offers_what_can_be_chosen_from_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered("model") == [name for name in MODELS if name != "layers"]
    monkeypatch.delenv("BCFL_DATA_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", "/nowhere")
    assert offered("dataset") == ["digits", "breast_cancer"]
    assert set(DATASETS) > {"digits", "breast_cancer", "own"}


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"model__hidden": "32, many"}, "model__hidden", "whole numbers"),
        ({"model__hidden": "0"}, "model__hidden", "4096"),
        ({"rounds": "0"}, "rounds", "from 1 to 1000"),
        ({"local__learning_rate": "99"}, "local__learning_rate", "10"),
        ({"model": "cnn", "dataset": "breast_cancer"}, "model", "mlp"),
        ({"pool": "lots"}, "pool", "number"),
        ({"participants": "1000", "dataset": "breast_cancer"}, "participants", "breast_cancer"),
        ({"seed": "-1"}, "seed", "from 0"),
    ],
)
def test_errors_stand_next_to_their_field(changes: dict[str, str], field: str, words: str) -> None:
    form = TaskForm(FILLED | changes)
    assert not form.is_valid()
    assert words in str(form.errors[field])


def test_parameters_of_other_choices_are_ignored() -> None:
    """A hidden field may hold anything that fits its own bounds."""
    form = TaskForm(FILLED | {"partition": "iid", "partition__alpha": "3", "model": "logistic"})
    assert form.is_valid(), form.errors
    assert form.config.dataset.alpha == 0.5
    assert form.config.model.params == {}


def test_a_draft_fills_the_form_with_itself(operator: User) -> None:
    task = factories.draft(operator, participants=4, rounds=7)
    initial = TaskForm.initial_of(task)
    form = TaskForm({name: str(value) for name, value in initial.items()})
    assert form.is_valid(), form.errors
    config = form.config.to_dict()
    assert {k: v for k, v in config.items() if k != "salt"} == {
        k: v for k, v in (task.config or {}).items() if k != "salt"
    }
    assert form.cleaned_data["pool"] == task.pool


def test_saving_makes_a_draft_and_spends_nothing(as_operator: Client, operator: User) -> None:
    factories.account("Evaluator 1", "evaluator")
    answer = as_operator.post("/tasks/new/", FILLED | {"save": "1", "stake": "2"})
    task = Task.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/tasks/{task.pk}/")
    assert (task.stage, task.owner, task.pool, task.stake) == (
        Task.Stage.DRAFT,
        operator,
        12_500_000_000_000_000_000,
        2 * FLT,
    )
    page = as_operator.get(f"/tasks/{task.pk}/").content.decode()
    assert "Nothing is on chain and nothing is spent" in page
    assert "12.5" in page


def test_what_was_typed_comes_back_with_its_errors(as_operator: Client) -> None:
    answer = as_operator.post("/tasks/new/", FILLED | {"rounds": "0", "title": "Kept <title>"})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert 'value="Kept &lt;title&gt;"' in page
    assert "from 1 to 1000" in page
    assert Task.objects.count() == 0


def test_starting_without_money_keeps_the_draft_and_says_why(as_operator: Client) -> None:
    factories.account("Evaluator 1", "evaluator")
    answer = as_operator.post("/tasks/new/", FILLED | {"start": "1"}, follow=True)
    assert Task.objects.get().stage == Task.Stage.DRAFT
    assert "holds 0.00 FLT" in answer.content.decode()


def test_a_draft_can_be_changed(as_operator: Client, operator: User) -> None:
    task = factories.draft(operator)
    page = as_operator.get(f"/tasks/{task.pk}/edit/")
    assert page.status_code == 200
    as_operator.post(f"/tasks/{task.pk}/edit/", FILLED | {"title": "Renamed"})
    task.refresh_from_db()
    assert (task.title, task.rounds) == ("Renamed", 3)


def test_participants_cannot_create(as_participant: Client) -> None:
    answer = as_participant.get("/tasks/new/")
    assert answer.status_code == 403
    assert "operator role" in answer.content.decode()
