"""The Python client against the real application, in this process."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from django.test import Client as Browser

from bcfl_client import Client
from sessions_app.models import User
from sessions_app.services.tokens import token_create
from tests import factories

URL = "http://testserver"


class InProcess(httpx.BaseTransport):
    """Requests of httpx as requests of Django's test client, in the test's own transaction."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = Browser().generic(
            request.method,
            request.url.raw_path.decode(),
            request.read(),
            content_type=request.headers.get("Content-Type", ""),
            headers=dict(request.headers),
        )
        return httpx.Response(
            answer.status_code, headers=dict(answer.items()), content=answer.content
        )


def http() -> httpx.Client:
    return httpx.Client(transport=InProcess())


@pytest.fixture(autouse=True)
def _rates(rates_from_zero: None) -> None:
    """Each test has its own quota."""


@pytest.fixture
def operator(db: None) -> User:
    return factories.user("operator")


@pytest.fixture
def console(operator: User) -> Iterator[Client]:
    """As the operator."""
    token = token_create(user=operator, name="client", scope="write")[1]
    with Client(URL, token, http=http()) as client:
        yield client
