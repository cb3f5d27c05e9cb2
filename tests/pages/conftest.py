"""People signed in to a console with no chain and no worker: pages only read the database."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from sessions_app.models import User
from tests import factories


@pytest.fixture(scope="session", autouse=True)
def static_root() -> None:
    """Whitenoise warns about a folder that `collectstatic` has not made."""
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)


@pytest.fixture
def operator(db: None) -> User:
    return factories.user("operator")


@pytest.fixture
def participant(db: None) -> User:
    return factories.user("participant")


@pytest.fixture
def admin(db: None) -> User:
    return factories.user("admin", is_superuser=True)


def _signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def as_operator(operator: User) -> Client:
    return _signed_in(operator)


@pytest.fixture
def as_participant(participant: User) -> Client:
    return _signed_in(participant)


@pytest.fixture
def as_admin(admin: User) -> Client:
    return _signed_in(admin)
