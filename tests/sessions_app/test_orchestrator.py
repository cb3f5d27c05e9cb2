"""Steps of the orchestrator that need no node: what is asked for, and in which order."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from chain.accounts import account_derive
from chain.models import Account, OutgoingTransaction
from sessions_app import tasks
from sessions_app.models import Seat, Task, TokenBalance, TrainingRun
from sessions_app.projection.tables import TaskProjection
from sessions_app.rounds import orchestrator, steps
from sessions_app.services import jobs
from sessions_app.services.tasks import FLT
from tests import factories
from tests.sessions_app.script import CONTRACT, Script, word
from training import tasks as training_tasks

pytestmark = pytest.mark.django_db
Status = OutgoingTransaction.Status


@pytest.fixture
def operator() -> Account:
    return account_derive(label="Mara", kind="operator", index=1)


def funding(operator: Account, number: int, pool: int) -> Task:
    return Task.objects.create(
        title=f"T{number}",
        config={"any": number},
        config_hash=word(number),
        initial_model_hash=word(900),
        operator_account=operator,
        stage=Task.Stage.FUNDING,
        launched_at=timezone.now(),
        pool=pool,
        rounds=2,
        reward_mode="score",
    )


def asked(function: str) -> list[OutgoingTransaction]:
    return list(OutgoingTransaction.objects.filter(function=function).order_by("pk"))


def test_the_pool_is_approved_before_the_task_is_created(operator: Account) -> None:
    task = funding(operator, 1, 100 * FLT)
    for _ in range(3):
        orchestrator.task_advance(task.pk)
    (approve,) = asked("approve")
    assert approve.args == [CONTRACT, 100 * FLT]
    assert asked("createTask") == []

    OutgoingTransaction.objects.update(status=Status.CONFIRMED)
    for _ in range(3):
        orchestrator.task_advance(task.pk)
    assert len(asked("createTask")) == 1


def test_two_launches_do_not_take_each_other_s_allowance(operator: Account) -> None:
    first, second = funding(operator, 1, 100 * FLT), funding(operator, 2, 50 * FLT)
    orchestrator.task_advance(first.pk)
    orchestrator.task_advance(second.pk)
    assert [row.args[1] for row in asked("approve")] == [150 * FLT, 150 * FLT]


def test_a_refused_launch_says_why_and_can_be_started_again(operator: Account) -> None:
    task = funding(operator, 1, 100 * FLT)
    orchestrator.task_advance(task.pk)
    OutgoingTransaction.objects.update(
        status=Status.FAILED, error="No.", attempted_at=timezone.now()
    )
    orchestrator.task_advance(task.pk)
    task.refresh_from_db()
    assert (task.stage, task.failure) == ("failed", "approve was refused: No.")


def test_a_second_job_for_a_model_that_is_there_stops_nothing(operator: Account) -> None:
    """On a busy machine a lease runs out and two workers make the same model."""
    task = funding(operator, 1, 100 * FLT)
    orchestrator.model_failed(task.pk, "The initial model could not be made. It died.")
    task.refresh_from_db()
    assert (task.stage, task.failure) == ("funding", "")
    Task.objects.update(stage=Task.Stage.PREPARING)
    orchestrator.model_failed(task.pk, "The initial model could not be made. It died.")
    task.refresh_from_db()
    assert (task.stage, task.failure) == (
        "failed",
        "The initial model could not be made. It died.",
    )


def test_participants_join_once_their_stake_is_there(operator: Account) -> None:
    script = Script()
    script.task(config_hash=word(1))
    funding(operator, 1, 100 * FLT)
    TaskProjection().apply(script.network, script.events)
    task = Task.objects.get()
    seat = account_derive(label="Eastfield", kind="participant", index=20)
    account_derive(label="Treasury", kind="deployer", index=0)
    Seat.objects.create(task=task, slot=0, account=seat, samples=40)

    orchestrator.task_advance(task.pk)
    (transfer,) = asked("transfer")
    assert transfer.args[0] == seat.address
    assert asked("join") == []

    TokenBalance.objects.create(
        network=script.network, address=seat.address, balance=10, block_number=9
    )
    orchestrator.task_advance(task.pk)
    assert asked("join") == []  # not before the allowance is mined
    OutgoingTransaction.objects.filter(function="approve").update(status=Status.CONFIRMED)
    for _ in range(2):
        orchestrator.task_advance(task.pk)
    (join,) = asked("join")
    assert join.args == [1, 40]


def test_hosted_stakes_come_back_when_the_task_has_ended(operator: Account) -> None:
    script = Script()
    script.task(config_hash=word(1))
    seat = account_derive(label="Eastfield", kind="participant", index=20)
    outsider = "0x" + "4" * 40
    for index, address in enumerate((seat.address, outsider)):
        script.emit(
            "ParticipantJoined",
            taskId=1,
            participant=address,
            index=index,
            samplesCap=40,
            stake=10,
        )
    script.emit("TaskCancelled", taskId=1)
    funding(operator, 1, 100 * FLT)
    TaskProjection().apply(script.network, script.events)
    task = Task.objects.get()
    Seat.objects.create(task=task, slot=0, account=seat, samples=40)
    assert task.pk in orchestrator.unfinished_tasks(), "the tick looks after it"

    for _ in range(2):
        orchestrator.task_advance(task.pk)
    (back,) = asked("returnStake")
    assert back.args == [1, seat.address], "who holds their own key takes it back themselves"

    script.emit("StakeReturned", taskId=1, participant=seat.address, amount=10)
    TaskProjection().apply(script.network, script.events[-1:])
    assert orchestrator.unfinished_tasks() == []


Sent = list[tuple[list[int], list[int]]]


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """(slots, keys of the runs) of each message that a commit would send to the workers."""
    sent: Sent = []

    def send(task: object, trained: list[dict[str, int]], *, answers: Any, **_: object) -> None:
        assert task is training_tasks.train_updates
        sent.append(([job["slot"] for job in trained], [one.args[0] for one in answers]))

    monkeypatch.setattr(jobs, "_send_on_commit", send)
    return sent


def test_short_trainings_go_to_a_worker_together_and_failed_ones_alone(
    trainings: Sent, settings: Any
) -> None:
    settings.CELERY_WORKER_CONCURRENCY = 1
    task = factories.running_task(factories.user("operator"), rounds=0).task
    assert task.config is not None
    task.config["local"]["epochs"] = 1
    task.seats.update(samples=100)
    TrainingRun.objects.all().delete()
    steps.advance_round(task)
    runs = list(TrainingRun.objects.order_by("seat__slot"))
    assert trainings == [([run.seat.slot for run in runs], [run.pk for run in runs])]
    assert len(runs) > 2
    assert {run.attempts for run in runs} == {1}

    # The worker answers: one is trained, one is not; the others' worker died.
    lost = [run.pk for run in runs[2:]]
    result = {"content_hash": word(1), "update_hash": word(2), "samples": 100, "seconds": 0.1}
    answers = [
        {**result, "loss": 0.5, "accuracy": 0.9},
        {"error": "TrainingError: it diverged."},
    ]
    for run, answer in zip(runs, answers, strict=False):
        tasks.update_ready(answer, run.pk)
    tasks.job_failed(None, RuntimeError("died"), None, "updates", lost)
    trained, failed, *_ = TrainingRun.objects.order_by("seat__slot")
    assert (trained.status, trained.content_hash) == (TrainingRun.Status.TRAINED, word(1))
    assert failed.error == "TrainingError: it diverged."

    trainings.clear()
    steps.advance_round(task)
    assert trainings == [([run.seat.slot], [run.pk]) for run in runs[1:]]
