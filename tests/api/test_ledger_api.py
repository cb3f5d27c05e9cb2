"""The ledger by the API."""

from __future__ import annotations

import pytest

from chain.models import Block, OutgoingStatus, OutgoingTransaction, Transaction
from sessions_app.models import TokenTransfer, User
from tests import factories
from tests.api.conftest import Program
from tests.api.test_base import check_problem


def everything(
    program: Program, path: str, limit: int, **filters: object
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = program.get(path, limit=limit, cursor=cursor, **filters).json()
        rows += page["items"]
        cursor = page["next"]
    return rows


def test_lists_are_whole(as_operator: Program, operator: User) -> None:
    factories.finished_task(operator)
    blocks = everything(as_operator, "/ledger/blocks", 7)
    assert [b["number"] for b in blocks] == list(
        Block.objects.order_by("-number").values_list("number", flat=True)
    )
    sent = everything(as_operator, "/ledger/transactions", 9)
    assert {t["hash"] for t in sent} == set(Transaction.objects.values_list("hash", flat=True))
    moved = everything(as_operator, "/ledger/transfers", 5)
    assert len(moved) == TokenTransfer.objects.count()
    held = everything(as_operator, "/ledger/holders", 2)
    amounts = [int(str(row["balance"])) for row in held]
    assert amounts == sorted(amounts, reverse=True)


def test_newer_rows_follow_a_page(as_operator: Program, operator: User) -> None:
    factories.finished_task(operator)
    newest = as_operator.get("/ledger/events").json()["newest"]
    assert as_operator.get("/ledger/events", after=newest).json()["items"] == []
    factories.running_task(operator, rounds=1)
    rows = as_operator.get("/ledger/events", after=newest).json()["items"]
    assert rows
    assert min(row["block"] for row in rows) > int(newest.split(".")[0])


def test_filters(as_operator: Program, operator: User) -> None:
    story = factories.finished_task(operator)
    factories.running_task(operator, rounds=1)
    rows = everything(as_operator, "/ledger/events", 50, event="RoundFinalized", task=story.task.pk)
    assert {row["event"] for row in rows} == {"RoundFinalized"}
    assert {row["onchain_task"] for row in rows} == {story.task.onchain_id}
    check_problem(as_operator.get("/ledger/events", event="Nothing"), 422, "invalid")
    check_problem(as_operator.get("/ledger/blocks", cursor="1.x"), 422, "invalid")


def test_one_of_each(as_operator: Program, operator: User) -> None:
    story = factories.finished_task(operator)
    create = Transaction.objects.get(function="createTask")
    shown = as_operator.get(f"/ledger/transactions/{create.hash}").json()
    assert shown["task"] == story.task.pk
    assert [event["event"] for event in shown["events"]][-1] == "TaskCreated"
    block = as_operator.get(f"/ledger/blocks/{create.block_number}").json()
    assert create.hash in block["hashes"]
    address = story.seats[0].account.address
    who = as_operator.get(f"/ledger/addresses/{address.lower()}").json()
    assert (who["address"], who["name"], who["known"]) == (address, "Eastfield", True)
    assert {"task": story.task.pk, "title": story.task.title, "role": "participant"} in who["roles"]
    found = as_operator.get("/ledger/search", q=create.hash).json()
    assert found["page"] == f"/ledger/tx/{create.hash}/"


@pytest.mark.parametrize(
    "path",
    ["/ledger/blocks/99999999", f"/ledger/transactions/0x{'1' * 64}", "/ledger/outbox/77"],
)
def test_what_is_not_there(as_operator: Program, path: str) -> None:
    check_problem(as_operator.get(path), 404, "not-found")


def test_malformed_names(as_operator: Program) -> None:
    for path in ("/ledger/transactions/0x12", "/ledger/addresses/0x12"):
        check_problem(as_operator.get(path), 422, "invalid")


def test_the_outbox_and_sending_again(
    as_operator: Program, as_participant: Program, operator: User
) -> None:
    story = factories.TaskStory(factories.draft(operator)).fund().seat().join(3)
    story.refuse(slot=3)
    failed = OutgoingTransaction.objects.get(status=OutgoingStatus.FAILED)
    listed = as_operator.get("/ledger/outbox", state="failed").json()["items"]
    assert [row["id"] for row in listed] == [failed.pk]
    check_problem(as_participant.post(f"/ledger/outbox/{failed.pk}/retry"), 403, "not-allowed")
    again = as_operator.post(f"/ledger/outbox/{failed.pk}/retry").json()
    assert again["status"] == "queued"
    assert as_operator.get(f"/ledger/outbox/{failed.pk}").json()["status"] == "queued"


def test_contracts_and_network(as_operator: Program, db: None) -> None:
    names = [row["name"] for row in as_operator.get("/ledger/contracts").json()]
    assert sorted(names) == ["FLCoordinator", "FLToken"]
    token = as_operator.get("/ledger/contracts/FLToken").json()
    assert "balanceOf(address)" in token["read"]
    assert any(item.get("name") == "Transfer" for item in token["abi"])
    network = Program().get("/network").json()
    assert (network["chain_id"], network["token_decimals"]) == (31337, 18)
    choices = Program().get("/choices").json()
    assert "fedavg" in [choice["name"] for choice in choices["algorithms"]]
