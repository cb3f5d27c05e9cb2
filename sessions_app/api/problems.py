"""Errors as problem+json (RFC 9457): what is wrong, and the next step."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from ninja import Field, Schema
from ninja.errors import HttpError, ValidationError

from chain.errors import ChainError, NotDeployed, RetryableError
from sessions_app.errors import (
    BadInput,
    BcflError,
    ChainTrouble,
    InvalidInvitation,
    InvalidTask,
    InvalidToken,
    InvalidWebhook,
    ModelRefused,
    NoSuchVersion,
    NotAllowed,
    NothingToClaim,
    ServingTrouble,
    SignInRefused,
    WalletTaken,
    WrongStage,
)
from sessions_app.selectors.ledger import BadQuery
from training.errors import TrainingError

logger = logging.getLogger(__name__)
CONTENT_TYPE = "application/problem+json"
TYPE = "urn:bcfl:problem:"


class FieldError(Schema):
    field: str = Field(description="Where: `body.pool`, `query.limit`.")
    detail: str


class Problem(Schema):
    """RFC 9457, with the next step and, for bad input, each field that is wrong."""

    type: str = Field(description="A URN that never changes: `urn:bcfl:problem:not-allowed`.")
    title: str
    status: int
    detail: str
    next_step: str
    instance: str = Field(description="The path that was asked for.")
    errors: list[FieldError] = []


class ApiError(Exception):
    """A refusal of the API itself."""

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        *,
        next_step: str = "",
        errors: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name
        self.detail = detail
        self.next_step = next_step
        self.errors = errors or []
        self.headers = dict(headers or {})


# name → (title, what to do when the error itself does not say)
_TITLES = {
    "bad-request": ("The request cannot be read", "Compare it with the operation in /api/v1/docs."),
    "sign-in": ("Sign in", "Send an API token or a wallet token as `Authorization: Bearer …`."),
    "sign-in-refused": (
        "The signed message does not hold",
        "Ask POST /api/v1/auth/message for a new message and sign that.",
    ),
    "csrf": ("The CSRF token is missing", "Send the csrftoken cookie's value as X-CSRFToken."),
    "scope": ("The token may only read", "Use a token with the scope `write`."),
    "not-allowed": (
        "You may not do this",
        "Use an account that may, or ask the task's operator or an admin.",
    ),
    "not-found": ("There is no such thing", "Check the path; lists show what there is."),
    "method": ("This method is not offered here", "Use one of those in the Allow header."),
    "conflict": ("It does not fit where things are now", "Read the task again, then decide."),
    "nothing-to-claim": ("There is nothing to claim", "Wait for the next round to be finalised."),
    "wallet-taken": ("The wallet belongs to someone else", "Use another wallet."),
    "invalid": ("Some values do not fit", "Correct the fields in `errors` and send it again."),
    "idempotency": (
        "This idempotency key stands for another request",
        "Use a new key for a new request; repeat a request unchanged to get its answer again.",
    ),
    "too-many": ("Too many requests", "Wait for the seconds in Retry-After."),
    "too-large": ("The body is too large", "Send less at once."),
    "chain": ("The chain or a key refused", "Nothing was changed; do what the detail says."),
    "chain-away": ("The chain does not answer", "Try again in a moment; nothing was changed."),
    "model-refused": ("The model is refused", "Restore its bytes; the chain's hash decides."),
    "serving": ("No worker answered", "Try again in a moment."),
    "server": ("The console failed", "Try again; if it stays, tell an admin the time and path."),
}  # fmt: skip


def problem(request: HttpRequest, error: ApiError) -> HttpResponse:
    title, otherwise = _TITLES[error.name]
    body: dict[str, Any] = {
        "type": TYPE + error.name,
        "title": title,
        "status": error.status,
        "detail": error.detail,
        "next_step": error.next_step or otherwise,
        "instance": request.path,
        "errors": error.errors,
    }
    response = HttpResponse(json.dumps(body), status=error.status, content_type=CONTENT_TYPE)
    for name, value in error.headers.items():
        response[name] = value
    if error.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="BCFL Console"'
    return response


def as_api_error(error: Exception) -> ApiError:
    """The refusal that stands for any error an operation may raise."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, BcflError):
        return _ours(error)
    if isinstance(error, ValidationError):
        return ApiError(
            422,
            "invalid",
            "; ".join(f"{_place(e)}: {e['msg']}" for e in error.errors[:3]) + ".",
            errors=[{"field": _place(e), "detail": e["msg"]} for e in error.errors],
        )
    if isinstance(error, TrainingError):
        field = f"body.config.{getattr(error, 'field', '')}".rstrip(".")
        return ApiError(422, "invalid", str(error), errors=[{"field": field, "detail": str(error)}])
    if isinstance(error, ChainError):
        if isinstance(error, NotDeployed):
            return ApiError(404, "not-found", str(error))
        return _chain(error)
    if isinstance(error, (Http404, ObjectDoesNotExist)):
        return ApiError(404, "not-found", str(error) or "There is nothing at this address.")
    if isinstance(error, PermissionDenied):
        return ApiError(403, "not-allowed", str(error) or "This is for others.")
    if isinstance(error, HttpError):
        name = {400: "bad-request", 401: "sign-in", 403: "not-allowed", 429: "too-many"}
        return ApiError(error.status_code, name.get(error.status_code, "bad-request"), str(error))
    logger.error("An API operation failed", exc_info=error)
    return ApiError(500, "server", "Something failed that should not. The cause is in the log.")


def _ours(error: BcflError) -> ApiError:
    text = str(error)
    if isinstance(error, NotAllowed):
        return ApiError(403, "not-allowed", text)
    if isinstance(error, SignInRefused):
        if error.reason == "format":
            return ApiError(422, "invalid", text, errors=[{"field": "body", "detail": text}])
        return ApiError(
            401, "sign-in-refused", text, errors=[{"field": error.reason, "detail": text}]
        )
    if isinstance(error, BadQuery):
        return ApiError(422, "invalid", text, errors=[{"field": "query", "detail": text}])
    if isinstance(error, (InvalidTask, InvalidToken, InvalidWebhook, InvalidInvitation)):
        field = f"body.{error.field}".rstrip(".")
        return ApiError(422, "invalid", text, errors=[{"field": field, "detail": text}])
    if isinstance(error, NothingToClaim):
        return ApiError(409, "nothing-to-claim", text)
    if isinstance(error, WalletTaken):
        return ApiError(409, "wallet-taken", text)
    if isinstance(error, ChainTrouble):
        cause = error.__cause__
        return _chain(cause if isinstance(cause, ChainError) else ChainError(text))
    if isinstance(error, WrongStage):
        return ApiError(409, "conflict", text)
    if isinstance(error, NoSuchVersion):
        return ApiError(404, "not-found", text)
    if isinstance(error, ModelRefused):
        return ApiError(409, "model-refused", text)
    if isinstance(error, BadInput):
        return ApiError(422, "invalid", text, errors=[{"field": "body.rows", "detail": text}])
    if isinstance(error, ServingTrouble):
        return ApiError(503, "serving", text, headers={"Retry-After": "5"})
    # A refusal that this table does not know yet: it still is the caller's to act on.
    return ApiError(409, "conflict", text)


def _chain(error: ChainError) -> ApiError:
    if isinstance(error, RetryableError):
        return ApiError(503, "chain-away", str(error), headers={"Retry-After": "2"})
    return ApiError(409, "chain", str(error))


def _place(error: Mapping[str, Any]) -> str:
    """``("body", "task", "pool")`` → ``body.pool``: the parameter's name in our code goes."""
    source, *rest = [str(part) for part in error["loc"]]
    if source == "body" and len(rest) > 1:
        rest = rest[1:]
    return ".".join([source, *rest])
