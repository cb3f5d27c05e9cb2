"""Administration and settings: users, audit log, jobs, health, tokens, webhooks, the bell."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from allauth.usersessions.models import UserSession
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from bcfl_site.tasks import run
from sessions_app import audit
from sessions_app.errors import InvalidWebhook
from sessions_app.models import (
    ApiToken,
    AuditEntry,
    MaintenanceJob,
    Notification,
    Task,
    User,
    Webhook,
    WebhookDelivery,
)
from sessions_app.services import outreach, webhooks
from sessions_app.services.invitations import invitation_create
from sessions_app.services.tokens import token_create
from sessions_app.tasks import deliver_webhook, tell_people
from tests import factories

pytestmark = pytest.mark.django_db


class Receiver(HTTPServer):
    """A real HTTP server on this machine that keeps what it is sent."""

    answer = 200
    got: ClassVar[list[tuple[dict[str, str], bytes]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            Receiver.got.append((dict(self.headers), body))
            self.send_response(self.server.answer)  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Quiet."""


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    Receiver.got.clear()
    with Receiver(("127.0.0.1", 0), Receiver.Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def url_of(server: Receiver) -> str:
    return f"http://127.0.0.1:{server.server_port}/hook"


ADMIN_PAGES = ("/users/", "/audit/", "/maintenance/")


@pytest.mark.parametrize("path", [*ADMIN_PAGES, "/health/"])
def test_who_sees_what(
    as_admin: Client, as_operator: Client, as_participant: Client, path: str
) -> None:
    assert as_admin.get(path).status_code == 200
    assert as_operator.get(path).status_code == (403 if path in ADMIN_PAGES else 200)
    assert as_participant.get(path).status_code == 403


def test_roles_and_closed_accounts(as_admin: Client, admin: User, participant: User) -> None:
    pk = participant.pk
    page = as_admin.post(f"/users/{pk}/role/", {"role": "operator"}, follow=True)
    assert "Eastfield is now operator." in page.content.decode()
    theirs = Client()
    theirs.login(username="eastfield", password="pass-word-1")
    assert theirs.get("/").status_code == 200
    as_admin.post(f"/users/{pk}/active/", {"active": "0"})
    assert theirs.get("/").status_code == 302, "signed out at once"
    myself = as_admin.post(f"/users/{admin.pk}/active/", {"active": "0"}, follow=True)
    assert "Only another admin may" in myself.content.decode()
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == [
        "user.change_role",
        "user.activate",
    ]
    found = as_admin.get("/users/?q=east&role=operator").content.decode()
    assert "Closed" in found
    assert "Nobody fits" in as_admin.get("/users/?q=nobody").content.decode()


def test_the_audit_log_pages_filters_and_exports(as_admin: Client, operator: User) -> None:
    for number in range(52):
        audit.record(operator, "task.create", f"task:{number}", {"title": f"=Task {number}"})
    audit.record(None, "maintenance.run", "job:1")
    first = as_admin.get("/audit/").content.decode()
    assert "task:51" in first
    assert "Older entries" in first
    one = as_admin.get("/audit/?action=maintenance.run").content.decode()
    assert "the console" in one
    assert "task:51" not in one
    rows = list(csv.DictReader(as_admin.get("/audit/?format=csv").content.decode().splitlines()))
    assert (len(rows), rows[0]["action"]) == (53, "maintenance.run")
    entries = as_admin.get("/audit/?format=json&target=task:7").json()["entries"]
    assert [entry["details"] for entry in entries] == [{"title": "=Task 7"}]
    assert as_admin.get("/audit/?before=x").status_code == 400


def test_a_job_is_queued_once_and_tells_how_it_ended(
    as_admin: Client, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = factories.finished_task(operator)
    as_admin.post("/maintenance/", {"kind": "rebuild"})
    job = MaintenanceJob.objects.get()
    second = as_admin.post("/maintenance/", {"kind": "reconcile"})
    assert second.status_code == 409
    assert "wait for its end" in second.content.decode()
    monkeypatch.setattr(
        "sessions_app.projection.tables._current_addresses",
        lambda network: [factories.COORDINATOR, factories.TOKEN],
    )
    run(job.pk)
    job.refresh_from_db()
    assert job.status == "done", job.error
    assert job.result is not None
    assert job.result["folded"] > 20
    assert Task.objects.get(pk=story.task.pk).phase == "completed"
    assert "events folded again" in as_admin.get("/maintenance/?part=1").content.decode()


def test_a_job_without_a_chain_says_so(as_admin: Client, settings: Settings) -> None:
    as_admin.post("/maintenance/", {"kind": "reconcile"})
    job = MaintenanceJob.objects.get()
    settings.NETWORKS = {
        settings.CHAIN_NETWORK: {"rpc_url": "http://127.0.0.1:1", "chain_id": 31337}
    }
    with pytest.raises(Exception):  # noqa: B017 (the worker's log has it; the row is what counts)
        run(job.pk)
    job.refresh_from_db()
    assert job.status == "failed"
    assert job.error


def test_health_tells_what_is_away(
    as_operator: Client, operator: User, settings: Settings, tmp_path: Path
) -> None:
    settings.REDIS_URL = f"unix://{tmp_path / 'nobody-listens'}"
    story = factories.TaskStory(factories.draft(operator)).fund().seat().join(3)
    story.refuse(slot=3)
    page = as_operator.get("/health/").content.decode()
    assert "Needs a hand: Redis, Queues." in page
    assert "Start Redis" in page
    assert "Join by Northgate" in page


def test_a_token_is_shown_once(as_operator: Client, operator: User) -> None:
    form = {"name": "nightly", "scope": "read", "days": "30"}
    answer = as_operator.post("/settings/tokens/", form)
    text = answer.content.decode()
    token = ApiToken.objects.get()
    shown = text.split('id="token">')[1].split("<")[0]
    assert shown.startswith(token.prefix)
    assert answer["Cache-Control"] == "no-store"
    api = Client().get("/api/v1/me", headers={"Authorization": f"Bearer {shown}"})
    assert api.json()["username"] == "mara"
    page = as_operator.get("/settings/").content.decode()
    assert "nightly" in page
    assert shown not in page
    as_operator.post(f"/settings/tokens/{token.pk}/revoke/", follow=True)
    assert "nightly" not in as_operator.get("/settings/").content.decode()
    refused = as_operator.post("/settings/tokens/", {"name": "", "scope": "read"})
    assert refused.status_code == 422


def test_other_sessions_are_ended(operator: User) -> None:
    here, there = Client(), Client()
    for client in (here, there):
        client.post("/sign-in/", {"login": "mara", "password": "pass-word-1"})
    assert "End all others" in here.get("/settings/").content.decode()
    page = here.post("/settings/sessions/end/", follow=True).content.decode()
    assert "1 other session ended." in page
    assert there.get("/").status_code == 302


def test_one_session_is_ended_by_its_owner(
    as_operator: Client, operator: User, as_admin: Client
) -> None:
    """Those that began without a sign-in page are listed too."""
    there = Client()
    there.force_login(operator)
    there.get("/settings/")
    session = UserSession.objects.get(session_key=there.session.session_key)
    page = as_operator.get("/settings/").content.decode()
    assert page.count("End the session from 127.0.0.1") == 1
    assert as_admin.post(f"/settings/sessions/{session.pk}/end/").status_code == 403
    page = as_operator.post(f"/settings/sessions/{session.pk}/end/", follow=True).content.decode()
    assert "The session is ended" in page
    assert there.get("/").status_code == 302
    again = as_operator.post(f"/settings/sessions/{session.pk}/end/", follow=True).content.decode()
    assert "That session has ended already" in again
    assert AuditEntry.objects.filter(action="session.end", actor=operator).count() == 1


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://127.0.0.1/x", "not a public address"),
        ("http://[::1]:8000/x", "not a public address"),
        ("http://169.254.169.254/latest", "not a public address"),
        ("http://10.0.0.4/", "not a public address"),
        ("ftp://example.org/x", "is not like"),
        ("https://user:secret@example.org/", "is not like"),
    ],
)
def test_webhooks_never_look_into_our_network(operator: User, url: str, text: str) -> None:
    with pytest.raises(InvalidWebhook, match=text):
        webhooks.webhook_create(user=operator, url=url, events=["fault"])


def test_a_webhook_is_signed_tried_again_and_logged(
    as_operator: Client, operator: User, receiver: Receiver
) -> None:
    form = {"url": url_of(receiver), "events": ["round.finalized", "task.completed"]}
    as_operator.post("/settings/webhooks/", form)
    hook = operator.webhooks.get()
    factories.finished_task(operator, title="Told by HTTP")
    assert outreach.advance() > 0
    assert outreach.advance() == 0, "nobody is told twice"
    events = hook.deliveries.order_by("pk").values_list("event", flat=True)
    assert list(events) == [*["round.finalized"] * 3, "task.completed"]
    assert len(webhooks.deliveries_due()) == 4
    assert webhooks.deliveries_due() == [], "leased"

    receiver.answer = 503
    row = webhooks.deliver(hook.deliveries.last().pk)  # type: ignore[union-attr]
    assert (row.status, row.attempts, row.response_status) == ("waiting", 1, 503)
    assert row.next_at is not None
    assert row.next_at > timezone.now()
    receiver.answer = 204
    row = webhooks.deliver(row.pk)
    assert (row.status, row.attempts) == ("delivered", 2)
    headers, body = Receiver.got[-1]
    moment = int(headers["X-BCFL-Signature"].split(",")[0].removeprefix("t="))
    assert headers["X-BCFL-Signature"] == webhooks.signature(hook.secret, moment, body)
    sent = json.loads(body)
    assert sent["data"]["task"]["title"] == "Told by HTTP"
    assert sent["data"]["round"] == 1
    page = as_operator.get(f"/settings/webhooks/{hook.pk}/").content.decode()
    assert "Delivered" in page
    assert hook.secret in page


def test_the_clock_tells_people_and_delivers(
    operator: User, receiver: Receiver, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert "sessions_app.tasks.tell_people" in names
    monkeypatch.setattr(deliver_webhook, "delay", deliver_webhook)  # no worker here
    hook = webhooks.webhook_create(user=operator, url=url_of(receiver), events=["task.completed"])
    factories.finished_task(operator, title="Told by the clock")
    tell_people()
    assert Notification.objects.filter(user=operator, event="task.completed").count() == 1
    assert [row.status for row in hook.deliveries.all()] == ["delivered"]


def test_a_webhook_is_given_up_in_the_end(operator: User, receiver: Receiver) -> None:
    hook = webhooks.webhook_create(user=operator, url=url_of(receiver), events=["fault"])
    receiver.answer = 500
    row = webhooks.webhook_test(webhook=hook, by=operator)
    for _ in range(len(webhooks.PAUSES) + 1):
        row = webhooks.deliver(row.pk)
    assert (row.status, row.next_at) == (WebhookDelivery.Status.FAILED, None)


def test_webhooks_of_others_are_not_there(as_participant: Client, operator: User) -> None:
    hook = operator.webhooks.create(url="https://example.org/", events=["fault"])
    assert as_participant.get(f"/settings/webhooks/{hook.pk}/").status_code == 404


def test_the_bell_and_what_it_is_told(
    as_operator: Client, as_participant: Client, operator: User, participant: User
) -> None:
    story = factories.finished_task(operator, title="Rung for")
    failed = factories.draft(
        operator,
        "Stopped",
        stage=Task.Stage.FAILED,
        failure="No tokens.",
        launched_at=timezone.now(),
    )
    outreach.advance()
    mine = set(Notification.objects.filter(user=operator).values_list("event", flat=True))
    assert mine == {"task.completed", "fault"}
    theirs = Notification.objects.filter(user=participant)
    assert {n.event for n in theirs} == {"task.completed", "reward.earned"}
    earned = theirs.get(event="reward.earned")
    assert earned.title.startswith("Earned") or "FLT earned in round 3" in earned.title
    page = as_operator.get("/notifications/").content.decode()
    assert "2 new." in page
    assert f"/tasks/{failed.pk}/" in page
    assert 'class="count">2<' in as_operator.get("/notifications/bell/").content.decode()
    as_operator.post("/notifications/")
    assert 'class="count"' not in as_operator.get("/notifications/bell/").content.decode()
    assert story.task.pk


def test_a_fault_that_is_only_mailed_is_mailed_once(
    operator: User, django_capture_on_commit_callbacks: Any, mailoutbox: Any
) -> None:
    """A fault is read again every two seconds for an hour, and a mail leaves no row."""
    cache.clear()
    User.objects.update(email="mara@example.org", notify={"fault": ["mail"]})
    factories.draft(
        operator, "Stopped", stage=Task.Stage.FAILED, failure="No.", launched_at=timezone.now()
    )
    for told in (1, 0, 0):
        with django_capture_on_commit_callbacks(execute=True):
            assert outreach.advance() == told
    assert [letter.subject for letter in mailoutbox] == ["BCFL Console: The launch failed: Stopped"]
    assert not Notification.objects.filter(user=operator).exists()


def test_faults_that_all_know_cost_no_query_each(operator: User) -> None:
    def queries(failed: int) -> int:
        for _ in range(failed):
            factories.draft(
                operator, "F", stage=Task.Stage.FAILED, failure="No.", launched_at=timezone.now()
            )
        outreach.advance()
        with CaptureQueriesContext(connection) as asked:
            assert outreach.advance() == 0
        return len(asked)

    assert queries(1) == queries(9)


def test_choices_of_news_are_kept(
    as_operator: Client, operator: User, django_capture_on_commit_callbacks: Any, mailoutbox: Any
) -> None:
    User.objects.update(email="mara@example.org")
    as_operator.post("/settings/notifications/", {"task.completed:mail": "1"})
    factories.finished_task(operator, title="Mailed")
    with django_capture_on_commit_callbacks() as left:
        outreach.advance()
    for callback in left:
        callback()
    assert [letter.subject for letter in mailoutbox] == ["BCFL Console: Mailed is completed"]
    assert not Notification.objects.filter(user=operator).exists()


EXPORTS = {
    "/users/": "username",
    "/users/?role=operator": "username",
    "/invitations/": "email",
    "/maintenance/": "kind",
    "/health/": "part",
    "/notifications/": "title",
    "/tasks/": "title",
    "/tasks/?show=ended": "title",
}


@pytest.mark.parametrize(("path", "column"), EXPORTS.items())
def test_lists_are_files_too(
    as_admin: Client, admin: User, operator: User, path: str, column: str
) -> None:
    factories.finished_task(operator, title="=A formula")
    as_admin.post("/maintenance/", {"kind": "reconcile"})
    invitation_create(by=admin, role="operator", email="new@example.org")
    Notification.objects.create(user=admin, event="fault", key="k", title="=1", at=timezone.now())
    join = "&" if "?" in path else "?"
    page = as_admin.get(path).content.decode()
    assert "format=csv" in page
    assert "format=json" in page
    rows = list(
        csv.DictReader(as_admin.get(f"{path}{join}format=csv").content.decode().split("\n"))
    )
    told = json.loads(as_admin.get(f"{path}{join}format=json").content)
    assert len(rows) == len(told) > 0
    assert list(rows[0]) == list(told[0])
    assert not any(row[column].startswith("=") for row in rows), "no formula for a spreadsheet"
    assert as_admin.get(f"{path}{join}format=xml").status_code == 404


def test_sessions_and_tokens_are_files_without_what_lets_anybody_in(
    as_operator: Client, as_participant: Client, operator: User
) -> None:
    _, text = token_create(user=operator, name="=1+1", days=30)
    page = as_operator.get("/settings/").content.decode()
    told = {}
    for what in ("sessions", "tokens"):
        for style in ("csv", "json"):
            assert f'href="/settings/{what}.{style}"' in page
        answer = as_operator.get(f"/settings/{what}.csv").content.decode()
        rows = list(csv.DictReader(answer.split("\n")))
        told[what] = as_operator.get(f"/settings/{what}.json").json()
        assert [list(row) for row in rows] == [list(row) for row in told[what]]
        assert len(rows) == 1
        assert "=1+1" not in {row.get("name") for row in rows}, "no formula for a spreadsheet"
        secret = as_operator.session.session_key if what == "sessions" else text
        assert str(secret) not in answer + json.dumps(told[what])
    assert told["sessions"][0]["this_one"] is True
    assert (told["tokens"][0]["name"], told["tokens"][0]["prefix"]) == ("=1+1", text[:12])
    assert as_participant.get("/settings/tokens.json").json() == []
    assert as_operator.get("/settings/tokens.xml").status_code == 404
    assert Client().get("/settings/sessions.csv").status_code == 302


def test_what_was_delivered_is_a_file(as_operator: Client, operator: User) -> None:
    hook = operator.webhooks.create(url="https://example.org/", events=["fault"])
    row = webhooks.webhook_test(webhook=hook, by=operator)
    told = json.loads(as_operator.get(f"/settings/webhooks/{hook.pk}/?format=json").content)
    assert [line["id"] for line in told] == [str(row.uuid)]


def test_the_secret_of_a_webhook_is_not_in_the_database(
    as_operator: Client, operator: User, settings: Settings
) -> None:
    hook = operator.webhooks.create(url="https://example.org/", events=["fault"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM sessions_app_webhook")
        (stored,) = cursor.fetchone()
    secret = Webhook.objects.get(pk=hook.pk).secret
    assert secret.startswith("whsec_")
    assert secret not in stored
    settings.SECRET_KEY = "another"
    as_operator.force_login(operator)
    row = webhooks.deliver(webhooks.webhook_test(webhook=hook, by=operator).pk)
    assert "SECRET_KEY has changed" in row.error
    assert "cannot be read" in as_operator.get(f"/settings/webhooks/{hook.pk}/").content.decode()
