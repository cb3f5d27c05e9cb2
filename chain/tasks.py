"""Celery's way into the outbox. Thin: each task calls one function."""

from __future__ import annotations

from celery import shared_task

from chain import outbox


@shared_task(queue="control", ignore_result=True)
def account_send_task(account_id: int) -> None:
    outbox.account_send(account_id)


@shared_task(queue="control", ignore_result=True)
def outbox_tick_task() -> None:
    outbox.outbox_tick()
