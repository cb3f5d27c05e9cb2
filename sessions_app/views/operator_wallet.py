"""A task that its operator funds and runs from a wallet in the browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_POST

from sessions_app.access import require
from sessions_app.errors import NotAllowed, WrongStage
from sessions_app.models import Task
from sessions_app.selectors.task.config import term_facts
from sessions_app.selectors.task.page import task_pill
from sessions_app.services import operator_wallet, wallet_calls
from sessions_app.services import tasks as task_services
from sessions_app.views.base import acts, find_task, page, viewer
from sessions_app.views.wallet import address_of, json_answer, task_of


@login_required
@require_GET
def task_wallet(request: HttpRequest, pk: int) -> HttpResponse:
    """Where the operator signs; a draft is sent back to be started first."""
    task, user = find_task(pk), viewer(request)
    require(user, "task.launch", task)
    hosted = task.operator_account is not None
    if hosted or task.stage in (Task.Stage.DRAFT, Task.Stage.FAILED):
        account = task.operator_account.label if task.operator_account else ""
        note = f"{account} signs for this task." if hosted else "Start the task first."
        messages.info(request, note)
        return redirect("task", pk)
    context = {
        "task": task,
        "pill": task_pill(task),
        "terms": term_facts(task),
        "chain": wallet_calls.wallet_chain(),
        "keeper": task.evaluator_accounts.order_by("pk").first(),
        "funding": task.onchain_id is None,
    }
    return page(request, "pages/task_wallet.html", context, nav="tasks")


@login_required
@require_POST
@acts("task.launch")
def wallet_launch(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        task_services.task_launch_from_wallet(task=find_task(pk), by=viewer(request))
    except WrongStage as error:
        messages.error(request, str(error))
        return redirect("task", pk)
    return redirect("task-wallet", pk)


@login_required
@require_POST
@acts("task.launch")
def wallet_undo(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        task_services.task_launch_undo(task=find_task(pk), by=viewer(request))
        messages.success(request, "It is a draft again. Nothing was spent.")
    except NotAllowed:
        raise
    except WrongStage as error:
        messages.error(request, str(error))
    return redirect("task", pk)


@login_required
@acts("task.launch")
@json_answer
def desk(request: HttpRequest, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What this address can sign for the task now."""
    task = task_of(given.get("task"))
    found = operator_wallet.operator_desk(task=task, address=address_of(given), by=viewer(request))
    mine = viewer(request).wallets.filter(address=found.address).exists()
    return {
        "html": render_to_string(
            "partials/wallet_desk.html", {"desk": found, "task": task, "mine": mine}
        ),
        "offers": [asdict(offer) for offer in found.offers],
        "soon": found.soon,
        "placed": task.onchain_id is not None,
    }
