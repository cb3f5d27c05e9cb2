"""Models: the registry, cards, files, predictions, and what people decide."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.http import FileResponse, HttpRequest
from django.http.response import HttpResponseBase
from ninja import Field, Query, Schema, Status

from sessions_app import access
from sessions_app.api.base import Hash, Key, Page, PageIn, area, read_key, user_of
from sessions_app.api.tasks import find_task
from sessions_app.models import ModelFile
from sessions_app.selectors.models.card import model_card
from sessions_app.selectors.models.files import NAMES, format_rows
from sessions_app.selectors.models.listing import model_list
from sessions_app.selectors.models.registry import RegisteredModel, Version, registered_model
from sessions_app.services import models as model_services

router = area("Models")
Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
Stage = Literal["initial", "candidate", "production", "retired"]
Format = Literal["safetensors", "keras", "savedmodel", "tflite"]
Share = Annotated[float | None, Field(ge=0, le=1)]
FilterName = Literal["all", "production", "waiting", "mine"]
assert set(NAMES) == set(Format.__args__)  # type: ignore[attr-defined]


class ModelRowOut(Schema):
    id: int = Field(description="The number of the task that trains it.")
    title: str
    trained_as: str
    owner: str
    versions: int
    latest_accuracy: Share
    best_accuracy: Share
    production_version: int | None


class VersionOut(Schema):
    version: int = Field(description="The finalised round; 0 is the model before round 1.")
    stage: Stage
    model_hash: Hash = Field(description="keccak256 of the safetensors bytes, as on chain.")
    base_model_hash: str | None
    accuracy: Share = Field(description="On held-out samples, as the evaluators agreed on chain.")
    loss: float | None
    participants: int
    samples: int
    transaction: str | None = Field(description="That finalised the round.")
    block: int | None
    time: int | None = Field(description="Of that block, unix seconds.")
    stored: bool = Field(description="Is there a file of that hash here?")


class DecisionOut(Schema):
    version: int
    action: Literal["promote", "rollback", "retire", "restore"]
    note: str
    by: str
    at: Any
    holds: bool = Field(description="False when the chain has another model in that round now.")


class ModelOut(Schema):
    id: int
    title: str
    config_hash: Hash
    production_version: int | None
    versions: list[VersionOut]
    decisions: list[DecisionOut]


class NoteIn(Schema):
    note: str = Field("", max_length=model_services.NOTE_LENGTH, description="Why; kept.")


class FileOut(Schema):
    format: Format
    status: Literal["absent", "queued", "making", "ready", "failed"]
    stage: str = ""
    done: int = 0
    total: int = 0
    size: int | None = Field(None, description="Bytes.")
    sha256: str = ""
    error: str = ""
    url: str = Field("", description="Where to download it once it is ready.")


class RowsIn(Schema):
    rows: list[Any] = Field(
        min_length=1,
        max_length=256,
        description="Each a flat list of numbers, a list nested as the input's shape, or, for "
        "tables, an object from column names to numbers; as they stand in the data.",
        examples=[[[0.0, 0.5, 1.0]]],
    )


class PredictionItem(Schema):
    class_: str = Field(alias="class")
    index: int
    probabilities: list[float]


class PredictionOut(Schema):
    model: int
    version: int
    stage: Stage
    model_hash: Hash
    classes: list[str]
    predictions: list[PredictionItem]
    latency_ms: float = Field(description="In the worker: checking, reading and computing.")
    warm: bool = Field(description="Was the model loaded before this request?")
    warnings: list[str]


class FeatureOut(Schema):
    name: str
    low: float
    high: float
    mean: float


class InputOut(Schema):
    kind: Literal["image", "table"]
    shape: list[int]
    classes: list[str]
    bounds: list[float] | None
    seen: list[float]
    holdout: int
    features: list[FeatureOut]


class SampleOut(Schema):
    row: list[float]
    label: int
    class_: str = Field(alias="class")
    number: int
    of: int


class CardOut(Schema):
    """Everything the card says; the keys of `data`, `training`, `hashes` and `transactions` are
    words for people."""

    model: dict[str, Any]
    version: int
    stage: Stage
    model_hash: Hash
    config_hash: Hash
    accuracy: Share
    loss: float | None
    bytes: dict[str, Any]
    parameters: int | None
    rounds: dict[str, int]
    intended: str
    data: dict[str, str]
    training: dict[str, str]
    privacy: str
    participants: list[dict[str, Any]]
    evaluators: list[dict[str, Any]]
    quorum: int
    transactions: dict[str, str]
    hashes: dict[str, str]
    limits: list[str]
    config: dict[str, Any] | None


class ListQuery(Schema):
    show: FilterName = "all"
    q: str = Field("", max_length=120, description="Part of a title, or a model hash.")


@router.get("", response=Page[ModelRowOut], summary="Registered models")
def models_list(request: HttpRequest, page: PageIn, which: Query[ListQuery]) -> Any:
    """Tasks with at least one finalised round, newest first."""
    found = model_list(
        user_of(request),
        kind=which.show,
        query=which.q.strip(),
        before=read_key(page.cursor),
        length=page.limit,
    )
    cursor = None if found.next_before is None else str(found.next_before)
    return {"items": [row.as_json() for row in found.rows], "next": cursor}


@router.get("/{model_id}", response=ModelOut, summary="A model with its versions")
def models_get(request: HttpRequest, model_id: Key) -> Any:
    model = registered_model(find_task(model_id))
    return {
        "id": model.task.pk,
        "title": model.task.title,
        "config_hash": model.task.config_hash,
        "production_version": model.production.number if model.production else None,
        "versions": [version.as_json() for version in model.versions],
        "decisions": [
            {
                "version": decision.number,
                "action": decision.action,
                "note": decision.note,
                "by": decision.by,
                "at": decision.at,
                "holds": decision.holds,
            }
            for decision in model.decisions
        ],
    }


@router.get("/{model_id}/input", response=InputOut, by_alias=True, summary="What a model takes")
def models_input(request: HttpRequest, model_id: Key) -> Any:
    """Shape, classes, limits and column names; answered by a serving worker."""
    return model_services.describe_input(task=find_task(model_id), by=user_of(request))


@router.get("/{model_id}/sample", response=SampleOut, by_alias=True, summary="A held-out sample")
def models_sample(request: HttpRequest, model_id: Key, number: Number = 0) -> Any:
    """`number` counts round the held-out samples; answered by a serving worker."""
    return model_services.holdout_sample(
        task=find_task(model_id), number=number, by=user_of(request)
    )


@router.post("/{model_id}/predict", response=PredictionOut, by_alias=True, summary="Ask a model")
def models_predict(
    request: HttpRequest, model_id: Key, body: RowsIn, version: Number | None = None
) -> Any:
    """The version in production answers, unless `version` names another."""
    return model_services.predict(
        task=find_task(model_id), rows=body.rows, number=version, by=user_of(request)
    )


@router.post("/{model_id}/rollback", response=VersionOut, summary="Roll back")
def models_roll_back(request: HttpRequest, model_id: Key, body: NoteIn) -> Any:
    """Put the version into production that was there before."""
    task = find_task(model_id)
    decision = model_services.model_roll_back(task=task, by=user_of(request), note=body.note)
    return registered_model(task).version(decision.number).as_json()


@router.get("/{model_id}/versions/{number}", response=VersionOut, summary="A version")
def versions_get(request: HttpRequest, model_id: Key, number: Number) -> Any:
    return _version(model_id, number)[1].as_json()


@router.get("/{model_id}/versions/{number}/card", response=CardOut, summary="A model card")
def versions_card(request: HttpRequest, model_id: Key, number: Number) -> Any:
    """Generated from the ledger; as Markdown at /models/{id}/{version}/card.md."""
    return model_card(*_version(model_id, number)).as_json()


@router.post("/{model_id}/versions/{number}/promote", response=VersionOut, summary="Promote")
def versions_promote(request: HttpRequest, model_id: Key, number: Number, body: NoteIn) -> Any:
    """Put a version into production."""
    return _decide(request, model_services.version_promote, model_id, number, body)


@router.post("/{model_id}/versions/{number}/retire", response=VersionOut, summary="Retire")
def versions_retire(request: HttpRequest, model_id: Key, number: Number, body: NoteIn) -> Any:
    """It answers no more, until it is restored."""
    return _decide(request, model_services.version_retire, model_id, number, body)


@router.post("/{model_id}/versions/{number}/restore", response=VersionOut, summary="Restore")
def versions_restore(request: HttpRequest, model_id: Key, number: Number, body: NoteIn) -> Any:
    """Make a retired version a candidate again."""
    return _decide(request, model_services.version_restore, model_id, number, body)


@router.get("/{model_id}/versions/{number}/files", response=list[FileOut], summary="Files")
def versions_files(request: HttpRequest, model_id: Key, number: Number) -> Any:
    """What can be downloaded, and how far what is being made has come."""
    model, version = _version(model_id, number)
    access.require(user_of(request), "model.download", model.task)
    return _files(model, version)


@router.post(
    "/{model_id}/versions/{number}/files/{format}",
    response={200: FileOut, 202: FileOut},
    summary="Have a file made",
)
def versions_file_request(
    request: HttpRequest, model_id: Key, number: Number, format: Format
) -> Any:
    """202 while a training worker makes it: ask `GET …/files` until it is ready."""
    task = find_task(model_id)
    if format != "safetensors":  # the stored bytes themselves: nothing to make
        model_services.file_request(task=task, number=number, format=format, by=user_of(request))
    model, version = _version(model_id, number)
    access.require(user_of(request), "model.download", model.task)
    (found,) = [file for file in _files(model, version) if file["format"] == format]
    return Status(200 if found["status"] == "ready" else 202, found)


@router.get(
    "/{model_id}/versions/{number}/files/{format}",
    summary="Download a file",
    response={200: None},
    openapi_extra={
        "responses": {
            200: {
                "description": "The file; its SHA-256 is in the header Repr-Digest.",
                "content": {
                    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
                },
            }
        }
    },
)
def versions_file(
    request: HttpRequest, model_id: Key, number: Number, format: Format
) -> HttpResponseBase:
    found = model_services.file_download(
        task=find_task(model_id), number=number, format=format, by=user_of(request)
    )
    return file_answer(found)


def file_answer(found: model_services.Download) -> HttpResponseBase:
    """The bytes as an attachment, with their SHA-256 (RFC 9530)."""
    answer = FileResponse(found.path.open("rb"), as_attachment=True, filename=found.name)
    answer["Content-Type"] = "application/octet-stream"
    answer["Repr-Digest"] = f"sha-256=:{found.sha256_base64}:"
    return answer


def _version(model_id: int, number: int) -> tuple[RegisteredModel, Version]:
    model = registered_model(find_task(model_id))
    return model, model.version(number)


def _decide(request: HttpRequest, act: Any, model_id: int, number: int, body: NoteIn) -> Any:
    task = find_task(model_id)
    act(task=task, number=number, by=user_of(request), note=body.note)
    return registered_model(task).version(number).as_json()


def _files(model: RegisteredModel, version: Version) -> list[dict[str, Any]]:
    shown = []
    for file in format_rows(model, version):
        row = file.row
        status: str = "ready" if file.ready else row.status if row else "absent"
        if status == ModelFile.Status.READY and not file.ready:
            status = "absent"  # its bytes went
        shown.append(
            {
                "format": file.format,
                "status": status,
                "stage": row.stage if row else "",
                "done": row.done if row else 0,
                "total": row.total if row else 0,
                "size": file.size,
                "sha256": file.sha256,
                "error": row.error if row else "",
                "url": f"/api/v1/models/{model.task.pk}/versions/{version.number}/files/"
                f"{file.format}"
                if file.ready
                else "",
            }
        )
    return shown
