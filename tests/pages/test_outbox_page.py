"""The outbox as a list of the ledger: cause, arguments, and sending again."""

from __future__ import annotations

import pytest
from django.test import Client

from chain.models import OutgoingStatus, OutgoingTransaction
from sessions_app.models import User
from tests import factories

CAUSE = "Participants must not be more than allowed (taskId 7, maxParticipants 5)."


@pytest.fixture
def failed(operator: User) -> OutgoingTransaction:
    story = factories.running_task(operator)
    story.refuse("join", slot=1, error=CAUSE)
    row = OutgoingTransaction.objects.get(status="failed")
    row.error_name, row.error_args = "TaskFull", {"taskId": 7, "maxParticipants": 5}
    row.save()
    return row


def test_a_failure_shows_its_cause_and_the_error_decoded(
    as_operator: Client, failed: OutgoingTransaction
) -> None:
    page = as_operator.get("/ledger/outbox/?state=failed").content.decode()
    assert CAUSE in page
    assert "maxParticipants" in page
    assert f'action="/ledger/outbox/{failed.pk}/retry/"' in page
    assert f'id="outgoing-{failed.pk}"' in page


def test_the_operator_sends_it_again(as_operator: Client, failed: OutgoingTransaction) -> None:
    back = "/ledger/outbox/?state=failed"
    answer = as_operator.post(f"/ledger/outbox/{failed.pk}/retry/", {"next": back})
    assert (answer.status_code, answer["Location"]) == (302, back)
    failed.refresh_from_db()
    assert (failed.status, failed.error, failed.error_args) == (OutgoingStatus.QUEUED, "", {})
    # Pressed twice: the second finds it queued, and says so.
    said = as_operator.post(f"/ledger/outbox/{failed.pk}/retry/", follow=True).content.decode()
    assert "only a failed or cancelled one can be retried" in said


def test_others_may_not(as_participant: Client, failed: OutgoingTransaction) -> None:
    other = Client()
    other.force_login(factories.user("operator", name="Somebody"))
    assert as_participant.post(f"/ledger/outbox/{failed.pk}/retry/").status_code == 403
    said = other.post(f"/ledger/outbox/{failed.pk}/retry/", follow=True).content.decode()
    assert "Ask them." in said
    failed.refresh_from_db()
    assert failed.status == OutgoingStatus.FAILED
    # What belongs to no task is for admins.
    OutgoingTransaction.objects.update(reference="funding")
    other.post(f"/ledger/outbox/{failed.pk}/retry/")
    failed.refresh_from_db()
    assert failed.status == OutgoingStatus.FAILED


def test_an_unknown_row_and_a_foreign_way_back(
    as_admin: Client, failed: OutgoingTransaction
) -> None:
    assert as_admin.post("/ledger/outbox/999999/retry/").status_code == 404
    answer = as_admin.post(
        f"/ledger/outbox/{failed.pk}/retry/", {"next": "https://elsewhere.example/"}
    )
    assert answer["Location"] == "/ledger/outbox/"


def test_an_unknown_state_is_named(as_operator: Client) -> None:
    answer = as_operator.get("/ledger/outbox/?state=lost")
    assert answer.status_code == 400
    assert "it has no “lost”" in answer.content.decode()
