"""Who calls: somebody signed in on the pages, a program with a token, or a wallet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from sessions_app.api.problems import ApiError
from sessions_app.models import ApiToken, User
from sessions_app.services.tokens import PREFIX, token_find

SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Caller:
    """`token` is None for a session. `address`: the wallet that signed in, else empty."""

    user: User
    token: ApiToken | None = None

    @property
    def ident(self) -> str:
        """What the rate limit counts by."""
        return f"token:{self.token.pk}" if self.token else f"user:{self.user.pk}"

    @property
    def address(self) -> str:
        return self.token.address if self.token else ""


def caller_of(request: HttpRequest) -> Caller | None:
    """None for a stranger. Raises ApiError for credentials that do not work. Looked up once."""
    known = getattr(request, "_bcfl_caller", _UNKNOWN)
    if known is _UNKNOWN:
        known = _bearer(request) or _session(request)
        request._bcfl_caller = known  # type: ignore[attr-defined]
        if known is not None:
            request.user = known.user
    return cast("Caller | None", known)


_UNKNOWN = object()


def _bearer(request: HttpRequest) -> Caller | None:
    header = request.headers.get("Authorization", "")
    if not header:
        return None
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer" or not text.startswith(PREFIX):
        raise ApiError(
            401, "sign-in", f"The Authorization header is not “Bearer {PREFIX}…”: the console "
            "knows API tokens and wallet tokens."
        )  # fmt: skip
    token = token_find(text.strip())
    if token is None:
        raise ApiError(
            401,
            "sign-in",
            "The token is unknown, expired or revoked.",
            next_step="Make a new token in Settings, or sign in with the wallet again.",
        )
    if request.method not in SAFE and token.scope != ApiToken.Scope.WRITE:
        raise ApiError(403, "scope", f"The token “{token.name}” may read; this changes something.")
    return Caller(token.user, token)


def _session(request: HttpRequest) -> Caller | None:
    user = request.user
    if not user.is_authenticated:
        return None
    if request.method not in SAFE and check_csrf(request) is not None:
        raise ApiError(
            403,
            "csrf",
            "A page's session may only change something together with its CSRF token.",
        )
    return Caller(user)


class Bearer(HttpBearer):
    """An API token, or the token a wallet got for its signature: `Authorization: Bearer bcfl_…`"""

    def __call__(self, request: HttpRequest) -> Any:
        return caller_of(request)

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        raise AssertionError("caller_of does it")


class Session(APIKeyCookie):
    """The pages' own session; writes need the `X-CSRFToken` header."""

    param_name = settings.SESSION_COOKIE_NAME

    def __call__(self, request: HttpRequest) -> Any:
        return caller_of(request)

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        raise AssertionError("caller_of does it")


SIGNED_IN = [Bearer(), Session(csrf=False)]
