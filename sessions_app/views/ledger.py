"""The ledger: lists, one block, one transaction, one address, the token, the contracts."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.handlers.asgi import ASGIRequest
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST
from eth_utils.address import is_address, to_checksum_address

from chain.artifacts import NAMES as CONTRACTS
from chain.errors import ChainError, NotDeployed
from chain.models import Block, OutgoingTransaction, Transaction
from sessions_app.access import may_ever
from sessions_app.errors import BcflError
from sessions_app.selectors import ledger as read
from sessions_app.selectors.ledger import BadQuery, Filters
from sessions_app.selectors.ledger import contract as contracts_read
from sessions_app.selectors.ledger.export import FORMATS, export
from sessions_app.selectors.ledger.filters import names_in_abi
from sessions_app.selectors.ledger.keyset import NEW_AT_MOST
from sessions_app.selectors.ledger.outgoing import LABELS as STATES
from sessions_app.services import outbox
from sessions_app.views.base import acts, page, viewer

_HASH = re.compile(r"0x[0-9a-f]{64}")
# What each list is called, and by which fields it can be narrowed.
TITLES = {
    "blocks": ("Blocks", ("from", "to")),
    "transactions": (
        "Transactions",
        ("contract", "function", "status", "task", "address", "from", "to"),
    ),
    "events": ("Events", ("contract", "event", "task", "address", "from", "to")),
    "transfers": ("Transfers of FLT", ("address", "from", "to")),
    "holders": ("Holders of FLT", ()),
    "outbox": ("Outbox", ("state", "contract", "function", "task", "address")),
}


@login_required
@require_GET
def ledger(request: HttpRequest) -> HttpResponse:
    context = {"ledger": read.ledger_home()}
    if request.GET.get("part"):
        return render(request, "partials/ledger.html", context)
    return page(request, "pages/ledger.html", context, nav="ledger")


@login_required
@require_GET
def listing(request: HttpRequest, kind: str) -> HttpResponseBase:
    """One page of a list; with ``format`` all of it as a file, with ``new`` how many rows came
    since the cursor, with ``part`` only the table."""
    try:
        filters = read.read_filters(request.GET, read.network_id())
        style = request.GET.get("format", "")
        if style:
            return _file(request, kind, filters, style)
        if "new" in request.GET:
            new = read.ledger_new(kind, filters, request.GET["new"])
            return JsonResponse({"new": new, "more": new >= NEW_AT_MOST})
        found = read.ledger_list(
            kind,
            filters,
            before=request.GET.get("before", ""),
            after=request.GET.get("after", ""),
        )
        wrong = ""
    except BadQuery as error:
        if "new" in request.GET or request.GET.get("format"):
            return JsonResponse({"error": str(error)}, status=400)
        filters, found, wrong = Filters(), None, str(error)
    title, fields = TITLES[kind]
    context: dict[str, Any] = {
        "kind": kind,
        "title": title,
        "list": found,
        "filters": filters,
        "wrong": wrong,
        "given": request.GET,
        "fields": fields,
        "first_page": not (request.GET.get("before") or request.GET.get("after")),
        "contracts": contracts_read.LABELS,
        "functions": names_in_abi("function"),
        "events": names_in_abi("event"),
        "states": STATES,
        "may_retry": may_ever(viewer(request), "transaction.retry"),
    }
    nav = "token" if kind in ("transfers", "holders") else "ledger"
    if request.GET.get("part"):
        return render(request, "partials/ledger_list.html", context)
    if kind == "transfers":
        context["token"] = read.token_page()
    status = 400 if wrong else 200
    return page(request, "pages/ledger_list.html", context, nav=nav, status=status)


@login_required
@require_POST
@acts("transaction.retry")
def outgoing_retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Puts a failed transaction back in the queue, then shows the list it was pressed in."""
    try:
        row = outbox.outgoing_retry(row_id=pk, by=viewer(request))
        messages.success(request, f"{row.function or 'transfer'} is in the queue again.")
    except OutgoingTransaction.DoesNotExist as error:
        raise Http404(f"The outbox has no row {pk}.") from error
    except BcflError as error:
        messages.error(request, str(error))
    wanted = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(wanted, allowed_hosts={request.get_host()})
    return redirect(wanted if safe else "outbox")


@login_required
@require_GET
def block(request: HttpRequest, number: int) -> HttpResponse:
    try:
        found = read.block_page(number)
    except (Block.DoesNotExist, OverflowError) as error:
        raise Http404(f"Block {number:,} has not been read. It may not be mined yet.") from error
    return page(request, "pages/block.html", {"found": found}, nav="ledger")


@login_required
@require_GET
def transaction(request: HttpRequest, tx_hash: str) -> HttpResponse:
    value = tx_hash.lower()
    if not _HASH.fullmatch(value):
        raise Http404(f"{tx_hash} is not a transaction hash (0x and 64 hex digits).")
    try:
        found = read.transaction_page(value)
    except Transaction.DoesNotExist as error:
        raise Http404(
            f"Transaction {value} has not been read from this chain. It may still be waiting to "
            "be mined, or belong to another network."
        ) from error
    return page(request, "pages/transaction.html", {"found": found}, nav="ledger")


@login_required
@require_GET
def address(request: HttpRequest, value: str) -> HttpResponse:
    found = read.address_page(_address(value))
    return page(request, "pages/address.html", {"found": found}, nav="ledger")


@login_required
@require_GET
def address_eth(request: HttpRequest, value: str) -> HttpResponse:
    """The balance in ETH as the node has it now; fetched by the page once it is shown."""
    wei, trouble = contracts_read.eth_balance(_address(value))
    return render(request, "partials/address_eth.html", {"wei": wei, "trouble": trouble})


@login_required
@require_GET
def contracts(request: HttpRequest) -> HttpResponse:
    context = {"contracts": contracts_read.contract_list()}
    return page(request, "pages/contracts.html", context, nav="contracts")


@login_required
@require_GET
def contract(request: HttpRequest, name: str) -> HttpResponse:
    try:
        found = contracts_read.contract_page(name)
    except NotDeployed as error:
        raise Http404(str(error)) from error
    return page(request, "pages/contract.html", {"found": found}, nav="contracts")


@login_required
@require_GET
def contract_abi(request: HttpRequest, name: str) -> HttpResponse:
    try:
        abi = contracts_read.contract_page(name).abi
    except NotDeployed as error:
        raise Http404(str(error)) from error
    answer = JsonResponse(abi, safe=False, json_dumps_params={"indent": 2})
    answer["Content-Disposition"] = f'attachment; filename="{name}.abi.json"'
    return answer


@login_required
@require_GET
def contract_code(request: HttpRequest, name: str) -> HttpResponse:
    """Whether the code on chain is the build's; asks the node, so the page fetches it."""
    if name not in CONTRACTS:
        raise Http404(f"{name} is none of our contracts.")
    check = contracts_read.code_check(name)
    return render(request, "partials/contract_code.html", {"check": check})


@login_required
@require_GET
def contract_call(request: HttpRequest, name: str) -> HttpResponse:
    """What a read function answers, at the chain's head."""
    context: dict[str, Any] = {"results": (), "trouble": ""}
    try:
        context["results"] = contracts_read.contract_read(
            name, request.GET.get("function", ""), request.GET
        )
    except (BadQuery, ChainError) as error:
        context["trouble"] = str(error)
    return render(request, "partials/contract_call.html", context)


def _address(value: str) -> str:
    if not is_address(value):
        raise Http404(f"{value} is not an Ethereum address (0x and 40 hex digits).")
    return str(to_checksum_address(value))


def _file(request: HttpRequest, kind: str, filters: Filters, style: str) -> HttpResponseBase:
    if style not in FORMATS:
        raise BadQuery(f"There is no format “{style[:20]}”; choose {' or '.join(FORMATS)}.")
    pieces = export(kind, filters, style)
    # An ASGI server would read a synchronous stream to its end before it sends the first byte.
    content = _apart(pieces) if isinstance(request, ASGIRequest) else pieces
    answer = StreamingHttpResponse(content, content_type=FORMATS[style])
    answer["Content-Disposition"] = f'attachment; filename="{kind}.{style}"'
    return answer


async def _apart(pieces: Iterator[str]) -> AsyncIterator[str]:
    """Each piece made in the thread that may use the database."""

    def step() -> str | None:
        return next(pieces, None)

    following = sync_to_async(step)
    while (piece := await following()) is not None:
        yield piece
