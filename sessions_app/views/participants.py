"""Participants: the list over all tasks, and one of them."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_GET
from eth_utils.address import is_address, to_checksum_address

from sessions_app.selectors.ledger import BadQuery
from sessions_app.selectors.people.mine import addresses_of
from sessions_app.selectors.people.participants import (
    COLUMNS,
    SORTS,
    STATES,
    Chosen,
    participant_export,
    participant_list,
    read_chosen,
)
from sessions_app.selectors.people.profile import (
    REWARD_COLUMNS,
    all_rewards_of,
    profile,
    reward_record,
    seats_of,
)
from sessions_app.selectors.people.rewards import SEAT_COLUMNS, seat_record
from sessions_app.views.base import page, viewer
from sessions_app.views.files import download


@login_required
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """One page of the list; with ``format`` all of it as a file."""
    style = request.GET.get("format", "")
    wrong = ""
    try:
        chosen = read_chosen(request.GET)
        if style:
            records = (record for chunk in participant_export(chosen) for record in chunk)
            return download(records, COLUMNS, "participants", style)
        found = participant_list(chosen, after=request.GET.get("after", ""))
    except BadQuery as error:
        if style:
            return JsonResponse({"error": str(error)}, status=400)
        chosen, found, wrong = Chosen(), None, str(error)
    context: dict[str, Any] = {
        "list": found,
        "chosen": chosen,
        "given": request.GET,
        "wrong": wrong,
        "states": STATES,
        "mine": addresses_of(viewer(request)),
        "columns": [_column(name, label, chosen) for name, label in SORTS.items()],
        "query": _query(chosen),
        "first_page": not request.GET.get("after"),
    }
    if request.GET.get("part"):
        return render(request, "partials/participants.html", context)
    return page(
        request,
        "pages/participants.html",
        context,
        nav="participants",
        status=400 if wrong else 200,
    )


@login_required
@require_GET
def detail(request: HttpRequest, value: str) -> HttpResponse:
    found = profile(checked(value))
    context = {"found": found, "mine": found.party.address in addresses_of(viewer(request))}
    return page(request, "pages/participant.html", context, nav="participants")


@login_required
@require_GET
def rewards_file(request: HttpRequest, value: str, style: str) -> HttpResponse:
    """Every reward of an address, newest first."""
    address = checked(value)
    rows = map(reward_record, all_rewards_of([address]))
    return download(rows, REWARD_COLUMNS, f"rewards-{address[:10]}", style)


@login_required
@require_GET
def tasks_file(request: HttpRequest, value: str, style: str) -> HttpResponse:
    """Every membership of an address."""
    address = checked(value)
    rows = map(seat_record, seats_of([address]))
    return download(rows, SEAT_COLUMNS, f"tasks-{address[:10]}", style)


def checked(value: str) -> str:
    """The checksum form; Http404 for what is no address."""
    if not is_address(value):
        raise Http404(f"{value} is not an Ethereum address (0x and 40 hex digits).")
    return str(to_checksum_address(value))


def _query(chosen: Chosen, **changes: str) -> str:
    """The address of the same list, without its place."""
    values = {
        "q": chosen.words,
        "state": chosen.state,
        "task": str(chosen.task or ""),
        "sort": chosen.sort,
        "order": "desc" if chosen.descending else "asc",
        **changes,
    }
    return urlencode({key: value for key, value in values.items() if value})


def _column(name: str, label: str, chosen: Chosen) -> dict[str, str]:
    """A sortable heading: choosing the one that sorts already turns it round."""
    sorting = name == chosen.sort
    order = "asc" if sorting and chosen.descending else "desc"
    return {
        "name": name,
        "label": label,
        "query": _query(chosen, sort=name, order=order),
        "aria": ("descending" if chosen.descending else "ascending") if sorting else "",
    }
