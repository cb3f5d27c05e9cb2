"""The model registry: models, versions, cards, files, and a page to try a version."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any
from urllib.parse import quote

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from sessions_app import access
from sessions_app.errors import (
    BadInput,
    BcflError,
    ModelRefused,
    NoSuchVersion,
    NotAllowed,
    ServingTrouble,
    WrongStage,
)
from sessions_app.models import ModelDecision, Task
from sessions_app.selectors.models.card import CONTRIBUTOR_COLUMNS, model_card
from sessions_app.selectors.models.comparison import compare_versions
from sessions_app.selectors.models.files import format_rows
from sessions_app.selectors.models.listing import FILTERS, model_list
from sessions_app.selectors.models.registry import (
    RegisteredModel,
    Version,
    bytes_of,
    registered_model,
)
from sessions_app.selectors.task.config import task_config
from sessions_app.selectors.task.data import task_get
from sessions_app.selectors.task.series import csv_text
from sessions_app.services import models as model_services
from sessions_app.views.base import acts, is_htmx, page, viewer
from sessions_app.views.files import download

STATUS: dict[type[BcflError], int] = {
    NotAllowed: 403,
    NoSuchVersion: 404,
    WrongStage: 409,
    ModelRefused: 409,
    BadInput: 422,
    ServingTrouble: 503,
}
SHOWN = 12  # versions in the table before one asks for all
MAX_BODY = 8 << 20  # bytes of one prediction request


def _task(pk: int) -> Task:
    try:
        return task_get(pk)
    except (Task.DoesNotExist, OverflowError) as error:
        raise Http404(f"There is no model {pk}: a model has its task's number.") from error


def _version(pk: int, number: int) -> tuple[RegisteredModel, Version]:
    model = registered_model(_task(pk))
    try:
        return model, model.version(number)
    except NoSuchVersion as error:
        raise Http404(str(error)) from error


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    if text and not text.isdigit():
        raise Http404(f"{name}={text[:40]} is not a whole number.")
    return int(text) if text else None


# --- pages ------------------------------------------------------------------------------------


@login_required
@require_GET
def model_index(request: HttpRequest) -> HttpResponse:
    kind = request.GET.get("show", "all")
    if kind not in FILTERS:
        raise Http404(f"There is no list “{kind[:40]}”; use {', '.join(FILTERS)}.")
    query = request.GET.get("q", "").strip()[:120]
    found = model_list(viewer(request), kind=kind, query=query, before=_number(request, "before"))
    if request.GET.get("format") == "json":
        return JsonResponse({"models": [row.as_json() for row in found.rows]})
    if request.GET.get("format") == "csv":
        return _csv("models.csv", [row.as_json() for row in found.rows])
    context = {"models": found, "filters": FILTERS}
    if request.GET.get("part"):
        return render(request, "partials/model_table.html", context)
    return page(request, "pages/models.html", context, nav="models")


@login_required
@require_GET
def model_detail(request: HttpRequest, pk: int) -> HttpResponse:
    model = registered_model(_task(pk))
    numbers = [_number(request, name) for name in ("a", "b")]
    comparison, wrong = None, ""
    if None not in numbers:
        try:
            first, second = (model.version(number or 0) for number in numbers)
            comparison = compare_versions(first, second)
        except NoSuchVersion as error:
            wrong = str(error)
    context = {
        "model": model,
        "comparison": comparison,
        "wrong": wrong,
        "shown": _shown(model, everything="all" in request.GET, also=numbers),
        "may": _may(request, model.task),
        "curve": {
            "versions": [v.number for v in model.versions],
            "accuracy": [_percent(v) for v in model.versions],
            "loss": [v.loss for v in model.versions],
            "production": model.production.number if model.production else None,
            "planned": model.task.rounds,
        },
    }
    return page(request, "pages/model.html", context, nav="models")


def _shown(
    model: RegisteredModel, *, everything: bool, also: Sequence[int | None]
) -> list[Version]:
    """Newest first: the latest ones and those that matter, unless everything is wanted."""
    newest = model.versions[::-1]
    keep = {v.number for v in newest[:SHOWN]} | {0, *also}
    keep |= {v.number for v in (model.production, model.best, model.before) if v}
    return [v for v in newest if everything or v.number in keep or v.stage == "retired"]


@login_required
@require_GET
def version_detail(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    model, version = _version(pk, number)
    card = model_card(model, version)
    context = {
        "model": model,
        "version": version,
        "card": card,
        "files": format_rows(model, version),
        "may": _may(request, model.task),
    }
    return page(request, "pages/model_version.html", context, nav="models")


@login_required
@require_GET
def version_try(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    model, version = _version(pk, number)
    may = _may(request, model.task)
    if not may["predict"]:
        try:
            access.require(viewer(request), "model.predict", model.task)
        except NotAllowed as error:
            raise PermissionDenied(str(error)) from error
    config = model.task.config or {}
    context = {
        "model": model,
        "version": version,
        "stored": bytes_of(version),
        "image": model.config_known and len(_shape(model.task)) > 1,
        "shape": _shape(model.task) if model.config_known else (),
        "dataset": config.get("dataset", {}).get("name", ""),
        "may": may,
    }
    return page(request, "pages/model_try.html", context, nav="models")


# --- exports ----------------------------------------------------------------------------------


@login_required
@require_GET
def versions_json(request: HttpRequest, pk: int) -> HttpResponse:
    model = registered_model(_task(pk))
    return JsonResponse({"model": pk, "versions": [v.as_json() for v in model.versions]})


@login_required
@require_GET
def versions_csv(request: HttpRequest, pk: int) -> HttpResponse:
    model = registered_model(_task(pk))
    return _csv(f"model-{pk}-versions.csv", [v.as_json() for v in model.versions])


@login_required
@require_GET
def card_json(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    answer = JsonResponse(
        model_card(*_version(pk, number)).as_json(), json_dumps_params={"indent": 2}
    )
    answer["Content-Disposition"] = f'attachment; filename="model-{pk}-version-{number}.json"'
    return answer


@login_required
@require_GET
def card_markdown(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    text = model_card(*_version(pk, number)).as_markdown()
    answer = HttpResponse(text, content_type="text/markdown; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="model-{pk}-version-{number}.md"'
    return answer


@login_required
@require_GET
def card_participants(request: HttpRequest, pk: int, number: int, style: str) -> HttpResponse:
    """Who trained this version, as on its card."""
    rows = [c.as_json() for c in model_card(*_version(pk, number)).contributors]
    name = f"model-{pk}-version-{number}-participants"
    return download(rows, CONTRIBUTOR_COLUMNS, name, style)


def _csv(name: str, rows: list[dict[str, Any]]) -> HttpResponse:
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    writer = csv.writer(answer)
    if rows:
        writer.writerow(rows[0])
    for row in rows:
        cells = ["" if value is None else value for value in row.values()]
        writer.writerow([csv_text(cell) if isinstance(cell, str) else cell for cell in cells])
    return answer


# --- files ------------------------------------------------------------------------------------


@login_required
@require_GET
def files(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """The list of files; the page asks for it every second while one is being made."""
    return _files(request, *_version(pk, number))


def _files(
    request: HttpRequest, model: RegisteredModel, version: Version, trouble: str = ""
) -> HttpResponse:
    context = {
        "model": model,
        "version": version,
        "files": format_rows(model, version),
        "may": _may(request, model.task),
        "trouble": trouble,
    }
    return render(request, "partials/model_files.html", context)


@login_required
@require_POST
@acts("model.download")
def file_request(request: HttpRequest, pk: int, number: int, format: str) -> HttpResponse:
    model, version = _version(pk, number)
    trouble = ""
    try:
        model_services.file_request(
            task=model.task, number=number, format=format, by=viewer(request)
        )
    except BcflError as error:
        trouble = str(error)
    if is_htmx(request):
        return _files(request, model, version, trouble)
    if trouble:
        messages.error(request, trouble)
    return redirect("model-version", pk, number)


@login_required
@require_GET
def file_download(request: HttpRequest, pk: int, number: int, format: str) -> HttpResponseBase:
    model, _ = _version(pk, number)
    try:
        found = model_services.file_download(
            task=model.task, number=number, format=format, by=viewer(request)
        )
    except NotAllowed as error:
        raise PermissionDenied(str(error)) from error
    except BcflError as error:
        messages.error(request, str(error))
        return redirect("model-version", pk, number)
    answer = FileResponse(found.path.open("rb"), as_attachment=True, filename=found.name)
    answer["Content-Type"] = "application/octet-stream"
    answer["Repr-Digest"] = f"sha-256=:{found.sha256_base64}:"  # RFC 9530
    return answer


# --- decisions --------------------------------------------------------------------------------


def _decided(
    request: HttpRequest, pk: int, act: Callable[..., ModelDecision], done: str, **more: Any
) -> HttpResponse:
    note = request.POST.get("note", "")
    try:
        decision = act(task=_task(pk), by=viewer(request), note=note, **more)
        messages.success(request, done.format(decision.number))
    except NotAllowed as error:
        raise PermissionDenied(str(error)) from error
    except BcflError as error:
        messages.error(request, f"{error}{f' Your note: {note}' if note else ''}")
    target = request.POST.get("next", "")
    if target.startswith(f"/models/{pk}/"):
        return redirect(quote(target, safe="/?=&"))
    return redirect("model", pk)


@login_required
@require_POST
@acts("model.promote")
def promote(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    text = "Version {} is in production: it answers when no version is named."
    return _decided(request, pk, model_services.version_promote, text, number=number)


@login_required
@require_POST
@acts("model.rollback")
def roll_back(request: HttpRequest, pk: int) -> HttpResponse:
    return _decided(
        request, pk, model_services.model_roll_back, "Rolled back: version {} is in production."
    )


@login_required
@require_POST
@acts("model.retire")
def retire(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    text = "Version {} is retired: it answers no more."
    return _decided(request, pk, model_services.version_retire, text, number=number)


@login_required
@require_POST
@acts("model.retire")
def restore(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    text = "Version {} is a candidate again."
    return _decided(request, pk, model_services.version_restore, text, number=number)


# --- predictions ------------------------------------------------------------------------------


def _as_json(view: Callable[..., Any]) -> Callable[..., HttpResponse]:
    """Answers what the view returns, or {"error"} with a status that fits."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return JsonResponse(view(request, *args, **kwargs))
        except BcflError as error:
            return JsonResponse({"error": str(error)}, status=STATUS.get(type(error), 400))

    return answered


@login_required
@require_POST
@acts("model.predict")
@_as_json
def predict(request: HttpRequest, pk: int, number: int) -> dict[str, Any]:
    """Body: {"rows": [...]}; for the page, which names its version."""
    if int(request.headers.get("Content-Length") or 0) > MAX_BODY:
        raise BadInput(f"The request is larger than {MAX_BODY >> 20} MiB. Send fewer rows.")
    try:
        rows = json.loads(request.body)["rows"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput('The body must be JSON: {"rows": [[numbers], ...]}.') from error
    return model_services.predict(task=_task(pk), number=number, rows=rows, by=viewer(request))


@login_required
@require_POST
@acts("model.predict")
@_as_json
def warm_up(request: HttpRequest, pk: int, number: int) -> dict[str, Any]:
    """Loads the model before somebody asks it, and says what it takes."""
    task, user = _task(pk), viewer(request)
    about = model_services.describe_input(task=task, by=user)
    return {**about, **model_services.warm_up(task=task, number=number, by=user)}


@login_required
@require_GET
@_as_json
def sample(request: HttpRequest, pk: int) -> dict[str, Any]:
    number = _number(request, "number") or 0
    return model_services.holdout_sample(task=_task(pk), number=number, by=viewer(request))


def _may(request: HttpRequest, task: Task) -> dict[str, bool]:
    user = viewer(request)
    return {
        name: access.can(user, f"model.{name}", task)
        for name in ("promote", "rollback", "retire", "download", "predict")
    }


def _shape(task: Task) -> tuple[int, ...]:
    config = task_config(task)
    return config.dataset.input_shape if config else ()


def _percent(version: Version) -> float | None:
    return None if version.accuracy_ppm is None else version.accuracy_ppm / 10_000
