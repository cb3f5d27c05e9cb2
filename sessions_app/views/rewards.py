"""Rewards: mine, what my tasks paid, and why somebody earned what they earned."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from chain.errors import ChainError
from sessions_app.errors import BcflError
from sessions_app.formats import amount, count
from sessions_app.selectors.ledger import BadQuery
from sessions_app.selectors.people.mine import addresses_of
from sessions_app.selectors.people.profile import (
    REWARD_COLUMNS,
    all_rewards_of,
    reward_record,
    seats_of,
)
from sessions_app.selectors.people.rewards import (
    PAID_COLUMNS,
    SEAT_COLUMNS,
    paid_record,
    rewards_page,
    seat_record,
    tasks_paid,
)
from sessions_app.selectors.people.why import MODES, NoReward, Why, chain_root, check_data, why
from sessions_app.services.claims import rewards_claim
from sessions_app.services.wallet_calls import wallet_chain
from sessions_app.views.base import acts, page, viewer
from sessions_app.views.files import download
from sessions_app.views.participants import checked

WHY_COLUMNS = (
    *("address", "name", "index", "scores", "score", "samples", "weight", "total", "floor_wei"),
    *("remainder", "rank", "extra_wei", "amount_wei", "cumulative_wei"),
)


@login_required
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    try:
        found = rewards_page(viewer(request), before=request.GET.get("before", ""))
    except BadQuery as error:
        raise Http404(str(error)) from error
    context = {
        "found": found,
        "first_page": not request.GET.get("before"),
        "chain": wallet_chain(),
    }
    if request.GET.get("part"):
        return render(request, "partials/rewards.html", context)
    return page(request, "pages/rewards.html", context, nav="rewards")


@login_required
@require_GET
def mine_file(request: HttpRequest, style: str) -> HttpResponse:
    rows = map(reward_record, all_rewards_of(addresses_of(viewer(request))))
    return download(rows, REWARD_COLUMNS, "my-rewards", style)


@login_required
@require_GET
def seats_file(request: HttpRequest, style: str) -> HttpResponse:
    rows = map(seat_record, seats_of(addresses_of(viewer(request))))
    return download(rows, SEAT_COLUMNS, "my-rewards-by-task", style)


@login_required
@require_GET
def paid_file(request: HttpRequest, style: str) -> HttpResponse:
    user = viewer(request)
    rows = map(paid_record, tasks_paid(user) if user.is_operator else [])
    return download(rows, PAID_COLUMNS, "paid-by-my-tasks", style)


@login_required
@require_POST
@acts("reward.claim")
def claim(request: HttpRequest) -> HttpResponse:
    """Claims for the reader's hosted account: one task (``task``) or all of them."""
    user = viewer(request)
    wanted = request.POST.get("task", "")
    due = [
        mine.seat
        for mine in rewards_page(user).seats
        if mine.hosted and mine.seat.claimable and not mine.claiming
        if wanted in ("", str(mine.seat.task.pk))
    ]
    done = 0
    for seat in due:
        try:
            rewards_claim(task=seat.task, address=seat.party.address, by=user)
            done += seat.claimable
        except BcflError as error:
            messages.error(request, str(error))
    if done:
        messages.success(request, f"Claiming {amount(done, 2)} FLT from {count(len(due), 'task')}.")
    elif not due:
        messages.error(request, "There is nothing to claim here, or its claim is on its way.")
    return redirect("rewards")


def _why(task: int, number: int, address: str) -> Why:
    try:
        return why(task, number, checked(address))
    except NoReward as error:
        raise Http404(str(error)) from error


@login_required
@require_GET
def explain(request: HttpRequest, task: int, number: int, address: str) -> HttpResponse:
    found = _why(task, number, address)
    context = {
        "found": found,
        "mode": MODES.get(found.mode, found.mode),
        "check": check_data(found),
        "scores": list(zip(found.evaluators, found.subject.scores, strict=True)),
        "mine": found.party.address in addresses_of(viewer(request)),
    }
    return page(request, "pages/why.html", context, nav="rewards")


@login_required
@require_GET
def explain_root(request: HttpRequest, task: int, number: int, address: str) -> JsonResponse:
    """The root on chain, asked of the node by this server now."""
    found = _why(task, number, address)
    try:
        root = chain_root(found)
    except ChainError as error:
        return JsonResponse({"error": str(error)}, status=503)
    return JsonResponse({"root": root.root, "how": root.how, "block": root.block})


@login_required
@require_GET
def explain_file(
    request: HttpRequest, task: int, number: int, address: str, style: str
) -> HttpResponse:
    """The division of the round among all members; JSON has the proof as well."""
    found = _why(task, number, address)
    rows = [
        {
            "address": line.party.address,
            "name": line.party.name,
            "index": line.index,
            "scores": " ".join(map(str, line.scores)),
            "score": line.score,
            "samples": line.samples,
            "weight": line.share.weight if line.share else None,
            "total": line.share.total if line.share else None,
            "floor_wei": str(line.share.floor) if line.share else None,
            "remainder": str(line.share.remainder) if line.share else None,
            "rank": line.share.rank if line.share else None,
            "extra_wei": line.share.extra if line.share else None,
            "amount_wei": str(line.amount),
            "cumulative_wei": str(line.cumulative),
        }
        for line in found.lines
    ]
    name = f"task-{task}-round-{number}-rewards"
    if style != "json":
        return download(rows, WHY_COLUMNS, name, style)
    answer = JsonResponse({**check_data(found), "division": rows}, json_dumps_params={"indent": 1})
    answer["Content-Disposition"] = f'attachment; filename="{name}.json"'
    return answer
