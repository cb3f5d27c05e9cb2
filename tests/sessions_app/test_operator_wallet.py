"""A task whose operator signs in a wallet: whose event it is, and who keeps it going from here."""

from __future__ import annotations

import pytest
from django.utils import timezone

from chain.accounts import account_derive
from chain.models import OutgoingTransaction
from sessions_app.errors import WrongStage
from sessions_app.models import Task
from sessions_app.projection.tables import TaskProjection, rebuild
from sessions_app.rounds import orchestrator
from sessions_app.services.tasks import (
    FLT,
    task_launch,
    task_launch_from_wallet,
    task_launch_undo,
)
from tests import factories
from tests.sessions_app.script import OPERATOR, A, B, Script, word

pytestmark = pytest.mark.django_db
FAR = 2**31 - 1  # seconds to join: until 2038


def waiting(*, launched_from: str = "") -> Task:
    """A launch that waits for a wallet, with an evaluator here."""
    task = Task.objects.create(
        title="T",
        config={"any": 1},
        config_hash=word(1),
        initial_model_hash=word(900),
        launched_from=launched_from,
        stage=Task.Stage.FUNDING,
        launched_at=timezone.now(),
        pool=100 * FLT,
        rounds=2,
        reward_mode="score",
    )
    task.evaluator_accounts.add(account_derive(label="Evaluator 1", kind="evaluator", index=2))
    return task


def sent() -> list[tuple[str, str]]:
    rows = OutgoingTransaction.objects.order_by("pk").select_related("account")
    return [(row.account.label, row.function) for row in rows]


def test_nothing_is_sent_for_it_from_here() -> None:
    task = waiting()
    for _ in range(3):
        orchestrator.task_advance(task.pk)
    assert sent() == []


def test_the_hash_alone_does_not_make_a_stranger_its_operator() -> None:
    """The configuration hash is public. Whoever sends it first, from another address, gets a task
    of their own; ours is still bound by the event of the wallet that was to sign it."""
    ours = waiting(launched_from=OPERATOR)
    script = Script()
    script.task(1, config_hash=word(1), operator=A)
    script.task(2, config_hash=word(1))
    TaskProjection().apply(script.network, script.events)
    ours.refresh_from_db()
    assert (ours.onchain_id, ours.operator_address) == (2, OPERATOR)
    assert Task.objects.get(onchain_id=1).owner is None
    rebuild(script.network)
    ours.refresh_from_db()
    assert ours.onchain_id == 2, "a clean replay binds the same"


def test_the_start_is_the_operator_s_until_the_join_time_is_over() -> None:
    full = {"minParticipants": 1, "maxParticipants": 1}
    task = waiting()
    script = Script()
    script.task(config_hash=word(1), joinSeconds=FAR, **full)
    joined = {"participant": B, "index": 0, "samplesCap": 40, "stake": 10}
    script.emit("ParticipantJoined", taskId=1, **joined)
    TaskProjection().apply(script.network, script.events)
    orchestrator.task_advance(task.pk)
    assert sent() == []
    Task.objects.update(join_seconds=60)
    orchestrator.task_advance(task.pk)
    assert sent() == [("Evaluator 1", "start")]


def test_too_few_at_the_end_of_the_join_time_are_given_their_stakes_back() -> None:
    task = waiting()
    script = Script()
    script.task(config_hash=word(1), joinSeconds=60)
    TaskProjection().apply(script.network, script.events)
    orchestrator.task_advance(task.pk)
    assert sent() == [("Evaluator 1", "expire")]


def test_a_launch_from_a_wallet_can_be_given_up_and_paid_from_here_after_all() -> None:
    operator = factories.user("operator")
    task = factories.draft(operator, participants=2, rounds=1, pool=FLT)
    task_launch_from_wallet(task=task, by=operator)
    task.refresh_from_db()
    assert (task.stage, task.operator_account, task.seats.count()) == ("preparing", None, 2)
    with pytest.raises(WrongStage, match="started already"):
        task_launch_from_wallet(task=task, by=operator)
    task_launch_undo(task=task, by=operator)
    task.refresh_from_db()
    assert task.stage == "draft"
    with pytest.raises(WrongStage, match="does not wait for a wallet"):
        task_launch_undo(task=task, by=operator)
    factories.TaskStory(factories.draft(operator)).fund()  # brings tokens
    task_launch(task=task, by=operator)
    task.refresh_from_db()
    assert task.operator_account == operator.account
    assert operator.account is not None
    assert task.launched_from == operator.account.address
