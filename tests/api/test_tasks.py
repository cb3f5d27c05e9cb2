"""Tasks by the API: what a page can do, a program can."""

from __future__ import annotations

import json

import pytest

from chain.merkle import verify
from chain.models import OutgoingTransaction
from sessions_app.models import Round, Task, User
from tests import factories
from tests.api.conftest import Program
from tests.api.test_base import check_problem
from training.canonical import keccak_hex

FLT = 10**18


@pytest.fixture(autouse=True)
def _evaluator(db: None) -> None:
    factories.account("Evaluator 1", "evaluator")


def test_a_task_is_made_changed_and_deleted(as_operator: Program) -> None:
    answer = as_operator.post(
        "/tasks",
        {
            "title": "Retina",
            "pool": str(100 * FLT),
            "stake": str(FLT),
            "config": {"rounds": 3, "participants": 4, "dataset": {"name": "breast_cancer"}},
            "hosted_places": 2,
            "update_seconds": 60,
        },
    )
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert answer["Location"] == f"/api/v1/tasks/{made['id']}"
    assert (made["state"], made["pool"], made["rounds"]) == ("draft", str(100 * FLT), 3)
    assert (made["hosted_places"], made["open_places"]) == (2, 2)
    assert {"launch", "change", "cancel", "clone"} == set(made["may"])
    changed = as_operator.send("PATCH", f"/tasks/{made['id']}", {"title": "Retina II"}).json()
    assert (changed["title"], changed["pool"]) == ("Retina II", str(100 * FLT))
    assert changed["config"]["dataset"]["name"] == "breast_cancer"
    gone = as_operator.post(f"/tasks/{made['id']}/cancel").json()
    assert gone == {"deleted": True, "call": None}
    check_problem(as_operator.get(f"/tasks/{made['id']}"), 404, "not-found")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"pool": "1.5"}, "body.pool"),
        ({"pool": "0"}, "body.pool"),
        ({"title": ""}, "body.title"),
        ({"config": {"rounds": 0}}, "body.config.rounds"),
        ({"config": {"dataset": {"name": "moon"}}}, "body.config.dataset.name"),
        ({"outside_evaluators": ["0x12"]}, "body.outside_evaluators"),
        ({"hosted_places": 99}, "body.hosted_places"),
    ],
)
def test_wrong_terms_name_their_field(
    as_operator: Program, changes: dict[str, object], field: str
) -> None:
    body = {"title": "T", "pool": str(FLT), **changes}
    found = check_problem(as_operator.post("/tasks", body), 422, "invalid")
    assert [error["field"] for error in found["errors"]] == [field]
    assert not Task.objects.exists()


def test_participants_make_no_tasks(as_participant: Program, operator: User) -> None:
    body = {"title": "T", "pool": str(FLT)}
    check_problem(as_participant.post("/tasks", body), 403, "not-allowed")
    task = factories.draft(operator)
    for action in ("launch", "cancel", "clone"):
        check_problem(as_participant.post(f"/tasks/{task.pk}/{action}"), 403, "not-allowed")
    check_problem(
        as_participant.send("PATCH", f"/tasks/{task.pk}", {"title": "Mine"}), 403, "not-allowed"
    )


def test_launching(as_operator: Program, operator: User) -> None:
    task = factories.draft(operator)
    poor = check_problem(as_operator.post(f"/tasks/{task.pk}/launch"), 422, "invalid")
    assert "Lower the pool or top up the account" in poor["detail"]
    factories.running_task(operator, rounds=1)  # its network has tokens for the operator
    other = factories.running_task(operator, rounds=1).task
    check_problem(as_operator.post(f"/tasks/{other.pk}/launch"), 409, "conflict")
    check_problem(as_operator.post(f"/tasks/{other.pk}/start"), 409, "conflict")


def test_the_list_pages_by_key(as_operator: Program, operator: User) -> None:
    for number in range(5):
        factories.draft(operator, f"Draft {number}")
    titles: list[str] = []
    cursor = ""
    while True:
        page = as_operator.get("/tasks", limit=2, cursor=cursor).json()
        titles += [row["title"] for row in page["items"]]
        if page["next"] is None:
            break
        cursor = page["next"]
        factories.draft(operator, "Newer")  # moves nothing
    assert titles == [f"Draft {number}" for number in (4, 3, 2, 1, 0)]
    assert as_operator.get("/tasks", show="ended").json()["items"] == []
    check_problem(as_operator.get("/tasks", cursor="x"), 422, "invalid")
    check_problem(as_operator.get("/tasks", limit=0), 422, "invalid")


def test_reading_a_task(as_operator: Program, operator: User) -> None:
    story = factories.finished_task(operator)
    task = Task.objects.get(pk=story.task.pk)
    path = f"/tasks/{task.pk}"
    shown = as_operator.get(path).json()
    assert (shown["state"], shown["rounds_done"]) == ("completed", task.round_set.count())
    assert 0 < shown["accuracy"] < 1
    assert shown["config_matches_chain"] is True
    assert sum(int(row["earned"]) for row in as_operator.get(f"{path}/participants").json()["items"]) == int(shown["earned"])  # fmt: skip  # noqa: E501
    config = as_operator.get(f"{path}/config")
    assert keccak_hex(config.content) == task.config_hash == config["X-Config-Hash"]
    rounds = as_operator.get(f"{path}/rounds", limit=1).json()
    assert rounds["items"][0]["number"] == task.current_round
    detail = as_operator.get(f"{path}/rounds/1").json()
    assert len(detail["updates"]) == len(detail["rewards"]) == len(story.seats)
    assert sum(int(line["amount"]) for line in detail["rewards"]) == int(detail["reward"])
    series = as_operator.get(f"{path}/series").json()
    assert [p["round"] for p in series["points"]] == list(range(1, task.current_round + 1))
    assert as_operator.get(f"{path}/quote").json()["gas"] > 0
    check_problem(as_operator.get(f"{path}/rounds/99"), 404, "not-found")


def test_a_proof_leads_to_the_root_on_chain(as_participant: Program, operator: User) -> None:
    task = factories.finished_task(operator).task
    page = as_participant.get(f"/tasks/{task.pk}/rewards", limit=2).json()
    assert page["next"] == "2"
    last = Round.objects.filter(task=task).order_by("-number")[0]
    for row in page["items"]:
        one = as_participant.get(f"/tasks/{task.pk}/rewards/{row['address'].lower()}").json()
        assert one == row
        assert row["reward_root"] == last.reward_root
        nodes = [bytes.fromhex(node[2:]) for node in row["proof"]]
        root, leaf = (bytes.fromhex(row[name][2:]) for name in ("reward_root", "leaf"))
        assert verify(root, leaf, nodes)
        assert sum(int(line["amount"]) for line in row["rounds"]) == int(row["earned"])
    stranger = factories.address_of("stranger")
    check_problem(as_participant.get(f"/tasks/{task.pk}/rewards/{stranger}"), 404, "not-found")


def test_claiming(as_participant: Program, operator: User, settings: object) -> None:
    """The call is queued for the sender; nobody waits for a block."""
    story = factories.running_task(operator, rounds=1)
    path = f"/tasks/{story.task.pk}"
    mine, theirs = (seat.account.address for seat in story.seats[:2])
    shown = as_participant.get(path).json()
    assert shown["claimable"] == [mine]
    refused = as_participant.post(f"{path}/claim", {"address": theirs})
    check_problem(refused, 403, "not-allowed")
    assert not OutgoingTransaction.objects.filter(function="claim").exists()


def test_numbers_are_exact(as_operator: Program, operator: User) -> None:
    """Money beyond 2**53 comes as text, to the last wei."""
    task = factories.draft(operator)
    Task.objects.filter(pk=task.pk).update(pool=2**90 + 1)
    text = as_operator.get(f"/tasks/{task.pk}").content.decode()
    assert json.loads(text)["pool"] == str(2**90 + 1)
