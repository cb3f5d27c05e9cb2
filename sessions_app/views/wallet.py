"""Browser wallets: signing in, linking, and the calls that are signed there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from allauth.account.utils import perform_login
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST
from eth_utils.address import is_address, to_checksum_address

from sessions_app.errors import BcflError
from sessions_app.models import Task
from sessions_app.selectors.people.join import join_page
from sessions_app.selectors.task.data import task_get
from sessions_app.services import operator_wallet, siwe, wallet_calls
from sessions_app.services.wallets import wallet_link, wallet_unlink, wallet_user
from sessions_app.views.base import acts, page, viewer
from sessions_app.views.task_actions import wei_of

_HASH = re.compile(r"0x[0-9a-f]{64}")
Answer = Callable[[HttpRequest, Mapping[str, Any]], Mapping[str, Any]]


def json_answer(view: Answer) -> Callable[[HttpRequest], JsonResponse]:
    """A POST of JSON, answered with JSON; our own errors as ``{"error": text}``."""

    @require_POST
    @wraps(view)
    def answered(request: HttpRequest) -> JsonResponse:
        try:
            given = json.loads(request.body or b"{}")
        except ValueError:
            return JsonResponse({"error": "The request is not JSON."}, status=400)
        if not isinstance(given, dict):
            return JsonResponse({"error": "The request is not a JSON object."}, status=400)
        try:
            return JsonResponse(dict(view(request, given)))
        except BcflError as error:
            reason = getattr(error, "reason", "")
            return JsonResponse({"error": str(error), "reason": reason}, status=400)

    return answered


def text_of(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str) or len(value) > 20_000:
        raise wallet_calls.UnknownCall(f"{name} must be a text.")
    return value


def address_of(given: Mapping[str, Any]) -> str:
    value = text_of(given, "address")
    if not is_address(value):
        raise wallet_calls.UnknownCall(f"“{value[:50]}” is not an Ethereum address.")
    return str(to_checksum_address(value))


def task_of(pk: Any) -> Task:
    try:
        return task_get(int(pk))
    except (Task.DoesNotExist, TypeError, ValueError) as error:
        raise wallet_calls.UnknownCall(f"There is no task {str(pk)[:20]}.") from error


# --- who holds the key ----------------------------------------------------------------------


@json_answer
def message(request: HttpRequest, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The text to sign (EIP-4361), with a nonce that counts once."""
    host = request.get_host()
    scheme = "https" if request.is_secure() else "http"
    text = siwe.build(address=text_of(given, "address"), domain=host, uri=f"{scheme}://{host}")
    return {"message": str(text), "chain": wallet_calls.wallet_chain()}


@json_answer
def sign_in(request: HttpRequest, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Whoever signed the message is signed in; a wallet seen first becomes a participant.

    The signature takes the place of the password alone: who has a second factor is asked for it
    before ``next``, as after a password.
    """
    address = siwe.verify(
        text_of(given, "message"), text_of(given, "signature"), domain=request.get_host()
    )
    onward = _onward(request, text_of(given, "next"))
    answer = perform_login(request, wallet_user(address=address), redirect_url=onward)
    return {"next": answer["Location"]}


@acts("wallet.link")
@json_answer
def link(request: HttpRequest, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add the wallet that signed the message to the person who is signed in."""
    address = siwe.verify(
        text_of(given, "message"), text_of(given, "signature"), domain=request.get_host()
    )
    wallet_link(user=viewer(request), address=address, label=text_of(given, "label")[:60])
    messages.success(request, f"The wallet {address} is linked.")
    return {"next": f"{reverse('settings')}#wallets"}


@login_required
@require_POST
@acts("wallet.unlink")
def unlink(request: HttpRequest) -> HttpResponse:
    try:
        wallet_unlink(user=viewer(request), address=request.POST.get("address", ""))
        messages.success(request, "The wallet is unlinked.")
    except BcflError as error:
        messages.error(request, str(error))
    return redirect(f"{reverse('settings')}#wallets")


def _onward(request: HttpRequest, wanted: str) -> str:
    """Where to go after signing in: a page of ours, never another host."""
    safe = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if safe and wanted else reverse("home")


# --- what is signed -------------------------------------------------------------------------


@login_required
@require_GET
def join(request: HttpRequest, pk: int) -> HttpResponse:
    """The terms of a task in words, and joining it from a wallet."""
    try:
        task = task_get(pk)
    except Task.DoesNotExist as error:
        raise Http404(f"There is no task {pk}.") from error
    context = {"join": join_page(task, viewer(request)), "chain": wallet_calls.wallet_chain()}
    return page(request, "pages/join.html", context, nav="tasks")


@login_required
@acts("task.view")
@json_answer
def prepare(request: HttpRequest, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The call, tried on the node and put in words, ready to be signed."""
    cap = given.get("samples_cap")
    permit = given.get("permit")
    options = wallet_calls.Options(
        samples_cap=cap if isinstance(cap, int) and not isinstance(cap, bool) else None,
        member=address_of({"address": given["member"]}) if given.get("member") else "",
        permit=permit if isinstance(permit, dict) else None,
        amount=wei_of(text_of(given, "amount")) if given.get("amount") else 0,
    )
    action, task, address = text_of(given, "action"), task_of(given.get("task")), address_of(given)
    if action in operator_wallet.BUILDERS:
        call = operator_wallet.operator_prepare(
            action=action, task=task, address=address, by=viewer(request), options=options
        )
    else:
        call = wallet_calls.prepare(action=action, task=task, address=address, options=options)
    return {
        "transaction": dict(call.transaction),
        "title": call.title,
        "function": call.function,
        "chain_id": call.chain_id,
        "refused": call.refused,
        "html": render_to_string("partials/wallet_call.html", {"call": call}),
    }


@login_required
@acts("task.view")
@json_answer
def permit(request: HttpRequest, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return wallet_calls.permit_request(task=task_of(given.get("task")), address=address_of(given))


@login_required
@acts("task.view")
@json_answer
def standing(request: HttpRequest, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """An address in a task as the contract has it, and whether it is the reader's."""
    task, address = task_of(given.get("task")), address_of(given)
    found = wallet_calls.standing(task=task, address=address)
    mine = viewer(request).wallets.filter(address=address).exists()
    return {
        "status": found.status,
        "joined": found.joined,
        "linked": mine,
        "covered": found.allowance >= task.stake,
        "affordable": found.balance >= task.stake,
        "claimable": str(found.claimable),
        "stake_due": found.stake_held > 0 and task.is_finished,
        "html": render_to_string(
            "partials/wallet_standing.html", {"found": found, "task": task, "mine": mine}
        ),
    }


@login_required
@require_GET
def transaction(request: HttpRequest, tx_hash: str) -> JsonResponse:
    value = tx_hash.lower()
    if not _HASH.fullmatch(value):
        raise Http404(f"{tx_hash} is not a transaction hash.")
    try:
        state = wallet_calls.transaction_state(value)
    except BcflError as error:
        return JsonResponse({"error": str(error)}, status=503)
    return JsonResponse({**state, "url": reverse("transaction", args=(value,))})
