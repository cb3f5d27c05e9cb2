"""Pause, removal and top-ups: what is refused, what is written, what the timeline says."""

from __future__ import annotations

import pytest

from chain.models import OutgoingTransaction
from sessions_app.errors import InvalidTask, NotAllowed, WrongStage
from sessions_app.models import AuditEntry, Seat, Task, TaskNote, TopUp, TrainingRun, User
from sessions_app.rounds import orchestrator
from sessions_app.rounds import steps as round_steps
from sessions_app.selectors.task.data import TaskData, task_get
from sessions_app.selectors.task.now import task_now
from sessions_app.selectors.task.page import TaskPage
from sessions_app.selectors.task.timeline import Filter, timeline
from sessions_app.services import steering
from tests import factories

FLT = factories.FLT
pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return factories.user("operator")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[object]]]:
    """What would be sent: the outbox itself has its tests with a real chain."""
    sent: list[tuple[str, list[object]]] = []

    def enqueue(*, account: object, function: str, args: list[object], **kwargs: object) -> object:
        sent.append((function, list(args)))
        return OutgoingTransaction(
            account=account,  # type: ignore[misc]
            function=function,
            idempotency_key=str(kwargs["idempotency_key"]),
        )

    monkeypatch.setattr("sessions_app.services.calls.transaction_enqueue", enqueue)
    return sent


def test_a_pause_hands_out_no_training_and_says_what_the_deadline_means(owner: User) -> None:
    task = factories.running_task(owner, rounds=1).task
    steering.task_pause(task=task, by=owner)
    task = task_get(task.pk)
    now = task_now(TaskData(task))
    assert now.tone == "wait"
    assert "The contract knows no pause" in now.text
    assert "scored with the 2 updates that came" in now.text
    page = TaskPage(TaskData(task), owner)
    assert page.head.pill.label == "Paused"
    assert (page.actions.pause, page.actions.resume) == (False, True)
    before = set(TrainingRun.objects.values_list("pk", "status"))
    round_steps.advance_round(task)
    known = TrainingRun.objects.filter(pk__in=[pk for pk, _ in before])
    assert set(known.values_list("pk", "status")) == before
    assert not TrainingRun.objects.filter(round_number=2, attempts__gt=0).exists()
    with pytest.raises(WrongStage, match="is paused since"):
        steering.task_pause(task=task, by=owner)


def test_a_pause_and_its_end_stand_in_the_timeline_and_the_audit_log(owner: User) -> None:
    task = factories.running_task(owner, rounds=1).task
    steering.task_pause(task=task, by=owner)
    steering.task_resume(task=task, by=owner)
    assert task_get(task.pk).paused_at is None
    lines = timeline(task, Filter(kind="notes")).lines
    assert [line.text for line in lines] == [
        "Mara resumed the training",
        "Mara paused the training",
    ]
    actions = AuditEntry.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["task.pause", "task.resume"]
    with pytest.raises(WrongStage, match="is not paused"):
        steering.task_resume(task=task, by=owner)


def test_nobody_but_the_operator_or_an_admin_steers(owner: User) -> None:
    task = factories.running_task(owner, rounds=1).task
    for stranger in (factories.user("participant"), factories.user("operator", name="Otto")):
        with pytest.raises(NotAllowed):
            steering.task_pause(task=task, by=stranger)
        with pytest.raises(NotAllowed):
            steering.pool_top_up(task=task, amount=FLT, by=stranger)
    assert steering.task_pause(task=task, by=factories.user("admin")).paused_at is not None


def test_a_draft_cannot_be_paused(owner: User) -> None:
    with pytest.raises(WrongStage, match="is draft; only a running task"):
        steering.task_pause(task=factories.draft(owner), by=owner)


def test_a_hosted_participant_leaves_by_its_own_key(
    owner: User, calls: list[tuple[str, list[object]]]
) -> None:
    story = factories.running_task(owner, rounds=1)
    address = story.seats[4].account.address
    steering.participant_remove(task=story.task, address=address, by=owner)
    assert calls == [("leave", [story.onchain_id])]
    assert Seat.objects.get(task=story.task, account__address=address).removed_at is not None
    note = TaskNote.objects.get(task=story.task)
    assert note.text == "Mara removed Riverside; it leaves on chain"


def test_an_outside_participant_can_only_leave_by_itself(owner: User) -> None:
    story = factories.running_task(owner, rounds=1)
    outside = story.seats[4]
    outside.delete()
    with pytest.raises(NotAllowed, match="nobody but the participant itself leave"):
        steering.participant_remove(task=story.task, address=outside.account.address, by=owner)


@pytest.mark.parametrize("amount", [0, 2**96])
def test_a_top_up_that_is_no_amount(owner: User, amount: int) -> None:
    task = factories.running_task(owner, rounds=1).task
    with pytest.raises(InvalidTask, match="outside 0 to"):
        steering.pool_top_up(task=task, amount=amount, by=owner)


def test_a_top_up_goes_out_after_its_approval(
    owner: User, calls: list[tuple[str, list[object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = factories.running_task(owner, rounds=1).task
    with pytest.raises(InvalidTask, match="holds"):
        steering.pool_top_up(task=task, amount=10**9 * FLT, by=owner)
    steering.pool_top_up(task=task, amount=25 * FLT, by=owner)
    monkeypatch.setattr(
        "sessions_app.services.topups.contract_address", lambda name: factories.COORDINATOR
    )
    from sessions_app.services.topups import top_ups_advance

    top_ups_advance(task_get(task.pk))
    assert calls == [("approve", [factories.COORDINATOR, 25 * FLT])]
    OutgoingTransaction.objects.create(
        network=factories.network(),
        account=owner.account,  # type: ignore[misc]
        function="approve",
        idempotency_key=f"{task.reference}:topup:{TopUp.objects.get().pk}:approve",
        status="confirmed",
        block_number=1,
    )
    top_ups_advance(task_get(task.pk))
    assert calls[-1] == ("topUp", [task.onchain_id, 25 * FLT])
    assert TopUp.objects.get().status == TopUp.Status.ASKED


def test_the_last_round_takes_no_top_up(owner: User) -> None:
    task = factories.running_task(owner, rounds=1).task
    Task.objects.filter(pk=task.pk).update(rounds=2)
    with pytest.raises(WrongStage, match="is the last one"):
        steering.pool_top_up(task=task_get(task.pk), amount=FLT, by=owner)


def test_a_removed_seat_does_not_join_again(
    owner: User, calls: list[tuple[str, list[object]]]
) -> None:
    story = factories.TaskStory(factories.draft(owner, participants=3, stake=0)).fund().seat()
    Seat.objects.filter(pk=story.seats[2].pk).update(removed_at=story.task.created_at)
    orchestrator.task_advance(story.task.pk)
    assert [function for function, _ in calls] == ["join", "join"]
