"""schemathesis reads our OpenAPI and calls every operation with what it makes up: valid and not.

Bounded and the same each time; more of it by hand:

    SCHEMATHESIS_EXAMPLES=200 python -m pytest tests/api/test_schemathesis.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from sessions_app.models import ApiToken, User
from sessions_app.services.tokens import token_create
from tests import factories

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "2"))
# What a schema cannot say is refused with 422: a pool smaller than its rounds, a cursor of another
# list. So "valid by the schema" may be refused; that is the one check left out.
LEFT_OUT = [positive_data_acceptance]


@pytest.fixture(autouse=True)
def _one_transaction() -> Iterator[None]:
    """Requests stay in the test's transaction, as with Django's own test client."""
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    yield
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)


@pytest.fixture
def operator(db: None, settings: Any) -> User:
    """Of a console with a finished task, a running one and a draft."""
    operator = factories.user("operator")
    factories.account("Evaluator 1", "evaluator")
    factories.finished_task(operator)
    factories.running_task(operator, rounds=1)
    factories.draft(operator)
    settings.API_RATE = settings.API_RATE_ANONYMOUS = 10**9
    return operator


def test_every_operation_keeps_to_its_description(operator: User) -> None:
    app = get_wsgi_application()
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
    found: list[str] = []
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 40
    for operation in operations:
        for mode in GenerationMode:
            found += _failures(operator, operation, mode)
    assert not found, "\n\n".join(found)


def _failures(operator: User, operation: Any, mode: GenerationMode) -> list[str]:
    _, text = token_create(user=operator, name="schemathesis", scope="write")

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: schemathesis.Case) -> None:
        case.call_and_validate(
            headers={"Authorization": f"Bearer {text}"}, excluded_checks=LEFT_OUT
        )

    try:
        run()
    except Unsatisfiable:
        return []  # it takes nothing that could be made wrong
    except (Exception, BaseExceptionGroup) as error:
        return [f"{operation.label}, {mode.value}: {error}"]
    finally:
        ApiToken.objects.all().delete()
    return []
