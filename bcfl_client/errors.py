"""What can go wrong, as types; each text says what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class ClientError(Exception):
    """Root of every error of this package."""


class ConsoleUnreachable(ClientError):
    """Nobody answers at the address, or what answers is no BCFL Console."""


class HashMismatch(ClientError):
    """The bytes that came are not those the hash names; nothing was kept."""


class WalletNeeded(ClientError):
    """Signing in with a wallet needs eth-account: ``pip install 'bcfl[wallet]'``."""


class TaskStopped(ClientError):
    """The task that is waited for has ended otherwise: `state` cancelled, or failed at its launch
    (which can be repeated)."""

    def __init__(self, message: str, state: str) -> None:
        super().__init__(message)
        self.state = state


@dataclass(frozen=True)
class FieldError:
    """`field` is like ``body.pool``."""

    field: str
    detail: str


class ApiProblem(ClientError):
    """A refusal of the console (RFC 9457).

    `type` is a URN such as ``urn:bcfl:problem:not-allowed``; `next_step` says what to do.
    """

    def __init__(
        self,
        *,
        status: int,
        type: str,
        title: str,
        detail: str,
        next_step: str,
        errors: Sequence[FieldError] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{detail} {next_step}".strip())
        self.status = status
        self.type = type
        self.title = title
        self.detail = detail
        self.next_step = next_step
        self.errors = tuple(errors)
        self.retry_after = retry_after


class NotSignedIn(ApiProblem):
    """No credentials, or they do not work (any more)."""


class NotAllowed(ApiProblem):
    """This account, or this token's scope, may not do it."""


class NotFound(ApiProblem):
    """There is no such thing."""


class Conflict(ApiProblem):
    """It does not fit where things are now."""


class NothingToClaim(Conflict):
    """All that was earned has been claimed."""


class Invalid(ApiProblem):
    """Some values do not fit; `errors` names each."""


class TooManyRequests(ApiProblem):
    """Wait for `retry_after` seconds."""


class ChainAway(ApiProblem):
    """The console's chain does not answer; nothing was changed."""


class ServerFailed(ApiProblem):
    """The console failed."""


_BY_NAME: Mapping[str, type[ApiProblem]] = {
    "sign-in": NotSignedIn,
    "sign-in-refused": NotSignedIn,
    "not-allowed": NotAllowed,
    "scope": NotAllowed,
    "csrf": NotAllowed,
    "not-found": NotFound,
    "nothing-to-claim": NothingToClaim,
    "too-many": TooManyRequests,
    "chain-away": ChainAway,
}
_BY_STATUS: Mapping[int, type[ApiProblem]] = {
    401: NotSignedIn,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    429: TooManyRequests,
    503: ChainAway,
}


def problem(status: int, body: Any, retry_after: float | None) -> ApiProblem:
    """The typed error of an answer; `body` is its JSON or None."""
    data = body if isinstance(body, Mapping) else {}
    kind = str(data.get("type", ""))
    otherwise = ServerFailed if status >= 500 else ApiProblem
    chosen = _BY_NAME.get(kind.rpartition(":")[2]) or _BY_STATUS.get(status, otherwise)
    errors = data.get("errors")
    return chosen(
        status=status,
        type=kind or "about:blank",
        title=str(data.get("title", "")),
        detail=str(data.get("detail") or f"The console answered HTTP {status}."),
        next_step=str(data.get("next_step", "")),
        errors=[
            FieldError(str(e.get("field", "")), str(e.get("detail", "")))
            for e in (errors if isinstance(errors, list) else [])
            if isinstance(e, Mapping)
        ],
        retry_after=retry_after,
    )
