"""What stands around tasks: drafts, templates, prices, comparisons; news; and the admin's desk."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from pytest_django import Settings

from sessions_app.models import (
    AuditEntry,
    MaintenanceJob,
    Notification,
    Task,
    TaskDraft,
    User,
)
from tests import factories
from tests.api.conftest import Program
from tests.api.test_base import check_problem

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _evaluator(db: None) -> None:
    factories.account("Evaluator 1", "evaluator")


# --- drafts -------------------------------------------------------------------------------------


def test_a_draft_becomes_a_task(as_operator: Program, as_participant: Program) -> None:
    keys = [row["key"] for row in as_operator.get("/templates").json()]
    assert "built-in:first" in keys
    made = as_operator.post("/drafts", {"template": "built-in:first", "values": {"pool": "lots"}})
    assert made.status_code == 201, made.content
    draft = made.json()
    path = f"/drafts/{draft['id']}"
    assert [row["field"] for row in draft["problems"]] == ["pool"]
    check_problem(as_operator.get(f"{path}/quote"), 409, "conflict")
    unfinished = check_problem(as_operator.post(f"{path}/finish", {}), 422, "invalid")
    assert unfinished["errors"][0]["field"] == "draft.pool"
    check_problem(as_participant.get(path), 403, "not-allowed")
    check_problem(as_participant.post("/drafts", {}), 403, "not-allowed")

    saved = as_operator.send("PATCH", path, {"values": {"pool": "70", "title": "By program"}})
    assert (saved.status_code, saved.json()["problems"]) == (200, [])  # type: ignore[attr-defined]
    assert saved.json()["values"]["title"] == "By program"  # type: ignore[attr-defined]
    assert as_operator.get("/drafts").json()["items"][0]["title"] == "By program"
    quote = as_operator.get(f"{path}/quote").json()
    assert (int(quote["pool"]), quote["networks"]) == (70 * 10**18, [])
    shares = as_operator.get(f"{path}/partition").json()["shares"]
    assert len(shares) == quote["participants"]

    done = as_operator.post(f"{path}/finish", {"launch": False}, key="once")
    assert done.status_code == 200, done.content
    task = done.json()["task"]
    assert (task["title"], task["state"], done.json()["trouble"]) == ("By program", "draft", "")
    again = as_operator.post(f"{path}/finish", {"launch": False}, key="once")
    assert again["Idempotency-Replayed"] == "true"
    assert Task.objects.count() == 1
    check_problem(as_operator.get(path), 404, "not-found")


def test_a_draft_from_a_task_that_another_page_changed(as_operator: Program) -> None:
    task = factories.draft(User.objects.get(username="mara"))
    draft = as_operator.post("/drafts", {"template": f"task:{task.pk}"}).json()
    assert draft["origin"].startswith(f"Clone of task {task.pk}")
    TaskDraft.objects.update(version=7, editor="a page")
    body = {"values": {"title": "T"}, "version": 0}
    moved = check_problem(
        as_operator.send("PATCH", f"/drafts/{draft['id']}", body), 409, "conflict"
    )
    assert "changed on another page" in moved["detail"]
    assert as_operator.send("DELETE", f"/drafts/{draft['id']}").status_code == 204
    check_problem(as_operator.post("/drafts", {"template": "saved:9"}), 404, "not-found")


def test_templates_and_prices(as_operator: Program, as_participant: Program) -> None:
    task = factories.draft(User.objects.get(username="mara"))
    body = {"task": task.pk, "name": "Monthly", "shared": True}
    made = as_operator.post("/templates", body).json()
    draft = as_operator.post("/drafts", {"template": made["key"]}).json()
    assert draft["origin"] == "Template: Monthly"
    check_problem(as_participant.post("/templates", body), 403, "not-allowed")

    price = {"name": "Ethereum", "gas_price": "20000000000", "coin_price": "2500.50"}
    first = as_operator.post("/prices", price).json()
    again = as_operator.post("/prices", price | {"coin_price": None}).json()
    assert (again["id"], again["coin_price"]) == (first["id"], None)
    assert as_operator.get("/prices").json() == [again]
    rows = as_operator.get(f"/drafts/{draft['id']}/quote").json()["networks"]
    quote = as_operator.get(f"/drafts/{draft['id']}/quote").json()
    assert rows[-1]["name"] == "Ethereum"
    assert int(rows[-1]["fee"]) == quote["gas"] * 20_000_000_000
    assert as_operator.send("DELETE", f"/prices/{first['id']}").status_code == 204
    check_problem(as_operator.send("DELETE", f"/prices/{first['id']}"), 404, "not-found")
    assert as_operator.send("DELETE", f"/templates/{made['id']}").status_code == 204
    check_problem(as_operator.send("DELETE", f"/templates/{made['id']}"), 404, "not-found")


def test_tasks_side_by_side(as_participant: Program, operator: User) -> None:
    first, second = factories.finished_task(operator).task, factories.draft(operator)
    found = as_participant.get("/compare", tasks=f"{second.pk},{first.pk}").json()
    assert found["tasks"] == [second.pk, first.pk]
    assert [row["task"] for row in found["figures"]] == [second.pk, first.pk]
    assert {row["task"] for row in found["curves"]} == {first.pk}
    assert any(row["differs"] for row in found["config"])
    check_problem(as_participant.get("/compare", tasks="999"), 404, "not-found")
    check_problem(as_participant.get("/compare", tasks="one"), 422, "invalid")


# --- news ---------------------------------------------------------------------------------------


def test_webhooks(
    as_operator: Program, as_participant: Program, settings: Settings, monkeypatch: Any
) -> None:
    place = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: place)
    body = {"url": "http://hooks.test/a", "events": ["fault"]}
    private = check_problem(as_operator.post("/webhooks", body), 422, "invalid")
    assert private["errors"][0]["field"] == "body.url"
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    wrong = check_problem(as_operator.post("/webhooks", body | {"events": ["x"]}), 422, "invalid")
    assert wrong["errors"][0]["field"] == "body.events"
    made = as_operator.post("/webhooks", body)
    assert made.status_code == 201
    path = f"/webhooks/{made.json()['id']}"
    assert made.json()["secret"].startswith("whsec_")
    assert as_operator.post(f"{path}/test").json()["event"] == "ping"
    assert as_operator.get(path).json()["deliveries"][0]["status"] == "waiting"
    reading = as_operator.post("/me/tokens", {"name": "r", "scope": "read"}).json()["token"]
    assert Program(reading).get(path).json()["secret"] == ""
    check_problem(as_participant.get(path), 403, "not-allowed")
    assert as_participant.get("/webhooks").json() == []
    assert as_operator.send("DELETE", path).status_code == 204
    assert as_operator.get("/webhooks").json() == []


def test_notifications(as_operator: Program, operator: User) -> None:
    for number in range(3):
        at = factories.timezone.now()
        Notification.objects.create(
            user=operator, key=f"k{number}", event="fault", title=f"News {number}", at=at
        )
    page = as_operator.get("/notifications", limit=2, unread=True).json()
    assert [row["title"] for row in page["items"]] == ["News 2", "News 1"]
    rest = as_operator.get("/notifications", limit=2, cursor=page["next"]).json()
    assert [row["title"] for row in rest["items"]] == ["News 0"]
    assert as_operator.post("/notifications/read").json() == {"read": 3}
    assert as_operator.get("/notifications", unread=True).json()["items"] == []
    chosen = {"ways": {"round.finalized": ["mail", "app"]}}
    rows = as_operator.send("PUT", "/notifications/choices", chosen).json()  # type: ignore[attr-defined]
    ways = {row["event"]: row["ways"] for row in rows}
    assert (ways["round.finalized"], ways["fault"]) == (["app", "mail"], ["app", "mail"])
    wrong = {"ways": {"nothing": ["app"]}}
    check_problem(as_operator.send("PUT", "/notifications/choices", wrong), 422, "invalid")


# --- the admin's desk -----------------------------------------------------------------------------


def test_accounts_are_the_admins(
    as_admin: Program, as_operator: Program, participant: User, admin: User
) -> None:
    for path in ("/users", "/audit", "/maintenance"):
        check_problem(as_operator.get(path), 403, "not-allowed")
    found = as_admin.get("/users", q=participant.username).json()["items"]
    assert [row["id"] for row in found] == [participant.pk]
    path = f"/users/{participant.pk}"
    check_problem(as_operator.post(f"{path}/role", {"role": "admin"}), 403, "not-allowed")
    assert as_admin.post(f"{path}/role", {"role": "operator"}).json()["role"] == "operator"
    assert as_admin.post(f"{path}/active", {"active": False}).json()["active"] is False
    own = as_admin.post(f"/users/{admin.pk}/role", {"role": "operator"})
    check_problem(own, 403, "not-allowed")
    check_problem(as_admin.post("/users/999/role", {"role": "operator"}), 404, "not-found")
    page = as_admin.get("/audit", limit=1).json()
    assert page["items"][0]["action"] == "user.activate"
    assert page["next"] == str(page["items"][0]["id"])
    older = as_admin.get("/audit", action="user.change_role", target=f"user:{participant.pk}")
    (entry,) = older.json()["items"]
    assert entry["details"] == {"from": "participant", "to": "operator"}
    assert AuditEntry.objects.get(pk=entry["id"]).actor == admin


def test_jobs_run_one_at_a_time(
    as_admin: Program, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr("celery.Celery.send_task", lambda _, name, args: sent.append((name, *args)))
    with django_capture_on_commit_callbacks(execute=True):
        made = as_admin.post("/maintenance", {"kind": "resync", "from_block": 5})
    assert made.status_code == 201, made.content
    assert sent == [("maintenance.run", made.json()["id"])]
    check_problem(as_admin.post("/maintenance", {"kind": "rebuild"}), 409, "conflict")
    MaintenanceJob.objects.update(status="done")
    (job,) = as_admin.get("/maintenance").json()
    assert (job["kind"], job["status"], job["from_block"]) == ("resync", "done", 5)


def test_an_invitation_says_how_long_and_why(as_operator: Program) -> None:
    made = as_operator.post("/invitations", {"days": 3, "message": "Join us"}).json()
    assert made["expires_at"]
    check_problem(as_operator.post("/invitations", {"days": 91}), 422, "invalid")
