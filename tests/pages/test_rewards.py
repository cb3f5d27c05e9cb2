"""Participants and rewards: every state answers, numbers agree, lists page and export."""

from __future__ import annotations

import csv
import io
import itertools
import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chain.merkle import verify
from sessions_app.models import Participant, Reward, Round, RoundRun, User, Wallet
from sessions_app.selectors.people.participants import SORTS, Chosen, participant_list
from sessions_app.selectors.people.why import check_data, why
from tests import factories


def text(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.content[:800]
    return answer.content.decode()


def rows(client: Client, path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text(client, path))))


@pytest.fixture
def story(operator: User) -> factories.TaskStory:
    factories.finished_task(operator, rounds=2, title="An earlier one")
    return factories.running_task(operator, rounds=3, participants=4)


def test_the_list_is_empty_before_anybody_joined(as_operator: Client) -> None:
    assert "Nobody has joined a task yet" in text(as_operator, "/participants/")
    assert rows(as_operator, "/participants/?format=csv") == []


def test_pages_of_the_list_join_without_gap_or_repeat(story: factories.TaskStory) -> None:
    for sort, descending in itertools.product(SORTS, (True, False)):
        chosen = Chosen(sort=sort, descending=descending)
        whole = [row.party.name for row in participant_list(chosen).rows]
        assert len(whole) == 4
        paged: list[str] = []
        after = ""
        while True:
            found = participant_list(chosen, after=after, size=2)
            paged += [row.party.name for row in found.rows]
            after = found.following
            if not after:
                break
        assert paged == whole, sort


def test_the_list_counts_over_tasks(as_operator: Client, story: factories.TaskStory) -> None:
    first = rows(as_operator, "/participants/?format=csv")[0]
    assert first["name"] == "Eastfield"
    assert first["tasks"] == "2"
    assert first["rounds"] == "6"  # two, and three that are over, and one that is not
    earned = sum(m.earned for m in Participant.objects.filter(address=first["address"]))
    assert int(first["earned_flt"].replace(".", "").ljust(21, "0")) == earned
    rewards = Reward.objects.filter(participant__address=first["address"])
    shares = [reward.amount / reward.round.reward for reward in rewards]
    assert float(first["contribution_percent"]) == pytest.approx(
        100 * sum(shares) / len(shares), abs=1e-3
    )


def test_the_list_filters(as_operator: Client, story: factories.TaskStory) -> None:
    Participant.objects.filter(address=factories.address_of("Harbour")).update(status="slashed")

    def names(query: str) -> list[str]:
        return sorted(r["name"] for r in rows(as_operator, f"/participants/?{query}&format=csv"))

    assert names("q=south") == ["Southbank"]
    assert names(f"q={factories.address_of('Northgate')[:8].lower()}") == ["Northgate"]
    assert names("state=slashed") == ["Harbour"]
    assert names("state=left") == []
    assert len(names(f"task={story.task.pk}")) == 4
    assert "Nobody fits the filter" in text(as_operator, "/participants/?q=nobody")


@pytest.mark.parametrize(
    "query", ["sort=luck", "state=rich", "order=up", "task=x", "after=zz", "after=5."]
)
def test_a_query_that_means_nothing_is_told(
    as_operator: Client, story: factories.TaskStory, query: str
) -> None:
    assert "This filter means nothing" in text(as_operator, f"/participants/?{query}", 400)
    answer = as_operator.get(f"/participants/?{query}&format=json")
    assert (answer.status_code == 400) == (not query.startswith("after"))


def test_a_profile_tells_everything(as_operator: Client, story: factories.TaskStory) -> None:
    address = story.seats[2].account.address
    RoundRun.objects.filter(task=story.task, number=2).update(
        result={"rejected": [[address, "norm: 812.4 is more than 50"]]}
    )
    shown = text(as_operator, f"/participants/{address}/")
    for words in (
        "Southbank",
        "2 tasks joined",
        "An earlier one",
        "norm: 812.4 is more than 50",
        f"/rewards/{story.task.pk}/3/{address}/",
        f"/ledger/address/{address}/",
    ):
        assert words in shown
    exported = rows(as_operator, f"/participants/{address}/rewards.csv")
    assert len(exported) == 5
    told = json.loads(text(as_operator, f"/participants/{address}/tasks.json"))
    assert [row["title"] for row in told] == [story.task.title, "An earlier one"]


def test_profiles_of_strangers(as_operator: Client, db: None) -> None:
    stranger = factories.address_of("a stranger")
    assert "has not joined a task" in text(as_operator, f"/participants/{stranger}/")
    assert text(as_operator, "/participants/0x12/", 404)


def test_rewards_of_a_participant(as_participant: Client, operator: User) -> None:
    assert "No task joined yet" in text(as_participant, "/rewards/")
    story = factories.running_task(operator, rounds=2)
    shown = text(as_participant, "/rewards/")
    assert "You can claim" in shown
    assert f"/rewards/{story.task.pk}/2/{factories.address_of('Eastfield')}/" in shown
    story.claim(0)
    shown = text(as_participant, "/rewards/")
    assert "The next reward comes when round 3 of" in shown
    assert len(rows(as_participant, "/rewards/mine.csv")) == 2


def test_rewards_without_an_address(as_admin: Client, as_operator: Client, operator: User) -> None:
    assert "No address of yours" in text(as_admin, "/rewards/")
    assert "None of your tasks is funded yet" in text(as_operator, "/rewards/")
    story = factories.finished_task(operator)
    story.claim(1)
    shown = text(as_operator, "/rewards/")
    assert "What my tasks paid" in shown
    (paid,) = rows(as_operator, "/rewards/paid.csv")
    assert paid["credited_flt"] == "1000"
    assert paid["earners"] == "3"
    assert float(paid["claimed_flt"]) + float(paid["unclaimed_flt"]) == pytest.approx(1000)


def test_a_linked_wallet_counts_as_mine(
    as_participant: Client, participant: User, operator: User
) -> None:
    factories.finished_task(operator)
    before = len(rows(as_participant, "/rewards/mine.csv"))
    Wallet.objects.create(
        user=participant, address=factories.address_of("Harbour"), verified_at="2026-01-01T00:00Z"
    )
    assert len(rows(as_participant, "/rewards/mine.csv")) == 2 * before
    shown = text(as_participant, f"/participants/{factories.address_of('Harbour')}/")
    assert '<span class="pill ok">You</span>' in shown


def test_rewards_page_by_key(as_participant: Client, operator: User) -> None:
    factories.finished_task(operator, rounds=26, participants=1, title="Long")
    first = text(as_participant, "/rewards/")
    older = first.split('href="?before=')[1].split('"')[0]
    second = text(as_participant, f"/rewards/?before={older}")
    explained = [page.count('class="why"') for page in (first, second)]
    assert explained == [25, 1]
    text(as_participant, "/rewards/?before=nonsense", 404)


@pytest.mark.parametrize("mode", ["score", "samples", "equal"])
def test_the_explanation_has_the_numbers_of_the_payout(
    as_participant: Client, story: factories.TaskStory, mode: str
) -> None:
    """The factories pay by score; in the other modes the recomputed amounts differ, and the page
    shows what was credited beside the formula that gives something else."""
    story.task.reward_mode = mode
    story.task.save()
    found = why(story.task.pk, 3, story.seats[1].account.address)
    credited = Reward.objects.get(round=found.round, participant=found.member)
    assert found.subject.amount == credited.amount
    assert found.subject.cumulative == credited.cumulative
    worked_out = sum(line.share.amount for line in found.lines if line.share)
    assert worked_out == found.round.reward
    share = found.subject.share
    assert share is not None
    assert (share.amount == credited.amount) == (mode == "score")
    shown = text(as_participant, f"/rewards/{story.task.pk}/3/{found.party.address}/")
    assert str(share.floor) in shown
    assert found.round.reward_root in shown


def test_the_proof_of_every_round_leads_to_its_root(story: factories.TaskStory) -> None:
    for number in (1, 2, 3):
        for seat in story.seats:
            data = check_data(why(story.task.pk, number, seat.account.address))
            proof = [bytes.fromhex(node[2:]) for node in data["proof"]]
            leaf, root = (bytes.fromhex(data[name][2:]) for name in ("leaf", "root"))
            assert verify(root, leaf, proof)


def test_rewards_that_the_chain_does_not_vouch_for(
    as_operator: Client, story: factories.TaskStory
) -> None:
    Round.objects.filter(task=story.task, number=3).update(rewards_match=False)
    Reward.objects.filter(round__task=story.task, round__number=3).delete()
    address = story.seats[0].account.address
    before = Reward.objects.get(round__task=story.task, round__number=2, participant__index=0)
    shown = text(as_operator, f"/rewards/{story.task.pk}/3/{address}/")
    assert "Not credited: the root on chain differs" in shown
    assert why(story.task.pk, 3, address).before == before.cumulative


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("{pk}/9/{address}", "has no round 9"),
        ("{pk}/4/{address}", "is not final yet"),
        ("{pk}/1/{stranger}", "is not a participant"),
        ("{pk}/1/0x12", "is not an Ethereum address"),
    ],
)
def test_nothing_to_explain(
    as_operator: Client, story: factories.TaskStory, place: str, words: str
) -> None:
    path = place.format(
        pk=story.task.pk,
        address=story.seats[0].account.address,
        stranger=factories.address_of("a stranger"),
    )
    assert words in text(as_operator, f"/rewards/{path}/", 404)


def test_the_division_as_files(as_operator: Client, story: factories.TaskStory) -> None:
    path = f"/rewards/{story.task.pk}/3/{story.seats[0].account.address}/division"
    table = rows(as_operator, f"{path}.csv")
    told: dict[str, Any] = json.loads(text(as_operator, f"{path}.json"))
    total = sum(int(row["amount_wei"]) for row in table)
    assert total == int(told["reward"])
    assert [row["address"] for row in told["division"]] == [row["address"] for row in table]


def test_queries_do_not_grow(as_participant: Client, operator: User) -> None:
    paths = ("/participants/", "/participants/{a}/", "/rewards/", "/rewards/{t}/1/{a}/")
    address = factories.address_of("Eastfield")

    def counts(pk: int) -> list[int]:
        found = []
        for path in paths:
            with CaptureQueriesContext(connection) as captured:
                text(as_participant, path.format(a=address, t=pk))
            found.append(len(captured))
        return found

    few = counts(factories.finished_task(operator, rounds=1, participants=2).task.pk)
    factories.finished_task(operator, title="Another")
    many = counts(factories.running_task(operator, rounds=4, participants=7).task.pk)
    assert all(later <= first + 1 for first, later in zip(few, many, strict=True)), (few, many)
    assert max(few) <= 32


def test_the_api_tells_the_same(as_operator: Client, story: factories.TaskStory) -> None:
    people = json.loads(text(as_operator, "/api/v1/participants?limit=3"))
    assert [row["name"] for row in people["items"]] == ["Eastfield", "Harbour", "Southbank"]
    rest = json.loads(text(as_operator, f"/api/v1/participants?limit=3&cursor={people['next']}"))
    assert [row["name"] for row in rest["items"]] == ["Northgate"]
    assert rest["next"] is None
    address = story.seats[0].account.address
    profile = json.loads(text(as_operator, f"/api/v1/participants/{address}"))
    assert [row["task_id"] for row in profile["memberships"]] == [story.task.pk, story.task.pk - 1]
    place = f"/api/v1/tasks/{story.task.pk}/rounds/3/rewards/{address}"
    told = json.loads(text(as_operator, place))
    found = why(story.task.pk, 3, address)
    assert told["amount"] == str(found.subject.amount)
    assert sum(int(line["amount"]) for line in told["division"]) == found.round.reward
    assert told["proof"]["root"] == found.round.reward_root
    text(as_operator, f"/api/v1/tasks/{story.task.pk}/rounds/4/rewards/{address}", 404)
    text(as_operator, "/api/v1/participants?cursor=zz", 422)


def test_a_linked_wallet_is_named_after_its_user(as_operator: Client, operator: User) -> None:
    stranger = factories.address_of("a stranger")
    Wallet.objects.create(user=operator, address=stranger, verified_at="2026-01-01T00:00Z")
    assert "<h1>Mara" in text(as_operator, f"/participants/{stranger}/")


def test_the_task_page_leads_to_profiles_and_reasons(
    as_participant: Client, story: factories.TaskStory
) -> None:
    shown = text(as_participant, f"/tasks/{story.task.pk}/")
    for seat in story.seats:
        assert f"/participants/{seat.account.address}/" in shown
        assert f"/rewards/{story.task.pk}/3/{seat.account.address}/" in shown
    assert f"/tasks/{story.task.pk}/join/" not in shown


def test_an_open_task_with_a_free_place_can_be_joined(
    as_operator: Client, as_participant: Client, operator: User
) -> None:
    task = factories.draft(operator, participants=3)
    factories.TaskStory(task).fund().seat(2).join(1)
    assert f"/tasks/{task.pk}/join/" in text(as_participant, f"/tasks/{task.pk}/")
    shown = text(as_operator, f"/tasks/{task.pk}/join/")
    assert "1 place free" in " ".join(shown.split())
    assert "matches chain" in shown
    text(as_participant, "/tasks/9999/join/", 404)


def test_a_draft_and_a_running_task_tell_why_they_cannot_be_joined(
    as_participant: Client, operator: User, story: factories.TaskStory
) -> None:
    draft = factories.draft(operator, "Not begun")
    shown = text(as_participant, f"/tasks/{draft.pk}/join/")
    assert "not on chain yet" in shown
    assert "Nothing to agree to yet" in shown
    assert "nobody yet" not in shown
    shown = text(as_participant, f"/tasks/{story.task.pk}/join/")
    assert "You are in this task with Eastfield." in shown
