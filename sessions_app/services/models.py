"""What people do with models: promote, roll back, retire; ask for a file; ask for a prediction."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from sessions_app import audit
from sessions_app.access import require
from sessions_app.errors import BadInput, ModelRefused, WrongStage
from sessions_app.models import ModelDecision, ModelFile, Task, User
from sessions_app.selectors.models.files import NAMES, SUFFIXES
from sessions_app.selectors.models.registry import (
    RegisteredModel,
    Version,
    bytes_of,
    registered_model,
)
from sessions_app.services import jobs, serving
from training import tasks as training_tasks
from training.blobs import BlobStore
from training.errors import InputRefused
from training.inputs import check_rows
from training.specs import TaskConfig

FORMATS = {name: label for name, (label, _) in NAMES.items()}
NOTE_LENGTH = 500
# A request that nobody has moved for so long may be made again (a queue that was emptied).
ASK_AGAIN = timedelta(minutes=10)


# --- decisions --------------------------------------------------------------------------------


def version_promote(*, task: Task, number: int, by: User, note: str = "") -> ModelDecision:
    """Put a version into production; the one that was there becomes a candidate again.

    Raises NotAllowed, NoSuchVersion, WrongStage, and ModelRefused for bytes that are missing or
    not what the chain names.
    """
    require(by, "model.promote", task)
    with transaction.atomic():
        model = _locked(task)
        version = model.version(number)
        if number == 0:
            raise WrongStage(
                "Version 0 is untrained: it answers at random. Promote a version of a round."
            )
        if version.stage == "production":
            raise WrongStage(f"Version {number} is in production already.")
        if version.stage == "retired":
            raise WrongStage(f"Version {number} is retired. Restore it first.")
        check_bytes(version)
        return _decide(version, ModelDecision.Action.PROMOTE, by, note)


def model_roll_back(*, task: Task, by: User, note: str = "") -> ModelDecision:
    """Put the version into production that was there before the one that is (or last was)."""
    require(by, "model.rollback", task)
    with transaction.atomic():
        model = _locked(task)
        if model.before is None:
            raise WrongStage(
                f"Model {task.pk} had no other version in production to go back to. Promote one."
            )
        check_bytes(model.before)
        return _decide(model.before, ModelDecision.Action.ROLL_BACK, by, note)


def version_retire(*, task: Task, number: int, by: User, note: str = "") -> ModelDecision:
    """Take a version out for good (until restored). In production, nothing answers afterwards."""
    require(by, "model.retire", task)
    with transaction.atomic():
        version = _locked(task).version(number)
        if version.stage == "retired":
            raise WrongStage(f"Version {number} is retired already.")
        if number == 0:
            raise WrongStage("Version 0 is where the task started from; it cannot be retired.")
        return _decide(version, ModelDecision.Action.RETIRE, by, note)


def version_restore(*, task: Task, number: int, by: User, note: str = "") -> ModelDecision:
    """Make a retired version a candidate again."""
    require(by, "model.retire", task)
    with transaction.atomic():
        version = _locked(task).version(number)
        if version.stage != "retired":
            raise WrongStage(f"Version {number} is not retired.")
        return _decide(version, ModelDecision.Action.RESTORE, by, note)


def _locked(task: Task) -> RegisteredModel:
    return registered_model(Task.objects.select_for_update(of=("self",)).get(pk=task.pk))


def _decide(version: Version, action: str, by: User, note: str) -> ModelDecision:
    note = note.strip()
    if len(note) > NOTE_LENGTH:
        raise BadInput(f"The note has {len(note)} characters; at most {NOTE_LENGTH}.")
    decision = ModelDecision.objects.create(
        task_id=version.task_id,
        number=version.number,
        model_hash=version.model_hash,
        action=action,
        note=note,
        by=by,
    )
    audit.record(
        by,
        f"model.{action}",
        decision.task,
        {"version": version.number, "model_hash": version.model_hash, "note": note},
    )
    return decision


def check_bytes(version: Version) -> None:
    """Raises ModelRefused unless the stored bytes hash to what the chain names."""
    found = bytes_of(version)
    if found.trouble:
        raise ModelRefused(found.trouble)


# --- files ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Download:
    """A file that may leave: its checksum was just computed over these bytes."""

    path: Path
    name: str
    sha256: str
    size: int

    @property
    def sha256_base64(self) -> str:
        return b64encode(bytes.fromhex(self.sha256)).decode()


def file_request(*, task: Task, number: int, format: str, by: User) -> ModelFile:
    """Have a file made, unless it is made or being made. Progress is in the row."""
    require(by, "model.download", task)
    model = registered_model(task)
    version = model.version(number)
    _check_format(format)
    check_bytes(version)
    if task.config is None:
        raise ModelRefused(
            "The configuration of this task is not stored here: another client created it. Only "
            "its weights can be downloaded (safetensors)."
        )
    with transaction.atomic():
        row, created = ModelFile.objects.select_for_update().get_or_create(
            task=task,
            model_hash=version.model_hash,
            format=format,
            defaults={"requested_at": timezone.now(), "requested_by": by},
        )
        stuck = row.under_way and row.requested_at < timezone.now() - ASK_AGAIN
        gone = row.status == ModelFile.Status.READY and not _file_path(row).is_file()
        if not (created or stuck or gone or row.status == ModelFile.Status.FAILED):
            return row
        row.status, row.stage, row.done, row.error = ModelFile.Status.QUEUED, "", 0, ""
        row.requested_by, row.requested_at, row.finished_at = by, timezone.now(), None
        row.save()
        audit.record(by, "model.file_request", task, {"version": number, "format": format})
        jobs.model_export(row)
    return row


def file_progress(row_id: int, *, stage: str, done: int, total: int) -> None:
    """A worker is at it."""
    ModelFile.objects.filter(
        pk=row_id, status__in=(ModelFile.Status.QUEUED, ModelFile.Status.MAKING), done__lt=done
    ).update(status=ModelFile.Status.MAKING, stage=stage, done=done, total=total)


def file_made(row_id: int, result: dict[str, Any]) -> None:
    ModelFile.objects.filter(pk=row_id, model_hash=result["model_hash"]).update(
        status=ModelFile.Status.READY,
        stage="",
        done=5,
        total=5,
        file=result["file"],
        sha256=result["sha256"],
        bytes=result["bytes"],
        max_difference=result["max_difference"],
        checked=result["checked"],
        made_with=f"TensorFlow {result['tensorflow']}, Keras {result['keras']}",
        seconds=result["seconds"],
        error="",
        finished_at=timezone.now(),
    )


def file_failed(row_id: int, message: str) -> None:
    ModelFile.objects.filter(pk=row_id).update(
        status=ModelFile.Status.FAILED, error=message, finished_at=timezone.now()
    )


def file_download(*, task: Task, number: int, format: str, by: User) -> Download:
    """The file, its bytes checked just now. Raises ModelRefused when they are not what they were,
    and WrongStage when the file is not made yet."""
    require(by, "model.download", task)
    version = registered_model(task).version(number)
    _check_format(format)
    check_bytes(version)
    name = f"model-{task.pk}-version-{number}.{SUFFIXES[format]}"
    if format == "safetensors":
        path = BlobStore.default().path(version.model_hash)
        sha256 = _sha256(path)
    else:
        row = ModelFile.objects.filter(
            task=task, model_hash=version.model_hash, format=format, status=ModelFile.Status.READY
        ).first()
        if row is None or not _file_path(row).is_file():
            raise WrongStage(
                f"The {FORMATS[format]} file of version {number} is not made yet. Ask for it first."
            )
        path = _file_path(row)
        sha256 = _sha256(path)
        if sha256 != row.sha256:
            raise ModelRefused(
                f"The {FORMATS[format]} file of version {number} is refused: its SHA-256 is "
                f"{sha256}, but {row.sha256} was made. Delete {path.name} below BLOB_ROOT/exports "
                "and ask for it again."
            )
    audit.record(by, "model.download", task, {"version": number, "format": format})
    return Download(path, name, sha256, path.stat().st_size)


def _check_format(format: str) -> None:
    if format not in FORMATS:
        raise BadInput(f"There is no format {format[:20]!r}; use {', '.join(FORMATS)}.")


def _file_path(row: ModelFile) -> Path:
    return BlobStore.default().root / row.file


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- predictions ------------------------------------------------------------------------------


def predict(*, task: Task, rows: Any, by: User, number: int | None = None) -> dict[str, Any]:
    """What a version says of rows (training.inputs): the one in production unless named.

    training.serving.predict_rows' answer, with "model", "version" and "stage". Raises NotAllowed,
    NoSuchVersion, BadInput, ModelRefused, ServingTrouble, and WrongStage for a retired version.
    """
    require(by, "model.predict", task)
    model = registered_model(task)
    version = model.served() if number is None else model.version(number)
    if version.stage == "retired":
        raise WrongStage(f"Version {version.number} is retired. Restore it, or name another.")
    config = _config(task)
    if not _names_used(rows):  # named rows need the data's column names: the worker checks those
        try:
            rows = check_rows(rows, config.dataset.input_shape)
        except InputRefused as error:
            raise BadInput(str(error)) from error
    check_bytes(version)
    answer = serving.ask(training_tasks.predict, task.config, version.model_hash, rows)
    return {"model": task.pk, "version": version.number, "stage": version.stage, **answer}


def warm_up(*, task: Task, number: int, by: User) -> dict[str, Any]:
    """Load a version into a serving worker, so that its next prediction is a warm one."""
    require(by, "model.predict", task)
    version = registered_model(task).version(number)
    _config(task)
    check_bytes(version)
    answer: dict[str, Any] = serving.ask(
        training_tasks.warm_up_model, task.config, version.model_hash
    )
    return answer


def describe_input(*, task: Task, by: User) -> dict[str, Any]:
    """What the model takes and answers: training.serving.describe."""
    require(by, "model.predict", task)
    _config(task)
    answer: dict[str, Any] = serving.ask(training_tasks.describe_input, task.config)
    return answer


def holdout_sample(*, task: Task, number: int, by: User) -> dict[str, Any]:
    """A sample that nobody trained on: training.serving.holdout_sample."""
    require(by, "model.predict", task)
    _config(task)
    answer: dict[str, Any] = serving.ask(training_tasks.holdout_sample, task.config, number)
    return answer


def _config(task: Task) -> TaskConfig:
    if task.config is None:
        raise ModelRefused(
            f"Model {task.pk} cannot be asked here: another client created its task, and its "
            "configuration is not stored here."
        )
    return TaskConfig.from_dict(task.config)


def _names_used(rows: Any) -> bool:
    return isinstance(rows, (list, tuple)) and any(isinstance(row, dict) for row in rows)
