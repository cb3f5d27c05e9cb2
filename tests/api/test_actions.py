"""Every action of the pages is an operation of the API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import NoReverseMatch, URLPattern, URLResolver, get_resolver, reverse

from sessions_app.api.urls import api
from tests import factories
from tests.api.conftest import Program

# Page's action → operation. A new action: add its operation to a router, then a line here.
OPERATIONS = {
    "task-edit": "task_change",
    "task-start": "task_launch",
    "task-begin": "task_start",
    "task-pause": "task_pause",
    "task-resume": "task_resume",
    "task-invite": "invitations_create",
    "task-remove": "task_remove",
    "task-top-up": "task_top_up",
    "task-cancel": "task_cancel",
    "task-clone": "task_clone",
    "task-claim": "task_claim",
    "rewards-claim": "task_claim",
    "task-new": "task_create",
    "invitations": "invitations_create",
    "invitation-revoke": "invitations_revoke",
    "outgoing-retry": "ledger_retry",
    "model-rollback": "models_roll_back",
    "model-promote": "versions_promote",
    "model-retire": "versions_retire",
    "model-restore": "versions_restore",
    "model-predict": "models_predict",
    "model-file-request": "versions_file_request",
    "draft": "drafts_change",
    "draft-save": "drafts_change",
    "draft-delete": "drafts_delete",
    "template-new": "templates_create",
    "template-delete": "templates_delete",
    "price-save": "prices_remember",
    "price-forget": "prices_forget",
    "token-new": "tokens_create",
    "token-revoke": "tokens_revoke",
    "webhook-new": "webhooks_create",
    "webhook": "webhooks_delete",
    "notification-choices": "notification_choose",
    "notifications": "notifications_read",
    "user-role": "users_role",
    "user-active": "users_active",
    "maintenance": "maintenance_start",
    "task-wallet-launch": "task_wallet_launch",
    "task-wallet-undo": "task_wallet_undo",
    "wallet-message": "auth_message",
    "wallet-sign-in": "auth_wallet",
}
# What only a browser needs: forms and browser sessions of a person's own account and its second
# factor, looks, and wallets (a program signs for itself; see docs/api.md).
PAGES_ONLY = (
    "account_",
    "mfa_",
    "login",
    "logout",
    "invitation",
    "settings",
    "session",
    "theme",
    "model-warm",
    "wallet-",
    "health",
)


def patterns(found: list[URLPattern | URLResolver]) -> Iterator[URLPattern]:
    for pattern in found:
        if isinstance(pattern, URLPattern):
            yield pattern
        elif not str(pattern.pattern).startswith(("admin/", "api/")):
            yield from patterns(pattern.url_patterns)


def posts(client: Client) -> Iterator[str]:
    """Names of the pages that take a POST."""
    for pattern in patterns(get_resolver().url_patterns):
        values = {
            name: 1 if "Int" in type(converter).__name__ else "x"
            for name, converter in pattern.pattern.converters.items()
        }
        if pattern.name is None:
            continue
        try:
            path = reverse(pattern.name, kwargs=values)
        except NoReverseMatch:
            continue
        if client.post(path).status_code != 405:
            yield pattern.name


def test_every_action_of_a_page_has_an_operation(db: None) -> None:
    client = Client()
    admin = factories.user("admin")
    names = set()
    client.force_login(admin)
    for name in posts(client):
        names.add(name)
        client.force_login(admin)  # one of them signs out
    assert "task-cancel" in names
    schema = api.get_openapi_schema()
    offered = {
        operation["operationId"] for path in schema["paths"].values() for operation in path.values()
    }
    missing = {
        name
        for name in names
        if OPERATIONS.get(name) not in offered
        and (name in OPERATIONS or not name.startswith(PAGES_ONLY))
    }
    assert not missing, f"actions without an operation of the API: {sorted(missing)}"


def test_steering_over_the_api(as_operator: Program, as_participant: Program, db: None) -> None:
    task = factories.running_task(factories.User.objects.get(username="mara"), rounds=1).task
    path = f"/tasks/{task.pk}"
    assert as_participant.post(f"{path}/pause").status_code == 403
    assert as_operator.post(f"{path}/pause").status_code == 200
    assert as_operator.post(f"{path}/pause").status_code == 409
    assert as_operator.post(f"{path}/resume").status_code == 200
    made = as_operator.post("/invitations", {"task": task.pk})
    assert made.status_code == 201, made.content
    assert as_operator.get("/invitations").json()[0]["id"] == made.json()["id"]
    assert as_operator.post(f"/invitations/{made.json()['id']}/revoke").status_code == 200
    assert as_participant.get("/invitations").status_code == 403


@pytest.mark.parametrize("path", ["/api/v1/docs", "/api/v1/openapi.json"])
def test_the_description_is_there(as_operator: Program, db: None, path: str) -> None:
    client = Client()
    client.force_login(factories.User.objects.get(username="mara"))
    answer = client.get(path)
    assert answer.status_code == 200
    assert b"task_launch" in answer.content
