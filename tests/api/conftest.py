"""Programs that call the API of a console with no chain and no worker."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from sessions_app.models import User
from sessions_app.services.tokens import token_create
from tests import factories


class Program:
    """A client with a token; paths are below ``/api/v1``."""

    def __init__(self, token: str = "") -> None:
        self.client = Client(headers={"Authorization": f"Bearer {token}"} if token else {})
        self.token = token

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api/v1{path}", query)

    def send(self, method: str, path: str, body: Any = None, key: str = "") -> HttpResponse:
        headers = {"Idempotency-Key": key} if key else {}
        return self.client.generic(
            method,
            f"/api/v1{path}",
            b"" if body is None else _json(body),
            content_type="application/json",
            headers=headers,
        )

    def post(self, path: str, body: Any = None, key: str = "") -> Any:
        return self.send("POST", path, body, key)


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


def program(user: User, scope: str = "write") -> Program:
    return Program(token_create(user=user, name="test", scope=scope)[1])


@pytest.fixture(autouse=True)
def _rates(rates_from_zero: None) -> None:
    """Each test has its own quota."""


@pytest.fixture
def operator(db: None) -> User:
    return factories.user("operator")


@pytest.fixture
def participant(db: None) -> User:
    return factories.user("participant")


@pytest.fixture
def admin(db: None) -> User:
    return factories.user("admin", is_superuser=True)


@pytest.fixture
def as_operator(operator: User) -> Program:
    return program(operator)


@pytest.fixture
def as_participant(participant: User) -> Program:
    return program(participant)


@pytest.fixture
def as_admin(admin: User) -> Program:
    return program(admin)
