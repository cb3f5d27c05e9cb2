"""The event stream: resumed from a number, correct when every message between processes is lost."""

from __future__ import annotations

import json
from typing import Any

from chain.models import Block
from sessions_app.api.events import Reader
from sessions_app.models import TaskEvent, User
from sessions_app.selectors.task.stream import events_after
from tests import factories
from tests.api.conftest import Program
from tests.api.test_base import check_problem


def messages(text: str) -> list[tuple[str, Any, str]]:
    """(event, data, id) of each message."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"]), lines.get("id", "")))
    return found


def test_pages_follow_each_other(as_operator: Program, operator: User) -> None:
    story = factories.finished_task(operator)
    factories.running_task(operator, rounds=1)
    seqs: list[int] = []
    after = ""
    while True:
        page = as_operator.get("/events", task=story.task.pk, after=after, limit=7).json()
        if not page["items"]:
            break
        seqs += [event["seq"] for event in page["items"]]
        after = page["next"]
    mine = TaskEvent.objects.filter(task=story.task).order_by("pk")
    assert seqs == list(mine.values_list("pk", flat=True))
    assert as_operator.get("/events", after=after).json()["items"]  # the other task's
    check_problem(as_operator.get("/events", after="1.5"), 422, "invalid")
    check_problem(as_operator.get("/events", task=999), 404, "not-found")
    check_problem(Program().get("/events"), 401, "sign-in")


def test_a_reader_that_missed_everything_catches_up(operator: User) -> None:
    """No message is delivered here at all: each look asks the database."""
    task = factories.running_task(operator, rounds=1).task
    reader = Reader(0, task.pk)
    first = messages(reader.look())
    assert [kind for kind, _, _ in first[:2]] == ["chain", "task"]
    events = [data for kind, data, _ in first if kind == "event"]
    assert [e["seq"] for e in events] == list(
        TaskEvent.objects.filter(task=task).order_by("pk").values_list("pk", flat=True)
    )
    assert [number for kind, _, number in first if kind == "event"] == [
        str(e["seq"]) for e in events
    ]
    assert reader.look() == ""
    half = events[len(events) // 2]["seq"]
    again = Reader(half, task.pk)
    later = [d["seq"] for kind, d, _ in messages(again.look()) if kind == "event"]
    assert later == [e["seq"] for e in events if e["seq"] > half]


def test_progress_is_told_without_moving_the_number(operator: User) -> None:
    task = factories.running_task(operator, rounds=1).task
    reader = Reader(0, task.pk)
    reader.look()
    type(task).objects.filter(pk=task.pk).update(live_seq=99)
    assert messages(reader.look()) == [
        (
            "task",
            {"task": task.pk, "live_seq": 99, "phase": "running", "stage": "placed"},
            "",
        )
    ]


def test_a_reorg_takes_events_back(operator: User) -> None:
    story = factories.running_task(operator, rounds=1)
    reader, sleeper = Reader(0, None), Reader(0, None)
    sleeper.look()
    seen = [d for kind, d, _ in messages(reader.look()) if kind == "event"]
    orphaned = seen[-1]["block"]
    kept = [e["seq"] for e in seen if e["block"] < orphaned]
    Block.objects.filter(number=orphaned).delete()
    assert messages(reader.look()) == [("retracted", {"above": kept[-1]}, str(kept[-1]))]
    assert reader.look() == ""
    # One who comes back only after the successors are there gets both.
    story.mine(operator.account.address, "cancel", [])  # type: ignore[union-attr]
    TaskEvent.objects.filter(pk__gt=seen[-1]["seq"]).delete()
    stretch = events_after(seen[-1]["seq"])
    assert (stretch.standing, list(stretch.events)) == (kept[-1], [])


def test_the_page_says_what_no_longer_stands(as_operator: Program, operator: User) -> None:
    factories.running_task(operator, rounds=1)
    seen = as_operator.get("/events").json()
    last = seen["items"][-1]
    assert seen["standing"] == 0
    Block.objects.filter(number=last["block"]).delete()
    later = as_operator.get("/events", after=seen["next"]).json()
    assert later["items"] == []
    assert later["standing"] == max(e["seq"] for e in seen["items"] if e["block"] < last["block"])
