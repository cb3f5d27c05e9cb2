"""The ledger: blocks and events, one block, one transaction, one address."""

from __future__ import annotations

import re

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET
from eth_utils.address import is_address, to_checksum_address

from chain.models import Block, Transaction
from sessions_app.selectors.ledger import address_page, block_page, ledger_home, transaction_page
from sessions_app.views.base import page

_HASH = re.compile(r"0x[0-9a-f]{64}")


@login_required
@require_GET
def ledger(request: HttpRequest) -> HttpResponse:
    before = request.GET.get("before", "")
    if before and not before.isdigit():
        raise Http404(f"before={before} is not a block number.")
    context = {"ledger": ledger_home(int(before) if before else None), "before": before}
    if request.GET.get("part"):
        return render(request, "partials/ledger.html", context)
    return page(request, "pages/ledger.html", context, nav="ledger")


@login_required
@require_GET
def block(request: HttpRequest, number: int) -> HttpResponse:
    try:
        found = block_page(number)
    except Block.DoesNotExist as error:
        raise Http404(f"Block {number:,} has not been read. It may not be mined yet.") from error
    return page(request, "pages/block.html", {"found": found}, nav="ledger")


@login_required
@require_GET
def transaction(request: HttpRequest, tx_hash: str) -> HttpResponse:
    value = tx_hash.lower()
    if not _HASH.fullmatch(value):
        raise Http404(f"{tx_hash} is not a transaction hash (0x and 64 hex digits).")
    try:
        found = transaction_page(value)
    except Transaction.DoesNotExist as error:
        raise Http404(
            f"Transaction {value} has not been read from this chain. It may still be waiting to "
            "be mined, or belong to another network."
        ) from error
    return page(request, "pages/transaction.html", {"found": found}, nav="ledger")


@login_required
@require_GET
def address(request: HttpRequest, value: str) -> HttpResponse:
    if not is_address(value):
        raise Http404(f"{value} is not an Ethereum address (0x and 40 hex digits).")
    found = address_page(to_checksum_address(value))
    return page(request, "pages/address.html", {"found": found}, nav="ledger")
