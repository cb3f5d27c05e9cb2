"""Compare: what differs, the figures, the exports, the picker."""

from __future__ import annotations

import csv
import io

import pytest
from django.test import Client
from django.utils.html import escape

from sessions_app.models import Task, TaskEvent, User
from sessions_app.selectors.compare import compare
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def tasks(operator: User) -> list[Task]:
    return [
        factories.finished_task(operator, rounds=3, title="Three rounds").task,
        factories.finished_task(operator, rounds=2, participants=4, title="Four <sites>").task,
        factories.draft(operator, "Not begun"),
    ]


def url(tasks: list[Task]) -> str:
    return "/compare/?tasks=" + ",".join(str(task.pk) for task in tasks)


def test_what_differs_is_shown_and_all_on_demand(as_operator: Client, tasks: list[Task]) -> None:
    found = compare([task.pk for task in tasks[:2]])
    assert {row.name for row in found.differing} == {
        "Rounds",
        "Participants",
        "Reward a round",
    }
    page = as_operator.get(url(tasks)).content.decode()
    assert escape("Four <sites>") in page
    assert '<th scope="row">Batch size</th>' not in page
    every = as_operator.get(url(tasks) + "&all=1").content.decode()
    assert '<th scope="row">Batch size</th>' in every


def test_the_figures_are_those_of_the_chain(tasks: list[Task]) -> None:
    found = compare([task.pk for task in tasks])
    for one in found.tasks[:2]:
        names = ("UpdateSubmitted", "ScoresSubmitted", "AggregateSubmitted")
        events = TaskEvent.objects.filter(task=one.task, name__in=names)
        gas = sum(e.log.transaction.gas_used for e in events.select_related("log__transaction"))
        assert one.gas == gas > 0
        assert one.points[-1].gas == gas
        rounds = list(one.task.round_set.all())
        assert [p.accuracy for p in one.points] == [(r.accuracy_ppm or 0) / 10_000 for r in rounds]
        assert one.best is not None
        assert one.gas_per_point == round(gas / one.best)
        seconds = [run.seconds for run in one.task.round_runs.order_by("number")]
        assert one.points[-1].seconds == pytest.approx(sum(s or 0 for s in seconds), abs=0.01)
        assert one.rewards == one.task.pool_allocated
    assert found.tasks[2].last is None
    assert [[p.round if p else None for p in row.points] for row in found.rounds] == [
        [1, 1, None],
        [2, 2, None],
        [3, None, None],
    ]


def test_lines_of_twenty_tasks_all_look_different(operator: User) -> None:
    pks = [factories.draft(operator, f"Task {number}").pk for number in range(20)]
    looks = {(one.key, one.dash) for one in compare(pks).tasks}
    assert len(looks) == 20


def test_queries_do_not_grow_with_the_tasks(
    tasks: list[Task], django_assert_num_queries: object
) -> None:
    with django_assert_num_queries(4):  # type: ignore[operator]
        compare([tasks[0].pk])
    with django_assert_num_queries(4):  # type: ignore[operator]
        compare([task.pk for task in tasks])


def test_exports(as_operator: Client, tasks: list[Task]) -> None:
    query = url(tasks).split("?")[1]
    text = as_operator.get(f"/compare/figures.csv?{query}").content.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["title"] for row in rows] == ["Three rounds", "Four <sites>", "Not begun"]
    assert rows[2]["accuracy_percent"] == ""
    curves = as_operator.get(f"/compare/curves.json?{query}").json()
    assert len(curves) == 5
    assert set(curves[0]) == {
        "task",
        "title",
        "round",
        "accuracy_percent",
        "loss",
        "seconds",
        "gas",
    }
    assert as_operator.get(f"/compare/figures.xml?{query}").status_code in (400, 404)
    assert as_operator.get(f"/compare/others.csv?{query}").status_code == 404


def test_the_picker_takes_checkboxes_and_bad_input_says_why(
    as_operator: Client, tasks: list[Task]
) -> None:
    page = as_operator.get("/compare/").content.decode()
    assert "Choose 2 to 20 tasks" in page
    assert f'name="tasks" value="{tasks[0].pk}"' in page
    both = "&".join(f"tasks={task.pk}" for task in tasks[:2])
    assert "2 tasks side by side" in as_operator.get(f"/compare/?{both}").content.decode()
    assert "no number of a task" in as_operator.get("/compare/?tasks=1,x").content.decode()
    assert "There is no task 9999" in as_operator.get("/compare/?tasks=9999").content.decode()
    many = ",".join(str(number) for number in range(1, 30))
    answer = as_operator.get(f"/compare/?tasks={many}").content.decode()
    assert "the first 20 are shown" in answer


def test_tasks_lead_here(as_operator: Client, tasks: list[Task]) -> None:
    page = as_operator.get("/tasks/").content.decode()
    assert 'action="/compare/"' in page
    assert f'id="pick-{tasks[0].pk}"' in page
