"""Taking updates from outside: in pieces, resumable, checked at the end, sealed until the close.

The size is known before the first byte: every update of a model has exactly the model's size.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from sessions_app import publish
from sessions_app.access import require
from sessions_app.errors import BcflError, WrongStage
from sessions_app.models import Participant, Round, Task, Update, Upload, User
from sessions_app.selectors.task.updates import updates_closed
from training.blobs import BlobStore
from training.canonical import keccak_hex, update_hash
from training.errors import BlobMissing

logger = logging.getLogger(__name__)

CHUNK_BYTES = 2 << 20  # most in one request
PARTS = "uploads"  # folder in BLOB_ROOT of what is on its way


class UploadRefused(BcflError):
    """The bytes are not those that were announced, or do not fit the task."""


class WrongOffset(BcflError):
    """The piece does not begin where the last one ended; `received` says where that is."""

    def __init__(self, message: str, *, received: int) -> None:
        super().__init__(message)
        self.received = received


def upload_begin(
    *, task: Task, round_number: int, address: str, by: User, content_hash: str, size: int
) -> Upload:
    """Announce the bytes of an update; the same again gives how far they have come.

    Other bytes replace the announced ones as long as the chain holds no update of this
    participant in the round. Raises NotAllowed, WrongStage, UploadRefused.
    """
    member = _member(task, address)
    require(by, "update.upload", member)
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task.pk)
        round_ = _open_round(task, round_number)
        expected = _size(round_)
        if size != expected:
            raise UploadRefused(
                f"{size} bytes announced, but an update of this model has {expected}. Is it of "
                "another task?"
            )
        upload = Upload.objects.filter(
            task=task, round_number=round_number, address=address
        ).first()
        if upload is None or upload.content_hash != content_hash:
            on_chain = Update.objects.filter(round=round_, participant=member).first()
            bound = update_hash(address, _onchain_id(task), round_number, content_hash)
            if on_chain is not None and on_chain.update_hash != bound:
                raise WrongStage(
                    f"The chain holds {on_chain.update_hash} as the update of {address} in round "
                    f"{round_number}, and the bytes announced now hash to {bound}. Upload the "
                    "bytes that were submitted."
                )
            if upload is not None:
                _part(upload).unlink(missing_ok=True)
                upload.delete()
            upload = Upload.objects.create(
                task=task,
                round_number=round_number,
                address=address,
                content_hash=content_hash,
                size=size,
            )
    return upload


def upload_append(
    *, task: Task, round_number: int, address: str, by: User, offset: int, data: bytes
) -> tuple[Upload, str]:
    """Add a piece; with the last one the whole is checked against its hash and kept.

    Returns the upload and what is wrong with the whole: then it begins anew, which a raised error
    would roll back. Raises WrongOffset, UploadRefused, WrongStage, NotAllowed.
    """
    require(by, "update.upload", _member(task, address))
    if len(data) > CHUNK_BYTES:
        raise UploadRefused(f"{len(data)} bytes in one piece, but at most {CHUNK_BYTES}.")
    wrong = ""
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task.pk)
        upload = Upload.objects.filter(
            task=task, round_number=round_number, address=address
        ).first()
        if upload is None:
            raise WrongStage(
                f"No upload of {address} in round {round_number} has begun. Announce its hash and "
                "size first."
            )
        if upload.completed_at is not None:
            return upload, ""
        _open_round(task, round_number)
        if offset != upload.received:
            raise WrongOffset(
                f"This piece begins at byte {offset}, but {upload.received} of {upload.size} "
                f"bytes have come. Go on from {upload.received}.",
                received=upload.received,
            )
        if offset + len(data) > upload.size:
            raise UploadRefused(
                f"This piece ends at byte {offset + len(data)}, but {upload.size} were announced."
            )
        part = _part(upload)
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("r+b" if part.exists() else "wb") as file:
            file.truncate(offset)  # what a crash left beyond what we counted
            file.seek(offset)
            file.write(data)
        upload.received = offset + len(data)
        if upload.received == upload.size:
            wrong = _finish(upload, part)
        upload.save(update_fields=("received", "completed_at"))
    return upload, wrong


def uploads_clean() -> int:
    """Remove the bytes of updates past UPDATE_RETENTION_DAYS; returns how many uploads."""
    oldest = timezone.now() - timedelta(days=settings.UPDATE_RETENTION_DAYS)
    old = Upload.objects.filter(created_at__lt=oldest, removed_at=None).select_related("task")
    removed = 0
    for upload in old:
        if not upload.task.is_finished:
            continue
        _part(upload).unlink(missing_ok=True)
        if not _still_named(upload):
            BlobStore.default().path(upload.content_hash).unlink(missing_ok=True)
        upload.removed_at = timezone.now()
        upload.save(update_fields=("removed_at",))
        removed += 1
    return removed


# --- inside ---------------------------------------------------------------------------------


def _finish(upload: Upload, part: Path) -> str:
    """Keep a whole upload; what is wrong with it otherwise."""
    data = part.read_bytes()
    part.unlink()
    found = keccak_hex(data)
    if found != upload.content_hash:
        upload.received = 0
        return (
            f"The {upload.size} bytes hash to {found}, but {upload.content_hash} was announced. "
            "Nothing was kept; upload it again."
        )
    BlobStore.default().put(data)
    upload.completed_at = timezone.now()
    publish.task_changed(upload.task_id, ("now", "participants"))
    publish.task_wake(upload.task_id)
    return ""


def _member(task: Task, address: str) -> Participant:
    member = task.members.filter(address=address).first()
    if member is None:
        raise WrongStage(
            f"{address} has not joined task {task.pk}, or its join is not in a block that this "
            "console has read. Join, then try again."
        )
    return member


def _open_round(task: Task, number: int) -> Round:
    round_ = task.round_set.filter(number=number).first()
    if round_ is None:
        raise WrongStage(f"Task {task.pk} has no round {number}; it is in {task.current_round}.")
    if task.is_finished or updates_closed(round_):
        raise WrongStage(
            f"Round {number} of task {task.pk} takes no updates any more. Go on with the next one."
        )
    return round_


def _size(round_: Round) -> int:
    try:
        return BlobStore.default().size(round_.base_model_hash)
    except BlobMissing as error:
        raise WrongStage(
            f"The global model {round_.base_model_hash} of round {round_.number} is not stored "
            "here yet. Try again in a moment."
        ) from error


def _onchain_id(task: Task) -> int:
    assert task.onchain_id is not None  # it has rounds
    return task.onchain_id


def _part(upload: Upload) -> Path:
    return BlobStore.default().root / PARTS / f"{upload.pk}.part"


def _still_named(upload: Upload) -> bool:
    """Whether the same bytes are something else too: a copied update, a global model."""
    ref = upload.content_hash
    others = Upload.objects.filter(content_hash=ref, removed_at=None).exclude(pk=upload.pk)
    rounds = Round.objects.filter(base_model_hash=ref) | Round.objects.filter(model_hash=ref)
    return others.exists() or rounds.exists() or Task.objects.filter(model_hash=ref).exists()
