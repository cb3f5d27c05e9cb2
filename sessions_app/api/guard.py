"""Around every operation: who calls, how often, and writes that are carried out once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from sessions_app.api import limits
from sessions_app.api.callers import SAFE, Caller, caller_of
from sessions_app.api.problems import ApiError, as_api_error, problem
from sessions_app.models import IdempotencyKey

KEPT_HOURS = 24
_KEY = re.compile(r"[\x21-\x7e]{1,128}")
View = Callable[..., HttpResponseBase]
# Operations (by their names) that are sent by POST but change nothing: no key, no transaction.
READS = frozenset({"models_predict", "auth_message"})


def guarded(view: View) -> View:
    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        count = None
        try:
            try:
                caller = caller_of(request)
            except ApiError:
                limits.take(request, None)  # guessing tokens counts by address
                raise
            count = limits.take(request, caller)
            response = _once(request, caller, lambda: view(request, *args, **kwargs))
            if response.status_code == 405:
                raise ApiError(
                    405,
                    "method",
                    f"{request.method} is not offered at {request.path}.",
                    headers={"Allow": response["Allow"]},
                )
        except Exception as error:
            response = problem(request, as_api_error(error))
        if isinstance(response, HttpResponse):
            response.setdefault("Cache-Control", "no-cache, private")
            limits.tell(response, count)
        return response

    return inner


def _once(
    request: HttpRequest, caller: Caller | None, run: Callable[[], HttpResponseBase]
) -> HttpResponseBase:
    """With an Idempotency-Key, the write and its answer are committed together.

    Two requests with one key at the same time: the unique row makes the second wait for the first
    one's commit, and then it reads the answer. A refused write is rolled back, so its key stays
    free. Answers that hold a secret (`Cache-Control: no-store`) are not kept.
    """
    key = request.headers.get("Idempotency-Key")
    if request.method in SAFE or key is None:
        return run()
    if not _KEY.fullmatch(key):
        raise ApiError(
            400,
            "bad-request",
            f"The Idempotency-Key has {len(key)} characters; it needs 1 to 128 without spaces. "
            "A UUID is a good one.",
        )
    match = request.resolver_match
    if caller is None or (match is not None and match.url_name in READS):
        return run()
    mark = hashlib.sha256(
        b"\n".join([str(request.method).encode(), request.get_full_path().encode(), request.body])
    ).hexdigest()
    known = _known(caller, key, mark)
    if known is not None:
        return known
    try:
        with transaction.atomic():
            row = IdempotencyKey.objects.create(user=caller.user, key=key, fingerprint=mark)
            response = run()
            if response.status_code >= 400:
                transaction.set_rollback(True)
            elif isinstance(response, HttpResponse):
                if "no-store" in response.get("Cache-Control", ""):
                    row.delete()
                else:
                    _keep(row, response)
    except IntegrityError:
        known = _known(caller, key, mark)
        if known is None:
            raise
        return known
    return response


def _known(caller: Caller, key: str, mark: str) -> HttpResponse | None:
    oldest = timezone.now() - timedelta(hours=KEPT_HOURS)
    IdempotencyKey.objects.filter(user=caller.user, created_at__lt=oldest).delete()
    row = IdempotencyKey.objects.filter(user=caller.user, key=key).first()
    if row is None:
        return None
    if row.fingerprint != mark:
        raise ApiError(
            422,
            "idempotency",
            f"The key {key} was used in the last {KEPT_HOURS} hours for another method, path or "
            "body.",
        )
    response = HttpResponse(bytes(row.body), status=row.status, content_type=row.content_type)
    if row.location:
        response["Location"] = row.location
    response["Idempotency-Replayed"] = "true"
    return response


def _keep(row: IdempotencyKey, response: HttpResponse) -> None:
    row.status = response.status_code
    row.content_type = response.get("Content-Type", "")
    row.body = response.content
    row.location = response.get("Location", "")
    row.save()
