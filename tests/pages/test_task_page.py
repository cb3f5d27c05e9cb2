"""The numbers and sentences of the task page, from events that the real projection folded."""

from __future__ import annotations

import csv
import html
import io
from datetime import timedelta

from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from chain.models import Transaction
from sessions_app.models import Task, TaskEvent, TokenBalance, TrainingRun, User
from sessions_app.selectors.task.config import configuration_facts
from sessions_app.selectors.task.data import TaskData, task_get
from sessions_app.selectors.task.now import task_now
from sessions_app.selectors.task.page import TaskPage
from sessions_app.selectors.task.series import csv_text, task_series
from tests import factories
from training.blobs import BlobStore
from training.specs import TaskConfig

FLT = factories.FLT


def shown(task: Task, viewer: User) -> TaskPage:
    return TaskPage(TaskData(task_get(task.pk)), viewer)


def sentence(task: Task) -> str:
    now = task_now(TaskData(task_get(task.pk)))
    return f"{now.lead} {now.text}".replace("\u00a0", " ")


def test_the_sentence_follows_the_task(operator: User) -> None:
    task = factories.draft(operator, participants=3, rounds=2)
    assert sentence(task).startswith("Draft. Nothing is on chain and nothing is spent.")
    story = factories.TaskStory(task).fund().seat()
    assert sentence(task) == (
        "Open. Waiting for 3 of 3 participants to join: Eastfield, Harbour and Southbank."
    )
    story.join()
    assert "All 3 participants have joined" in sentence(task)
    story.start()
    assert sentence(task) == (
        "Round 1 of 2. Waiting for 3 of 3 updates: Eastfield, Harbour and Southbank."
    )
    story.update(1, 1)
    assert "Waiting for 2 of 3 updates: Eastfield and Southbank." in sentence(task)
    story.update(1, 0)
    story.update(1, 2)
    assert sentence(task) == "Round 1 of 2. All 3 updates are in; Evaluator 1 scores them."
    story.finish_round(1)
    assert "Round 2 of 2. Waiting for 3 of 3 updates" in sentence(task)
    assert "usually 12 s." in sentence(task)
    story.finish_round(2)
    assert sentence(task).startswith("Completed. 2 rounds ended at 79.5 % accuracy")
    assert "1,000 FLT are earned and not claimed yet." in sentence(task)


def test_a_round_that_stands_still_is_called_stalled(operator: User) -> None:
    story = factories.running_task(operator, rounds=2)
    past = timezone.now() - timedelta(minutes=5)
    story.task.round_runs.filter(number=3).update(opened_at=past)
    TaskEvent.objects.update(block_time=int(past.timestamp()))
    for seat in story.seats:
        seat.runs.update(started_at=past, finished_at=None)
    now = task_now(TaskData(task_get(story.task.pk)))
    assert now.tone == "bad"
    assert "waiting for Southbank, Northgate and Riverside" in now.text


def test_steps_count_training_in_progress(operator: User) -> None:
    story = factories.running_task(operator, rounds=1)
    steps = task_now(TaskData(task_get(story.task.pk))).steps
    assert [step.state for step in steps] == ["on", "todo", "todo", "todo"]
    assert steps[0].label == "Updates 2 of 5"
    assert steps[0].value == round(100 * (2 + 0.9 * 0.72) / 5)


def test_kpis(operator: User) -> None:
    story = factories.finished_task(operator)
    story.claim(0)
    page = shown(story.task, operator)
    k = page.kpis
    accuracies = [r.accuracy_ppm or 0 for r in story.task.round_set.all()]
    assert k.accuracy_ppm == accuracies[-1]
    assert k.accuracy_change_ppm == accuracies[-1] - accuracies[-2]
    mined = Transaction.objects.exclude(function="transfer")
    assert k.gas == sum(tx.gas_used for tx in mined)
    assert k.gas_fee == sum(tx.fee for tx in mined)
    assert k.calls == mined.count()
    assert k.earned == 1_000 * FLT
    assert k.claimed == story.task.members.get(index=0).earned
    assert k.overhead is not None
    assert 0 < k.overhead < 0.1


def test_participants(operator: User, participant: User) -> None:
    story = factories.running_task(operator, rounds=2)
    rows = shown(story.task, participant).participants
    assert [row.pill.label for row in rows] == [
        "Submitted",
        "Submitted",
        "Training",
        "Queued",
        "Waiting",
    ]
    assert rows[2].value == 72
    assert [row.mine for row in rows] == [True, False, False, False, False]
    assert [row.can_claim for row in rows] == [True, False, False, False, False]
    assert sum(row.contribution or 0 for row in rows) == 1.0
    theirs = shown(story.task, operator).actions
    assert len(theirs.claim) == 4  # the third has claimed
    assert theirs.claimable == sum(m.earned - m.claimed for m in story.task.members.all())


def test_gas_by_round_counts_every_transaction_once(operator: User) -> None:
    """The last transaction of a round opens the next one, and belongs to the round it ends."""
    story = factories.finished_task(operator)
    series = task_series(task_get(story.task.pk))
    in_rounds = Transaction.objects.filter(
        function__in=("submitUpdate", "submitScores", "submitAggregate")
    )
    total = sum(p.gas_submit + p.gas_score + p.gas_aggregate for p in series.points)
    assert total == sum(tx.gas_used for tx in in_rounds)
    assert [p.submits for p in series.points] == [3, 3, 3]


def test_wallets_are_walked_back_from_the_balance(operator: User) -> None:
    story = factories.finished_task(operator)
    before = task_series(task_get(story.task.pk)).points
    assert [list(p.wallet) for p in before] == [[90 * FLT] * 3] * 3
    story.claim(1)
    after = task_series(task_get(story.task.pk)).points
    assert [list(p.wallet) for p in after] == [[90 * FLT] * 3] * 3  # the claim came later
    address = story.seats[1].account.address
    paid = story.task.members.get(index=1).earned
    assert TokenBalance.objects.get(address=address).balance == 90 * FLT + paid


def test_series_since_a_round_is_the_end_of_the_whole(operator: User) -> None:
    task = factories.running_task(operator, rounds=4).task
    whole = task_series(task_get(task.pk))
    tail = task_series(task_get(task.pk), since_round=3)
    assert tail.points == whole.points[2:]


def test_exports(as_operator: Client, operator: User) -> None:
    task = factories.finished_task(operator).task
    rows = list(
        csv.reader(io.StringIO(as_operator.get(f"/tasks/{task.pk}/series.csv").content.decode()))
    )
    assert rows[0][:3] == ["round", "final", "accuracy_percent"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3"]
    data = as_operator.get(f"/tasks/{task.pk}/series.json?since_round=2").json()
    assert [point["round"] for point in data["points"]] == [2, 3]
    people = list(
        csv.DictReader(
            io.StringIO(as_operator.get(f"/tasks/{task.pk}/participants.csv").content.decode())
        )
    )
    assert [row["name"] for row in people] == ["Eastfield", "Harbour", "Southbank"]
    earned = [member.earned for member in task.members.order_by("index")]
    assert [round(float(row["earned_flt"]) * 1e6) for row in people] == [
        round(wei / 10**12) for wei in earned
    ]
    assert as_operator.get(f"/tasks/{task.pk}/participants.json").json()["participants"]
    config = as_operator.get(f"/tasks/{task.pk}/config.json")
    assert factories.keccak_hex(config.content) == task.config_hash


def test_privacy_spent_stands_in_the_series_and_the_facts(operator: User) -> None:
    task = factories.finished_task(operator).task
    assert [point.epsilon for point in task_series(task).points] == [None] * 3
    run = task.round_runs.get(number=2)
    run.result |= {"epsilon": 6.25}
    run.save()
    assert [point.epsilon for point in task_series(task).points] == [None, 6.25, None]
    private = TaskConfig.from_dict({"privacy": {"name": "gaussian", "params": {"noise": 2}}})
    facts = {fact.name: fact.value for fact in configuration_facts(private)}
    assert facts["Privacy"] == (
        "Clip and add noise (clip length c 1, noise multiplier z 2, δ 1e-05)"
    )


def test_privacy_spent_stands_on_the_page(as_operator: Client, operator: User) -> None:
    task = factories.finished_task(operator).task
    assert "ε" not in as_operator.get(f"/tasks/{task.pk}/parts/?part=kpis,rounds").content.decode()
    assert task.config is not None
    task.config["privacy"] = {"name": "gaussian", "params": {"noise": 2}}
    task.save()
    for run in task.round_runs.all():
        run.result |= {"epsilon": 2.5 * run.number}
        run.save()
    page = shown(task, operator)
    assert page.kpis.epsilon == 7.5
    assert [row.epsilon for row in page.rounds] == [7.5, 5.0, 2.5]
    assert "ε\N{NO-BREAK SPACE}7.50" in text_of(as_operator, f"/tasks/{task.pk}/")


def text_of(client: Client, path: str) -> str:
    return html.unescape(client.get(path).content.decode())


def test_refused_updates_stand_with_reason_and_evidence(
    as_operator: Client, operator: User
) -> None:
    task = factories.finished_task(operator).task
    without = as_operator.get(f"/tasks/{task.pk}/rounds/1/evidence.json")
    assert without.status_code == 404
    document = b'{"kind":"rejected updates","rejected":[]}'
    ref = BlobStore.default().put(document)
    run = task.round_runs.get(number=2)
    address = task.members.get(index=1).address
    reason = "norm: 12.5 times as long as the median"
    run.result |= {"rejected": [[address, reason]], "evidence": ref}
    run.save()
    page = text_of(as_operator, f"/tasks/{task.pk}/artefacts/")
    assert f"refused: {reason}" in page
    assert f"/tasks/{task.pk}/rounds/2/evidence.json" in page
    download = as_operator.get(f"/tasks/{task.pk}/rounds/2/evidence.json")
    assert factories.keccak_hex(download.content) == ref
    assert download["Content-Type"] == "application/json"
    updates = as_operator.get(f"/tasks/{task.pk}/artefacts.json").json()["updates"]
    assert [(u["round"], u["address"]) for u in updates if u["evidence"] == ref] == [(2, address)]


def test_csv_cells_are_no_formulas() -> None:
    assert csv_text("=1+1") == "'=1+1"
    assert csv_text("Eastfield") == "Eastfield"


def test_a_task_of_another_client_has_a_page(as_operator: Client, operator: User) -> None:
    story = factories.finished_task(operator)
    Task.objects.update(config=None, owner=None, operator_account=None)
    page = as_operator.get(f"/tasks/{story.task.pk}/").content.decode()
    assert "Created by another client" in page
    assert as_operator.get(f"/tasks/{story.task.pk}/config.json").status_code == 404


def test_a_silent_worker_is_a_fault_before_its_work_is_handed_on(
    operator: User, settings: Settings
) -> None:
    story = factories.running_task(operator, rounds=1)
    lease = timedelta(seconds=settings.TRAINING_LEASE_SECONDS)
    runs = TrainingRun.objects.filter(seat__task=story.task, round_number=2)
    training = runs.filter(status=TrainingRun.Status.TRAINING)
    assert training.count() == 1
    now = timezone.now()

    training.update(lease_until=now + lease, done=10)
    page = shown(story.task, operator)
    assert not [f for f in page.faults if "silent" in f.title]
    look = page.now.look_again_at
    assert look is not None
    assert 4.9 < look - now.timestamp() < 6, "the page looks again when it would be one"

    training.update(lease_until=now + lease - timedelta(seconds=6))
    (fault,) = shown(story.task, operator).faults
    assert fault.title == "The worker that trains for Southbank is silent"
    assert fault.cause.startswith("Nothing was heard of it for ")
    assert "handed to another worker" in fault.next_step

    training.update(status=TrainingRun.Status.TRAINED)
    waited = TrainingRun.QUEUE_LEASE - timedelta(seconds=25)
    runs.filter(status=TrainingRun.Status.QUEUED).update(lease_until=now + waited)
    (fault,) = shown(story.task, operator).faults
    assert fault.title == "No worker has begun to train"
    assert "Health" in fault.next_step

    Task.objects.filter(pk=story.task.pk).update(paused_at=now)
    assert not shown(story.task, operator).faults, "a pause hands out nothing"
