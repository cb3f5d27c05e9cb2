"""What can be done with a task: each a POST that answers with the parts it changed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from sessions_app.errors import BcflError, InvalidTask
from sessions_app.formats import TOKEN_DECIMALS, amount, count
from sessions_app.models import Task
from sessions_app.publish import ALL_PARTS
from sessions_app.selectors.task.data import TaskData
from sessions_app.selectors.task.page import TaskPage
from sessions_app.services import invitations, steering
from sessions_app.services import tasks as task_services
from sessions_app.services.claims import rewards_claim
from sessions_app.views.base import acts, find_task, is_htmx, viewer
from sessions_app.views.task_page import show_parts


def _act(request: HttpRequest, pk: int, action: Callable[[Task], str]) -> HttpResponse:
    """Do it, then show the task: by parts for htmx, by a redirect without it."""
    task = find_task(pk)
    tone = "ok"
    try:
        note = action(task)
    except BcflError as error:
        note, tone = str(error), "bad"
    if is_htmx(request):
        return show_parts(request, find_task(pk), list(ALL_PARTS), note=note, tone=tone)
    messages.add_message(request, messages.SUCCESS if tone == "ok" else messages.ERROR, note)
    return redirect("task", pk)


def _go(request: HttpRequest, url: str) -> HttpResponse:
    if is_htmx(request):
        response = HttpResponse(status=204)
        response["HX-Redirect"] = url
        return response
    return redirect(url)


@login_required
@require_POST
@acts("task.launch")
def task_start(request: HttpRequest, pk: int) -> HttpResponse:
    def start(task: Task) -> str:
        task_services.task_launch(task=task, by=viewer(request))
        return "Started. The model is being prepared; the escrow follows."

    return _act(request, pk, start)


@login_required
@require_POST
@acts("task.start")
def task_begin(request: HttpRequest, pk: int) -> HttpResponse:
    """Does not wait for the places that are still open."""

    def begin(task: Task) -> str:
        task_services.task_start(task=task, by=viewer(request))
        return "The start is on its way to the chain."

    return _act(request, pk, begin)


@login_required
@require_POST
@acts("task.pause")
def task_pause(request: HttpRequest, pk: int) -> HttpResponse:
    def pause(task: Task) -> str:
        steering.task_pause(task=task, by=viewer(request))
        return "Paused. No more training is handed out; the contract's deadlines run on."

    return _act(request, pk, pause)


@login_required
@require_POST
@acts("task.pause")
def task_resume(request: HttpRequest, pk: int) -> HttpResponse:
    def resume(task: Task) -> str:
        steering.task_resume(task=task, by=viewer(request))
        return "Resumed."

    return _act(request, pk, resume)


@login_required
@require_POST
@acts("invitation.create")
def task_invite(request: HttpRequest, pk: int) -> HttpResponse:
    """A participant, by e-mail or with a link to pass on."""

    def invite(task: Task) -> str:
        email = request.POST.get("email", "")
        invitation = invitations.invitation_create(by=viewer(request), email=email, task=task)
        if invitation.email:
            return f"The invitation is on its way to {invitation.email}."
        return f"Pass this link on: {invitations.invitation_link(invitation)}"

    return _act(request, pk, invite)


@login_required
@require_POST
@acts("task.remove")
def task_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Removes one hosted participant (``address``)."""

    def remove(task: Task) -> str:
        address = request.POST.get("address", "")
        steering.participant_remove(task=task, address=address, by=viewer(request))
        return "It leaves the task on chain, and keeps what it earned."

    return _act(request, pk, remove)


@login_required
@require_POST
@acts("task.top_up")
def task_top_up(request: HttpRequest, pk: int) -> HttpResponse:
    def top_up(task: Task) -> str:
        wei = wei_of(request.POST.get("amount", ""))
        steering.pool_top_up(task=task, amount=wei, by=viewer(request))
        return f"{amount(wei)} FLT are on their way to the pool: an approval, then the top-up."

    return _act(request, pk, top_up)


def wei_of(text: str) -> int:
    """FLT as people type it, in wei. Raises InvalidTask."""
    try:
        wei = Decimal(text.strip().replace(",", "")).scaleb(TOKEN_DECIMALS)
    except InvalidOperation:
        wei = Decimal("NaN")
    if wei.is_finite() and wei == wei.to_integral_value():
        return int(wei)
    raise InvalidTask(
        f"“{text}” is not an amount of FLT; write a number with at most {TOKEN_DECIMALS} decimals, "
        "such as 250 or 12.5.",
        field="amount",
    )


@login_required
@require_POST
@acts("task.cancel")
def task_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Ends a task on chain; a draft is deleted and the list is shown."""
    task = find_task(pk)
    if task.onchain_id is None and task.stage in (Task.Stage.DRAFT, Task.Stage.FAILED):
        task_services.task_cancel(task=task, by=viewer(request))
        messages.success(request, f"The draft “{task.title}” was deleted.")
        return _go(request, reverse("tasks"))

    def cancel(task: Task) -> str:
        task_services.task_cancel(task=task, by=viewer(request))
        return "The cancellation is on its way to the chain."

    return _act(request, pk, cancel)


@login_required
@require_POST
@acts("reward.claim")
def task_claim(request: HttpRequest, pk: int) -> HttpResponse:
    """Pays one participant (``address``) or everyone the signed-in person may claim for."""

    def claim(task: Task) -> str:
        user = viewer(request)
        wanted = request.POST.get("address", "")
        rows = TaskPage(TaskData(task), user).participants
        due = [r for r in rows if r.can_claim and wanted in ("", r.party.address)]
        if wanted and not due:
            rewards_claim(task=task, address=wanted, by=user)  # tells why not
        for row in due:
            rewards_claim(task=task, address=row.party.address, by=user)
        total = amount(sum(row.claimable for row in due), 2)
        return f"Claiming {total} FLT for {count(len(due), 'participant')}."

    return _act(request, pk, claim)
