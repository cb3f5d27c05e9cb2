"""Every page in every state answers, for every role, with a constant number of queries."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chain.models import SyncCursor, SyncState, Transaction
from sessions_app.models import Task, User
from sessions_app.selectors.chrome import chain_status
from tests import factories


def queries(client: Client, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        answer = client.get(path)
    assert answer.status_code == 200, answer.content[:500]
    return len(captured)


@pytest.mark.parametrize(
    "path", ["/", "/tasks/", "/tasks/new/", "/ledger/", "/settings/", "/search/?q=0x12"]
)
def test_strangers_are_sent_to_sign_in(db: None, path: str) -> None:
    answer = Client().get(path)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/sign-in/?next=")


def test_signing_in(operator: User) -> None:
    client = Client()
    wrong = client.post("/sign-in/", {"login": "mara", "password": "no"})
    assert "That did not work." in wrong.content.decode()
    right = client.post("/sign-in/", {"login": "mara", "password": "pass-word-1"})
    assert right["Location"] == "/"
    assert "Hello, Mara" in client.get("/").content.decode()


def test_homes_with_nothing(as_operator: Client, as_participant: Client, as_admin: Client) -> None:
    assert "You have no task yet" in as_operator.get("/").content.decode()
    assert "No seat yet" in as_participant.get("/").content.decode()
    assert "has not written a block yet" in as_admin.get("/").content.decode()


def test_homes_with_work(
    as_operator: Client, as_participant: Client, as_admin: Client, operator: User
) -> None:
    story = factories.running_task(operator, rounds=2)
    factories.draft(operator, "Waiting draft")
    page = as_operator.get("/").content.decode()
    assert "1 thing needs you." in page
    assert "Waiting draft" in page
    mine = as_participant.get("/").content.decode()
    assert "You have earned rewards" in mine
    assert f"/tasks/{story.task.pk}/claim/" in mine
    assert "Live" in as_admin.get("/").content.decode()


@pytest.mark.parametrize("path", ["/", "/tasks/", "/tasks/{pk}/", "/tasks/{pk}/parts/", "/ledger/"])
def test_queries_do_not_grow(as_operator: Client, operator: User, path: str) -> None:
    """Twice the rounds, participants and tasks: the same number of queries."""
    small = factories.running_task(operator, rounds=1, participants=2).task.pk
    few = queries(as_operator, path.format(pk=small))
    factories.finished_task(operator, title="Another")
    large = factories.running_task(operator, rounds=4, participants=7).task.pk
    many = queries(as_operator, path.format(pk=large))
    assert many <= few
    assert few <= 36


def test_the_list_filters_and_pages(as_operator: Client, operator: User) -> None:
    for number in range(52):
        factories.draft(operator, f"Draft {number}")
    factories.finished_task(operator, title="The finished one")
    everything = as_operator.get("/tasks/").content.decode()
    assert "The finished one" in everything
    assert "Older tasks" in everything
    assert "Draft 51" not in as_operator.get("/tasks/?show=ended").content.decode()
    older = re.search(r"before=(\d+)", everything)
    assert older is not None
    assert "Draft 0" in as_operator.get(f"/tasks/?before={older[1]}").content.decode()
    assert as_operator.get("/tasks/?show=nonsense").status_code == 404


def test_faults_show_cause_and_next_step(as_operator: Client, operator: User) -> None:
    story = factories.TaskStory(factories.draft(operator)).fund().seat().join(3)
    story.refuse(slot=3)
    page = as_operator.get(f"/tasks/{story.task.pk}/").content.decode()
    assert "Join by Northgate failed" in page
    assert "The stake of 10 FLT is not covered" in page
    assert "never reached the chain" in page


def test_a_silent_follower_is_told(as_operator: Client, operator: User) -> None:
    story = factories.running_task(operator, rounds=1)
    SyncCursor.objects.update(updated_at=timezone.now() - timedelta(minutes=3))
    page = as_operator.get(f"/tasks/{story.task.pk}/").content.decode()
    assert "Follower silent" in page
    assert "manage.py follow_chain" in page


def test_a_follower_that_catches_up_is_busy_not_silent(operator: User) -> None:
    factories.running_task(operator, rounds=1)
    heard = timezone.now() - timedelta(seconds=8)
    SyncCursor.objects.update(updated_at=heard, state=SyncState.LIVE)
    assert chain_status().state == "silent"
    SyncCursor.objects.update(updated_at=heard, state=SyncState.BACKFILL)
    assert chain_status().state == SyncState.BACKFILL


def test_only_the_owner_sees_the_buttons(
    as_operator: Client, as_participant: Client, operator: User
) -> None:
    story = factories.running_task(operator, rounds=1)
    path = f"/tasks/{story.task.pk}/"
    assert "Cancel the task" in as_operator.get(path).content.decode()
    theirs = as_participant.get(path).content.decode()
    assert "Cancel the task" not in theirs
    assert "Clone" not in theirs
    assert "Claim" in theirs  # Eastfield has earned something


def test_acting_without_the_right_is_refused(as_participant: Client, operator: User) -> None:
    task = factories.draft(operator)
    answer = as_participant.post(f"/tasks/{task.pk}/start/")
    assert answer.status_code == 403
    assert "needs the operator role" in answer.content.decode()
    assert as_participant.post(f"/tasks/{task.pk}/cancel/").status_code == 403
    assert as_participant.post(f"/tasks/{task.pk}/clone/").status_code == 403
    task.refresh_from_db()
    assert task.stage == Task.Stage.DRAFT


def test_a_draft_is_deleted(as_operator: Client, operator: User) -> None:
    task = factories.draft(operator)
    answer = as_operator.post(f"/tasks/{task.pk}/cancel/", follow=True)
    assert "was deleted" in answer.content.decode()
    assert not Task.objects.exists()


def test_parts_are_swapped_out_of_band(as_operator: Client, operator: User) -> None:
    task = factories.running_task(operator, rounds=1).task
    Task.objects.filter(pk=task.pk).update(live_seq=41)
    answer = as_operator.get(f"/tasks/{task.pk}/parts/?names=now,charts")
    text = answer.content.decode()
    assert answer["X-Live-Seq"] == "41"
    assert re.findall(r'id="([^"]+)" hx-swap-oob="innerHTML"', text) == [
        "part-faults",
        "part-now",
    ]
    assert as_operator.get(f"/tasks/{task.pk}/parts/?names=x").status_code == 400


def test_first_load_and_live_update_are_the_same(as_operator: Client, operator: User) -> None:
    task = factories.finished_task(operator).task
    page = as_operator.get(f"/tasks/{task.pk}/").content.decode()
    parts = as_operator.get(f"/tasks/{task.pk}/parts/?names=kpis,feed,rounds").content.decode()
    for part in ("kpis", "feed", "rounds"):
        pattern = rf'<div id="part-{part}"[^>]*>(.*?)</div>\s*(?:</section>|<div|\Z)'
        first, second = (re.search(pattern, text, re.S) for text in (page, parts))
        assert first is not None
        assert second is not None
        assert first[1][:400].split() == second[1][:400].split()


def test_ledger_pages_lead_to_each_other(as_operator: Client, operator: User) -> None:
    story = factories.finished_task(operator)
    home = as_operator.get("/ledger/").content.decode()
    links = set(re.findall(r'href="(/ledger/[a-z]+/[^"]+)"', home))
    assert links
    for link in sorted(links)[:6]:
        assert as_operator.get(link).status_code == 200, link
    create = Transaction.objects.get(function="createTask")
    page = as_operator.get(f"/ledger/tx/{create.hash}/").content.decode()
    assert "1,000 FLT in escrow" in page
    assert f'href="/tasks/{story.task.pk}/"' in page
    address = story.seats[0].account.address
    mine = as_operator.get(f"/ledger/address/{address}/").content.decode()
    assert "Eastfield" in mine
    assert "Token transfers" in mine
    assert "submit update" in mine


def test_a_reverted_transaction_says_why(as_operator: Client, operator: User) -> None:
    story = factories.TaskStory(factories.draft(operator)).fund()
    sent = story.mine(operator.account.address, "start", [], reverted="Only 0 of 5 have joined.")  # type: ignore[union-attr]
    page = as_operator.get(f"/ledger/tx/{sent.hash}/").content.decode()
    assert "Reverted" in page
    assert "Only 0 of 5 have joined." in page


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/tasks/999/", "There is no task 999"),
        ("/ledger/block/99999/", "has not been read"),
        ("/ledger/tx/0xzz/", "is not a transaction hash"),
        (f"/ledger/tx/0x{'1' * 64}/", "waiting to be mined"),
        ("/ledger/address/0x12/", "is not an Ethereum address"),
        ("/nowhere/", "This page does not exist"),
    ],
)
def test_what_is_not_there(as_operator: Client, path: str, words: str) -> None:
    answer = as_operator.get(path)
    assert answer.status_code == 404
    assert words in " ".join(answer.content.decode().split())


def test_search_finds_everything_with_a_hash(as_operator: Client, operator: User) -> None:
    story = factories.finished_task(operator)
    task = story.task
    block = Transaction.objects.get(function="createTask").block
    member = story.seats[0].account.address
    round_ = task.round_set.get(number=1)
    update = round_.updates.first()
    assert update is not None
    expected = {
        task.config_hash: f"/tasks/{task.pk}/",
        task.model_hash: f"/tasks/{task.pk}/",
        round_.model_hash: f"/tasks/{task.pk}/#rounds",
        round_.reward_root: f"/tasks/{task.pk}/#rounds",
        update.update_hash: f"/ledger/tx/{update.tx_hash}/",
        block.hash: f"/ledger/block/{block.number}/",
        str(block.number): f"/ledger/block/{block.number}/",
        f"{block.number:,}": f"/ledger/block/{block.number}/",
        member: f"/ledger/address/{member}/",
        f"#{task.pk}": f"/tasks/{task.pk}/",
        "retina": f"/tasks/{task.pk}/",
    }
    for query, target in expected.items():
        answer = as_operator.get("/search/", {"q": query})
        assert (query, answer.headers.get("Location")) == (query, target)
    assert as_operator.get("/search/", {"q": "nothing like it"}).status_code == 404


def test_the_theme_is_in_the_first_byte(as_operator: Client, operator: User) -> None:
    assert 'data-theme="system"' in as_operator.get("/").content.decode()
    assert as_operator.post("/settings/theme/", {"theme": "dark"}).status_code in (204, 302)
    assert 'data-theme="dark"' in as_operator.get("/").content.decode()
    stranger = Client()
    stranger.post("/settings/theme/", {"theme": "light"})
    assert 'data-theme="light"' in stranger.get("/sign-in/").content.decode()
    assert stranger.post("/settings/theme/", {"theme": "pink"}).status_code == 400


def test_the_profile_is_saved(as_operator: Client, operator: User) -> None:
    fields = {"first_name": "Mara", "last_name": "Lind"}
    answer = as_operator.post("/settings/", fields, follow=True)
    assert "Profile saved." in answer.content.decode()
    operator.refresh_from_db()
    assert operator.last_name == "Lind"


def test_pages_obey_their_policy(as_operator: Client, operator: User) -> None:
    task = factories.running_task(operator, rounds=1).task
    for path in ("/", f"/tasks/{task.pk}/", "/tasks/new/", "/ledger/"):
        answer = as_operator.get(path)
        policy = answer["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        text = answer.content.decode()
        assert not re.search(r"\sstyle=", text)
        for attributes in re.findall(r"<script([^>]*)>", text):
            assert "src=" in attributes or 'type="application/json"' in attributes
