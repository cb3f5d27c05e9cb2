"""The Celery tasks: what they return, and how often they report."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, signature
from kombu.exceptions import OperationalError

from tests.training.factories import address
from training import tasks
from training.blobs import BlobStore
from training.errors import BlobMissing, SpecError
from training.specs import (
    AggregateJob,
    AggregateResult,
    TaskConfig,
    TrainJob,
    TrainResult,
    UpdateRef,
    keccak_hex,
)

CONFIG = TaskConfig(participants=2, rounds=1)
MEMBERS = [address(1), address(2)]


@pytest.fixture
def blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    monkeypatch.setenv("BLOB_ROOT", str(tmp_path))
    return BlobStore.default()


@pytest.fixture
def control() -> Iterator[Any]:
    """A Celery application on Kombu's in-memory broker; yields a function that empties a queue,
    by default the control queue, and returns [(task name, arguments)]."""
    from celery import _state

    before = _state._tls.current_app
    app = Celery("test", broker="memory://", set_as_current=True)

    def drain(name: str = tasks.PROGRESS_QUEUE) -> list[tuple[str, Any]]:
        received = []
        with app.connection_for_read() as connection:
            queue = connection.SimpleQueue(name)
            while queue.qsize():
                message = queue.get(block=False)
                message.ack()
                received.append((message.headers["task"], message.payload[0]))
            queue.close()
        return received

    drain()
    yield drain
    app.close()
    _state._tls.current_app = before


def test_a_whole_round_through_the_tasks(blobs: BlobStore, control: Any) -> None:
    initial = json.loads(json.dumps(tasks.initialise_model(CONFIG.to_dict())))
    assert initial["config_hash"] == CONFIG.hash()
    assert initial["parameters"] == 64 * 64 + 64 + 64 * 10 + 10
    assert initial["bytes"] == blobs.size(initial["model_hash"])
    assert 0 <= initial["accuracy"] < 0.5

    jobs = [
        TrainJob(CONFIG.to_dict(), 1, slot, member, 7, initial["model_hash"]).to_dict()
        for slot, member in enumerate(MEMBERS)
    ]
    plain = json.loads(json.dumps(jobs))
    results = tasks.train_updates(plain, progress="sessions_app.tasks.progress")
    trained = [TrainResult.from_dict(json.loads(json.dumps(result))) for result in results]
    assert [one.samples for one in trained] == initial["samples"]
    reports = control()
    assert {name for name, _ in reports} == {"sessions_app.tasks.progress"}
    (first,) = reports[0][1]
    assert first == {
        "task_id": 7,
        "round": 1,
        "slot": 0,
        "participant": MEMBERS[0],
        "stage": "training",
        "done": 0,
        "total": trained[0].samples * CONFIG.local.epochs,
        "samples_per_second": 0.0,
    }

    aggregate = AggregateJob(
        CONFIG.to_dict(),
        7,
        1,
        initial["model_hash"],
        [
            UpdateRef(one.participant, one.content_hash, one.samples, one.slot, one.update_hash)
            for one in trained
        ],
        MEMBERS,
    )
    plain = json.loads(json.dumps(aggregate.to_dict()))
    answer = tasks.aggregate_round(plain, progress="sessions_app.tasks.progress")
    result_ = AggregateResult.from_dict(json.loads(json.dumps(answer)))
    assert list(result_.accepted) == MEMBERS
    assert result_.accuracy > initial["accuracy"]
    assert result_.loss < initial["loss"]
    assert blobs.exists(result_.model_hash)
    assert control()[0][1][0]["stage"] == "scoring"


def test_task_names_queue_and_delivery() -> None:
    for task in (tasks.initialise_model, tasks.train_updates, tasks.aggregate_round):
        assert task.name == f"training.tasks.{task.__name__}"
        assert task.acks_late
        assert task.reject_on_worker_lost


def test_missing_blob_and_bad_job_reach_the_caller(blobs: BlobStore) -> None:
    job = TrainJob(CONFIG.to_dict(), 1, 0, MEMBERS[0], 7, keccak_hex(b"nothing")).to_dict()
    with pytest.raises(BlobMissing):
        tasks.train_updates([job])
    with pytest.raises(SpecError, match=r"TrainJob\.colour"):
        tasks.train_updates([{**job, "colour": "red"}])


def test_one_that_cannot_be_trained_keeps_nobody_else_from_it(
    blobs: BlobStore, control: Any
) -> None:
    model_ref = tasks.initialise_model(CONFIG.to_dict())["model_hash"]
    jobs = [
        TrainJob(CONFIG.to_dict(), 1, slot, MEMBERS[0], 7, model_ref).to_dict()
        for slot in (0, 5, 1)
    ]
    answers = [signature("sessions_app.tasks.update_ready", args=(key,)) for key in (71, 72, 73)]
    first, none, last = tasks.train_updates(jobs, None, json.loads(json.dumps(answers)))
    told = sorted(control("celery"), key=lambda message: message[1][1])  # a refusal is told first
    assert told == [
        ("sessions_app.tasks.update_ready", [one, key])
        for one, key in ((first, 71), (none, 72), (last, 73))
    ]
    assert none == {
        "error": "DataError: slot 5, but the task has 2 shares (0 to 1). Use the participant's "
        "own slot."
    }
    for result in (first, last):
        assert blobs.exists(result["content_hash"])


def test_at_most_four_reports_a_second(control: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(tasks.time, "monotonic", lambda: clock[0])
    reporter = tasks.Reporter("somewhere.progress")
    for step in range(200):  # two seconds, a call every 10 ms
        clock[0] = 100.0 + step / 100
        reporter.send({"task_id": 1}, "training", step, 200, 123.456)
    reports = control()
    assert len(reports) == 8
    assert reports[0] == (
        "somewhere.progress",
        [{"task_id": 1, "stage": "training", "done": 0, "total": 200, "samples_per_second": 123.5}],
    )


def test_nobody_listening_sends_nothing(control: Any) -> None:
    tasks.Reporter(None).send({}, "training", 1, 2)
    assert control() == []


def test_broker_that_is_down_does_not_stop_the_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Down:
        def send_task(self, *_: Any, **__: Any) -> None:
            raise OperationalError("connection refused")

    monkeypatch.setattr(tasks, "current_app", Down())
    tasks.Reporter("a.b").send({"task_id": 1}, "training", 1, 2)
    assert "connection refused" in caplog.text


def test_only_training_children_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from training import local

    warmed: list[bool] = []
    monkeypatch.setattr(local, "warm_up", lambda: warmed.append(True) or 1.0)
    monkeypatch.setenv("BCFL_ROLE", "control")
    tasks.warm_up_child()
    assert warmed == []
    monkeypatch.setenv("BCFL_ROLE", "training")
    tasks.warm_up_child()
    assert warmed == [True]
