"""What a participant or an evaluator on another machine needs: the terms, the bytes, the way in."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Field, Path, Schema

from chain.network import is_development, network_current, network_settings
from chain.selectors import contract_address
from sessions_app.access import addresses_of, require
from sessions_app.api.base import Address, Key, Wei, area, caller, not_found, user_of
from sessions_app.api.problems import CONTENT_TYPE, ApiError
from sessions_app.api.tasks import find_task
from sessions_app.errors import NotAllowed, WrongStage
from sessions_app.models import Round, SignedUpdate, Task, Upload
from sessions_app.selectors.task.updates import (
    published_updates,
    readable_blobs,
    slot_of,
    updates_closed,
)
from sessions_app.services.relay import signed_update_add
from sessions_app.services.uploads import CHUNK_BYTES, upload_append, upload_begin
from training.blobs import BlobStore
from training.errors import BlobMissing

router = area("Outside participants")
Offset = Annotated[int, Field(ge=0, le=2**40)]
_HASH = r"^0x[0-9a-f]{64}$"
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")
_YEAR = 31_536_000
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


class TermsOut(Schema):
    """All of it is the console's word: compare it with the chain before you act on it."""

    task: int
    title: str
    onchain_id: int
    chain_id: int
    genesis_hash: str
    coordinator: Address
    token: Address
    created_block: int
    config: dict[str, Any]
    config_hash: str
    stake: Wei
    phase: str
    joined: int
    places: int
    hosted_places: int
    address: Address = Field(
        description="Yours in this task; empty for somebody who has not joined."
    )
    slot: int | None = Field(None, description="The share of a public data set that is yours.")
    rpc_url: str = Field("", description="On a development chain, where its node answers.")
    relays: bool = Field(description="Whether this console submits signed updates.")


class PublishedOut(Schema):
    participant: Address
    index: int
    update_hash: str
    samples: int
    content_hash: str = Field(description="Empty when the bytes were never published.")


class UploadIn(Schema):
    content_hash: str = Field(pattern=_HASH, description="keccak256 of the bytes.")
    size: int = Field(ge=1, le=2**40, description="Bytes.")


class UploadOut(Schema):
    content_hash: str
    size: int
    received: int = Field(description="Bytes that have come; go on from here.")
    complete: bool
    problem: str = Field("", description="Why the whole was not taken; it begins anew.")


class SignedIn(Schema):
    update_hash: str = Field(pattern=_HASH)
    samples: int = Field(ge=1, le=2**32 - 1)
    signature: str = Field(pattern=r"^0x[0-9a-f]{128}$", description="ERC-2098, 64 bytes.")


class SignedOut(Schema):
    update_hash: str
    created_at: datetime
    status: str = Field(description="waiting, or the status of the transaction it went with.")
    tx_hash: str
    error: str


@router.get("/{task_id}/terms", response=TermsOut, summary="What a task asks of who joins")
def task_terms_outside(request: HttpRequest, task_id: Key) -> TermsOut:
    """The configuration, where it is on chain, and how many places are left."""
    user = user_of(request)
    task = find_task(task_id)
    require(user, "task.view", task)
    if task.onchain_id is None or task.config is None or task.network is None:
        raise WrongStage(
            f"Task {task.pk} is not on chain yet, or its configuration is not stored here."
        )
    mine = _mine(request, task)
    return TermsOut(
        task=task.pk,
        title=task.title,
        onchain_id=task.onchain_id,
        chain_id=task.network.chain_id,
        genesis_hash=task.network.genesis_hash,
        coordinator=contract_address("FLCoordinator"),
        token=contract_address("FLToken"),
        created_block=task.created_block or 0,
        config=task.config,
        config_hash=task.config_hash,
        stake=str(task.stake),
        phase=task.phase,
        joined=task.members.count(),
        places=task.max_participants,
        hosted_places=task.hosted_places,
        address=mine,
        slot=slot_of(task, mine) if mine else None,
        rpc_url=network_settings()["rpc_url"] if is_development(network_current()) else "",
        relays=task.operator_account is not None,
    )


@router.get(
    "/{task_id}/rounds/{number}/updates",
    response=list[PublishedOut],
    summary="The updates of a round whose update phase has closed",
)
def round_updates(request: HttpRequest, task_id: Key, number: Key) -> Any:
    """Sealed until then: nobody can copy another's update. For members and evaluators."""
    task = find_task(task_id)
    require(user_of(request), "task.files", task)
    round_ = _round(task, number)
    if not updates_closed(round_):
        raise WrongStage(
            f"The updates of round {number} are sealed until all have come or its deadline has "
            "passed. Ask again then."
        )
    return published_updates(round_)


@router.get(
    "/{task_id}/blobs/{ref}",
    summary="A model, an update or the held-out samples",
    openapi_extra={
        "responses": {
            200: {"description": "All of it", "content": _BYTES},
            206: {"description": "The part that Range asked for", "content": _BYTES},
            416: {"description": "It ends before that part", "content": _BYTES},
        }
    },
)
def task_blob(request: HttpRequest, task_id: Key, ref: Path[str]) -> HttpResponse:
    """The bytes whose keccak256 is `ref`; `Range` serves a part. For members and evaluators."""
    task = find_task(task_id)
    require(user_of(request), "task.files", task)
    if not re.fullmatch(_HASH[1:-1], ref) or ref not in readable_blobs(task):
        raise not_found(
            f"Task {task_id} has no readable file {ref[:80]}. Updates can be read once their "
            "round's update phase has closed."
        )
    try:
        data = BlobStore.default().get(ref)
    except BlobMissing as error:
        raise not_found(f"The bytes of {ref} are not kept here any more.") from error
    first, last, status = 0, len(data) - 1, 200
    wanted = _RANGE.fullmatch(request.headers.get("Range", ""))
    if wanted:
        first = int(wanted[1])
        last = min(int(wanted[2] or last), last)
        status = 206
        if first > last:
            response = HttpResponse(status=416, content_type="application/octet-stream")
            response["Content-Range"] = f"bytes */{len(data)}"
            return response
    response = HttpResponse(
        data[first : last + 1], content_type="application/octet-stream", status=status
    )
    response["ETag"] = f'"{ref}"'
    response["Accept-Ranges"] = "bytes"
    response["Cache-Control"] = f"private, max-age={_YEAR}, immutable"
    if status == 206:
        response["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
    return response


@router.post(
    "/{task_id}/rounds/{number}/upload", response=UploadOut, summary="Announce an update's bytes"
)
def upload_announce(request: HttpRequest, task_id: Key, number: Key, body: UploadIn) -> UploadOut:
    """Before the first piece, and after any break: the answer says where to go on."""
    task = find_task(task_id)
    upload = upload_begin(
        task=task,
        round_number=number,
        address=_member_address(request, task),
        by=user_of(request),
        content_hash=body.content_hash,
        size=body.size,
    )
    return _upload_out(upload)


@router.patch(
    "/{task_id}/rounds/{number}/upload",
    response=UploadOut,
    summary="Send the next piece of an update",
    openapi_extra={
        "requestBody": {"required": True, "content": _BYTES},
        "responses": {
            413: {
                "description": "The piece is too large",
                "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }
        },
    },
)
def upload_piece(request: HttpRequest, task_id: Key, number: Key, offset: Offset = 0) -> UploadOut:
    """At most 2 MiB, beginning at byte `offset`. After the last one the whole is checked."""
    task = find_task(task_id)
    if len(request.body) > CHUNK_BYTES:
        raise ApiError(413, "too-large", f"A piece has at most {CHUNK_BYTES} bytes.")
    upload, wrong = upload_append(
        task=task,
        round_number=number,
        address=_member_address(request, task),
        by=user_of(request),
        offset=offset,
        data=request.body,
    )
    return _upload_out(upload, wrong)


@router.post(
    "/{task_id}/rounds/{number}/signed", response=SignedOut, summary="Hand in a signed update"
)
def signed_update(request: HttpRequest, task_id: Key, number: Key, body: SignedIn) -> SignedOut:
    """The console submits it with those of others; you pay no gas. You may still submit it
    directly."""
    task = find_task(task_id)
    row = signed_update_add(
        task=task,
        round_number=number,
        address=_member_address(request, task),
        by=user_of(request),
        update_hash=body.update_hash,
        samples=body.samples,
        signature=body.signature,
    )
    return _signed_out(row)


@router.get(
    "/{task_id}/rounds/{number}/signed", response=SignedOut, summary="Where a signed update is"
)
def signed_update_status(request: HttpRequest, task_id: Key, number: Key) -> SignedOut:
    task = find_task(task_id)
    row = (
        SignedUpdate.objects.filter(
            task=task, round_number=number, address=_member_address(request, task)
        )
        .select_related("sent_with")
        .first()
    )
    if row is None:
        raise not_found(f"You have handed in no signed update in round {number}.")
    return _signed_out(row)


# --- inside ---------------------------------------------------------------------------------


def _mine(request: HttpRequest, task: Task) -> str:
    """The caller's address in this task: as a member or an evaluator; "" for neither."""
    signed, named = caller(request).address, request.headers.get("Wallet", "")
    mine = {signed} if signed else addresses_of(user_of(request))
    if named:  # of several wallets, the one that a token's program speaks for
        mine &= {named}
    members = task.members.filter(address__in=mine).values_list("address", flat=True)
    found = sorted({*members} | (mine & set(task.evaluators)))
    return found[0] if len(found) == 1 else ""


def _member_address(request: HttpRequest, task: Task) -> str:
    found = _mine(request, task)
    if not found:
        raise NotAllowed(
            f"Task {task.pk} has no member, or several, with a wallet of yours. Join it, and sign "
            "in with the wallet that joined."
        )
    return found


def _round(task: Task, number: int) -> Round:
    found = task.round_set.filter(number=number).first()
    if found is None:
        raise not_found(f"Task {task.pk} has no round {number}; it is in {task.current_round}.")
    return found


def _upload_out(upload: Upload, wrong: str = "") -> UploadOut:
    return UploadOut(
        content_hash=upload.content_hash,
        size=upload.size,
        received=upload.received,
        complete=upload.completed_at is not None,
        problem=wrong,
    )


def _signed_out(row: SignedUpdate) -> SignedOut:
    sent = row.sent_with
    return SignedOut(
        update_hash=row.update_hash,
        created_at=row.created_at,
        status=sent.status if sent else "waiting",
        tx_hash=sent.tx_hash if sent else "",
        error=sent.error if sent else "",
    )
