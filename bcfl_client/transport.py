"""HTTP with what a program needs: typed errors, retries that are safe, an address that is right."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from bcfl_client.errors import ApiProblem, ConsoleUnreachable, NotSignedIn, problem

SAFE = ("GET", "HEAD")
# The write was not carried out, or the idempotency key makes repeating it harmless.
AGAIN = (429, 502, 503, 504)
FIRST_PAUSE = 0.25  # seconds; doubles, with a random part
LONGEST_PAUSE = 20.0
USER_AGENT = "bcfl-client/0.1"


class Transport:
    """Requests below ``URL/api/v1``.

    Reads, and writes with an idempotency key, are repeated up to `retries` times when the
    connection breaks or the console is busy. `renew` is asked for a new token once a call when
    the one in use has ended.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        timeout: float = 30.0,
        retries: int = 5,
        http: httpx.Client | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._always = dict(headers or {})
        self.token = token
        self.retries = retries
        self.renew: Callable[[], str] | None = None
        self._own = http is None
        self._http = http or httpx.Client(timeout=timeout, follow_redirects=False)

    def close(self) -> None:
        if self._own:
            self._http.close()

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return json_of(self.request("GET", path, params=params))

    def post(
        self, path: str, body: Any = None, *, key: str | None = None, signed_in: bool = True
    ) -> Any:
        """JSON of the answer; None when it is empty. `key`: the idempotency key, else a new one."""
        answer = self.request("POST", path, body=body, key=key, signed_in=signed_in)
        return json_of(answer) if answer.content else None

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
        signed_in: bool = True,
    ) -> httpx.Response:
        """Raises ApiProblem and ConsoleUnreachable."""
        sent = dict(headers or {})
        if method not in SAFE and signed_in:
            sent["Idempotency-Key"] = key or str(uuid.uuid4())
        repeatable = method in SAFE or "Idempotency-Key" in sent
        renewed = False
        attempt = 0
        while True:
            request = self._http.build_request(
                method,
                self._address(path),
                params=_given(params),
                json=body,
                content=content,
                headers=self._headers(sent, signed_in),
            )
            try:
                answer = self._http.send(request)
                if answer.is_success:
                    return answer
                error: ApiProblem | ConsoleUnreachable = _refusal(answer)
                again = repeatable and answer.status_code in AGAIN
                if isinstance(error, NotSignedIn) and signed_in and self.renew and not renewed:
                    renewed, self.token = True, self.renew()
                    continue
            except httpx.TransportError as failure:
                error = self._unreachable(failure)
                again = repeatable
            if not again or attempt >= self.retries:
                raise error
            time.sleep(_pause(attempt, getattr(error, "retry_after", None)))
            attempt += 1

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Iterator[httpx.Response]:
        """One GET whose body is read piece by piece; not repeated here."""
        limits = httpx.Timeout(30.0, read=timeout)
        try:
            with self._http.stream(
                "GET",
                self._address(path),
                params=_given(params),
                headers=self._headers(headers or {}, True),
                timeout=limits,
            ) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _refusal(answer)
                yield answer
        except httpx.TransportError as failure:
            raise self._unreachable(failure) from failure

    def _address(self, path: str) -> str:
        return f"{self.url}/api/v1{path}"

    def _headers(self, given: Mapping[str, str], signed_in: bool) -> dict[str, str]:
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **self._always, **given}
        if self.token and signed_in:
            headers["Authorization"] = f"Bearer {self.token}"
        return headers

    def _unreachable(self, failure: httpx.TransportError) -> ConsoleUnreachable:
        return ConsoleUnreachable(
            f"{self.url} does not answer ({failure or type(failure).__name__}). Check the "
            "address and that the console is up."
        )


def json_of(answer: httpx.Response) -> Any:
    """Raises ConsoleUnreachable when it is something else."""
    try:
        return answer.json()
    except ValueError as error:
        raise _no_console(answer) from error


def _no_console(answer: httpx.Response) -> ConsoleUnreachable:
    return ConsoleUnreachable(
        f"{answer.url} answered HTTP {answer.status_code} in "
        f"{answer.headers.get('Content-Type', 'no format')}: that is no BCFL Console, or a proxy "
        "before it. Give the address of the console's first page."
    )


def _refusal(answer: httpx.Response) -> ApiProblem | ConsoleUnreachable:
    kind = answer.headers.get("Content-Type", "")
    if "json" not in kind and answer.status_code < 500:
        return _no_console(answer)
    try:
        body = answer.json()
    except ValueError:
        body = None
    after = answer.headers.get("Retry-After", "")
    return problem(answer.status_code, body, float(after) if after.isdigit() else None)


def _pause(attempt: int, told: float | None) -> float:
    pause = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
    return max(told or 0.0, pause * random.uniform(0.5, 1.0))  # noqa: S311 (spreads the callers)


def _given(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value not in (None, "")}
