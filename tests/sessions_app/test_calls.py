"""Calls of a task: once, and again only when they were refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from chain.accounts import account_derive
from chain.models import Account, OutgoingTransaction
from sessions_app.models import Task
from sessions_app.services.calls import MINED_ATTEMPTS, RETRY_AFTER, task_call
from tests.sessions_app.script import word

pytestmark = pytest.mark.django_db
Status = OutgoingTransaction.Status


@pytest.fixture
def task() -> Task:
    return Task.objects.create(title="T", config_hash=word(5), rounds=1, onchain_id=3)


@pytest.fixture
def account() -> Account:
    return account_derive(label="Mara", kind="operator", index=1)


def start(task: Task, account: Account, **options: bool) -> OutgoingTransaction:
    return task_call(task, account, "start", [3], key="start", **options)


def fail(row: OutgoingTransaction, *, ago: timedelta, **fields: object) -> None:
    at = timezone.now() - ago
    OutgoingTransaction.objects.filter(pk=row.pk).update(
        status=Status.FAILED, attempted_at=at, confirmed_at=None, **fields
    )


def test_asked_for_twice_it_is_one_row(task: Task, account: Account) -> None:
    assert start(task, account).pk == start(task, account).pk
    assert OutgoingTransaction.objects.count() == 1
    assert OutgoingTransaction.objects.get().reference == f"task:{task.pk}"


def test_a_refusal_rests_for_a_moment_and_is_asked_for_again(task: Task, account: Account) -> None:
    row = start(task, account)
    fail(row, ago=RETRY_AFTER / 2)
    assert start(task, account).status == Status.FAILED
    assert start(task, account, at_once=True).status == Status.QUEUED
    fail(row, ago=RETRY_AFTER * 2)
    assert start(task, account).status == Status.QUEUED


def test_what_was_mined_and_reverted_is_not_paid_for_without_end(
    task: Task, account: Account
) -> None:
    row = start(task, account)
    fail(row, ago=RETRY_AFTER * 2, block_number=9, attempts=MINED_ATTEMPTS - 1)
    assert start(task, account).status == Status.QUEUED
    fail(row, ago=RETRY_AFTER * 2, block_number=9, attempts=MINED_ATTEMPTS)
    assert start(task, account).status == Status.FAILED
