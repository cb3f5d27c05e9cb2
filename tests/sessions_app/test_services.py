"""What people may do, and what they are told when they may not."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from chain.accounts import account_derive
from chain.models import OutgoingTransaction
from chain.network import network_current
from sessions_app.errors import (
    ChainTrouble,
    InvalidTask,
    NotAllowed,
    NothingToClaim,
    WrongStage,
)
from sessions_app.models import Task, TokenBalance, User
from sessions_app.projection.tables import TaskProjection
from sessions_app.services import tasks as task_services
from sessions_app.services.claims import rewards_claim
from sessions_app.services.tasks import FLT
from tests.sessions_app.script import A, Script, two_rounds
from training.specs import TaskConfig

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> User:
    account_derive(label="Evaluator 1", kind="evaluator", index=2)
    account = account_derive(label="Mara", kind="operator", index=1)
    return User.objects.create_user("mara", role=User.Role.OPERATOR, account=account)


@pytest.fixture
def participant() -> User:
    return User.objects.create_user("eastfield", role=User.Role.PARTICIPANT)


def draft(owner: User, **changes: object) -> Task:
    terms = {"title": "Digits", "config": TaskConfig(), "pool": 100 * FLT, "stake": FLT}
    return task_services.task_create(owner=owner, **{**terms, **changes})  # type: ignore[arg-type]


def fund(user: User, amount: int) -> None:
    assert user.account is not None
    TokenBalance.objects.create(
        network=network_current(), address=user.account.address, balance=amount, block_number=1
    )


def test_a_draft_spends_nothing(operator: User) -> None:
    task = draft(operator)
    assert (task.stage, task.quorum, task.rounds) == ("draft", 1, TaskConfig().rounds)
    assert not OutgoingTransaction.objects.exists()


def test_two_drafts_of_one_configuration_have_hashes_of_their_own(operator: User) -> None:
    assert draft(operator).config_hash != draft(operator).config_hash


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"title": "  "}, "title", "title"),
        ({"pool": 2}, "pool", "A pool of 2 wei cannot pay 5 rounds"),
        ({"pool": 2**96}, "pool", "outside 0 to"),
        ({"stake": -1}, "stake", "The stake of -1 wei"),
    ],
)
def test_terms_that_cannot_be_are_refused_by_field(
    operator: User, changes: dict[str, object], field: str, text: str
) -> None:
    with pytest.raises(InvalidTask, match=text) as caught:
        draft(operator, **changes)
    assert caught.value.field == field


def test_only_operators_create_and_only_owners_launch(operator: User, participant: User) -> None:
    with pytest.raises(NotAllowed, match="needs the operator role"):
        draft(participant)
    with pytest.raises(NotAllowed, match="needs the operator role"):
        task_services.task_launch(task=draft(operator), by=participant)


def test_a_pool_beyond_the_balance_is_named_with_both_numbers(operator: User) -> None:
    fund(operator, 40 * FLT)
    with pytest.raises(InvalidTask, match=r"pool is 100\.00 FLT but Mara holds 40\.00 FLT"):
        task_services.task_launch(task=draft(operator), by=operator)


def test_launching_seats_everybody_once(operator: User) -> None:
    fund(operator, 500 * FLT)
    task = task_services.task_launch(task=draft(operator), by=operator)
    assert task.stage == Task.Stage.PREPARING
    assert [seat.account.label for seat in task.seats.all()][:2] == ["Eastfield", "Harbour"]
    with pytest.raises(WrongStage, match="has been started already"):
        task_services.task_launch(task=task, by=operator)
    assert task.seats.count() == TaskConfig().participants


def test_only_hosted_places_are_seated(operator: User) -> None:
    fund(operator, 500 * FLT)
    task = draft(operator, hosted_places=2, min_participants=3)
    assert (task.hosted_places, task.open_places, task.min_participants) == (2, 3, 3)
    task_services.task_launch(task=task, by=operator)
    assert [seat.slot for seat in task.seats.all()] == [0, 1]
    clone = task_services.task_clone(task=task, by=operator)
    assert (clone.hosted_places, clone.min_participants) == (2, 3)


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"hosted_places": 6}, "hosted_places", "6 places trained for here are outside 0 to 5"),
        ({"min_participants": 0}, "min_participants", "outside 1 to 5"),
        ({"outside_evaluators": ["0x12"]}, "outside_evaluators", "'0x12' is not an address"),
    ],
)
def test_places_that_cannot_be_are_refused(
    operator: User, changes: dict[str, object], field: str, text: str
) -> None:
    with pytest.raises(InvalidTask, match=text) as caught:
        draft(operator, **changes)
    assert caught.value.field == field


def test_a_changed_draft_keeps_who_is_hosted(operator: User) -> None:
    task = draft(operator)
    terms = {"title": "T", "pool": 100 * FLT, "stake": 0, "by": operator}
    task_services.task_change(task=task, config=TaskConfig(participants=7), **terms)  # type: ignore[arg-type]
    assert (task.hosted_places, task.min_participants) == (7, 7)
    task_services.task_change(task=task, config=TaskConfig(), hosted_places=0, **terms)  # type: ignore[arg-type]
    task_services.task_change(task=task, config=TaskConfig(participants=9), **terms)  # type: ignore[arg-type]
    assert (task.hosted_places, task.max_participants) == (0, 9)


def test_evaluators_from_outside_alone(operator: User) -> None:
    others = ["0x" + f"{number:040x}" for number in (1, 2, 3)]
    task = draft(operator, outside_evaluators=others)
    assert (task.evaluator_accounts.count(), task.quorum) == (0, 2)


def test_on_a_public_chain_nobody_is_seated_with_public_keys(
    operator: User, settings: Settings
) -> None:
    fund(operator, 500 * FLT)
    task = draft(operator)
    settings.NETWORKS = {settings.CHAIN_NETWORK: {"rpc_url": "http://127.0.0.1:1", "chain_id": 5}}
    with pytest.raises(ChainTrouble, match="Keys of the development mnemonic are public"):
        task_services.task_launch(task=task, by=operator)
    task.refresh_from_db()
    assert task.stage == Task.Stage.DRAFT


def test_a_clone_is_a_draft_with_the_same_settings(operator: User) -> None:
    first = draft(operator, stake=3 * FLT)
    clone = task_services.task_clone(task=first, by=operator)
    assert (clone.stage, clone.stake, clone.pool) == ("draft", 3 * FLT, first.pool)
    assert clone.config_hash != first.config_hash


def test_cancelling_a_draft_deletes_it(operator: User) -> None:
    task = draft(operator)
    assert task_services.task_cancel(task=task, by=operator) is None
    assert not Task.objects.filter(pk=task.pk).exists()


def test_claims_need_something_earned_and_a_key(operator: User) -> None:
    script = Script()
    two_rounds(script)
    TaskProjection().apply(script.network, script.events)
    task = Task.objects.get()
    task.owner = operator
    task.save()
    with pytest.raises(NothingToClaim, match="is not a participant"):
        rewards_claim(task=task, address="0x" + "5" * 40, by=operator)
    with pytest.raises(NotAllowed, match="claims from their own wallet"):
        rewards_claim(task=task, address=A, by=operator)
