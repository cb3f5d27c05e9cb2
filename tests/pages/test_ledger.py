"""The ledger's lists, pages, exports and search, on a real database."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from typing import Any

import pytest
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext

from bcfl_site.embedded.anvil import Anvil
from chain.accounts import account_derive
from chain.artifacts import Deployment
from chain.deploy import INITIAL_SUPPLY, contracts_deploy
from chain.models import Block, Log, Network, OutgoingTransaction, Transaction
from chain.network import client_current, network_current
from sessions_app.models import Task, TokenBalance, TokenTransfer, User
from sessions_app.selectors.ledger import keyset
from sessions_app.selectors.ledger.filters import Filters, transactions
from sessions_app.selectors.ledger.keyset import TRANSACTIONS, every, page_of
from tests import factories

LISTS = ("blocks", "transactions", "events", "token", "holders", "outbox")


def text_of(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.content[:400]
    return str(answer.content.decode())


def queries(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        text_of(client, path)
    return len(captured)


def exported(client: Client, path: str) -> list[dict[str, Any]]:
    """The JSON export, checked against the CSV one."""
    joint = "&" if "?" in path else "?"
    rows = json.loads(b"".join(client.get(f"{path}{joint}format=json")))
    text = b"".join(client.get(f"{path}{joint}format=csv")).decode()
    table = list(csv.DictReader(io.StringIO(text)))
    assert len(table) == len(rows)
    assert not rows or list(table[0]) == list(rows[0])
    return list(rows)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports in chunks of seven, so that a story of this size has several."""
    monkeypatch.setattr(keyset, "CHUNK", 7)


@pytest.mark.parametrize("name", LISTS)
def test_empty_lists_say_so(as_operator: Client, name: str) -> None:
    page = text_of(as_operator, f"/ledger/{name}/")
    assert "Nothing here yet" in page
    assert exported(as_operator, f"/ledger/{name}/") == []


@pytest.mark.parametrize("name", LISTS)
def test_paging_shows_every_row_once(as_operator: Client, operator: User, name: str) -> None:
    """Forwards to the oldest and back to the newest by the links of the pages."""
    factories.running_task(operator, rounds=5, participants=7)
    factories.running_task(operator, rounds=5, participants=7, title="Another")
    whole = exported(as_operator, f"/ledger/{name}/")
    path, seen = f"/ledger/{name}/", []
    pages = []
    while path:
        page = text_of(as_operator, f"{path}{'&' if '?' in path else '?'}part=1")
        pages.append(path)
        seen.append(len(re.findall(r"<tr><th scope=\"row\"|<li><span class=\"dot", page)))
        older = re.search(r'href="(\?[^"]*before=[^"]+)"', page)
        path = f"/ledger/{name}/{older[1]}".replace("&amp;", "&") if older else ""
    assert sum(seen) == len(whole)
    assert all(size == 50 for size in seen[:-1])
    if len(pages) > 1:
        newer = re.search(r'href="(\?[^"]*after=[^"]+)"', text_of(as_operator, pages[-1]))
        assert newer is not None
        back = text_of(as_operator, f"/ledger/{name}/{newer[1]}".replace("&amp;", "&"))
        assert len(re.findall(r"<tr><th scope=\"row\"|<li><span class=\"dot", back)) == 50


def test_a_page_is_not_moved_by_new_rows(as_operator: Client, operator: User) -> None:
    story = factories.running_task(operator, rounds=5, participants=7)
    first = page_of([Transaction.objects.all()], TRANSACTIONS)
    before = page_of([Transaction.objects.all()], TRANSACTIONS, before=first.older)
    story.refuse()
    story.mine(factories.address_of("x"), "start", [])
    after = page_of([Transaction.objects.all()], TRANSACTIONS, before=first.older)
    assert [row.pk for row in before.rows] == [row.pk for row in after.rows]


def test_filters(as_operator: Client, operator: User) -> None:
    first = factories.running_task(operator, rounds=2, participants=3)
    other = factories.finished_task(operator, title="Another", rounds=2)
    east = first.seats[0].account.address
    reverted = other.mine(east, "start", [], reverted="Wrong task phase (taskId 2).")
    rows = exported(as_operator, "/ledger/transactions/?function=submitUpdate")
    assert {row["function"] for row in rows} == {"submitUpdate"}
    assert len(rows) == Transaction.objects.filter(function="submitUpdate").count()
    (row,) = exported(as_operator, "/ledger/transactions/?status=reverted")
    assert (row["hash"], row["succeeded"]) == (reverted.hash, False)
    by_name = exported(as_operator, "/ledger/transactions/?address=eastfield")
    by_address = exported(as_operator, f"/ledger/transactions/?address={east.lower()}")
    assert by_name == by_address
    assert {row["from"] for row in by_name} == {east}
    assert len(by_name) == Transaction.objects.filter(from_address=east).count()
    of_task = exported(as_operator, f"/ledger/transactions/?task={other.task.pk}")
    logs = Log.objects.filter(task_id=other.onchain_id)
    assert {row["hash"] for row in of_task} == set(logs.values_list("transaction__hash", flat=True))
    events = exported(as_operator, f"/ledger/events/?task=%23{other.task.pk}&event=RoundFinalized")
    assert [row["arguments"]["round"] for row in events] == [2, 1]
    some = exported(as_operator, f"/ledger/events/?contract=FLToken&from={other.number - 9}")
    assert {row["contract"] for row in some} <= {"FLToken"}
    assert all(row["block"] >= other.number - 9 for row in some)
    moved = exported(as_operator, f"/ledger/token/?address={east}")
    assert len(moved) == sum(
        TokenTransfer.objects.filter(**{end: east}).count() for end in ("sender", "recipient")
    )
    sent = exported(as_operator, "/ledger/events/?address=Eastfield&event=UpdateSubmitted")
    assert {row["arguments"]["participant"] for row in sent} == {east}


def test_a_reverted_call_belongs_to_its_task(operator: User) -> None:
    """It left no log: the outbox remembers what it was for."""
    story = factories.running_task(operator, rounds=1)
    sent = story.mine(factories.address_of("x"), "start", [], reverted="No.")
    story.refuse()
    OutgoingTransaction.objects.update(tx_hash=sent.hash)
    found = transactions(story.network.pk, Filters(task=story.task.pk, onchain_task=1))
    assert sent in page_of(found, TRANSACTIONS).rows


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("function=burn", "no function “burn”"),
        ("contract=Vault", "none of our contracts"),
        ("status=lost", "it has no “lost”"),
        ("task=x", "not a whole number"),
        ("task=99", "There is no task 99"),
        ("address=Nobody", "nor a name known here"),
        ("from=-1", "not a whole number"),
        ("before=12", "no place in this list"),
        ("before=9x.1", "no place in this list"),
    ],
)
def test_a_filter_that_means_nothing_says_why(
    as_operator: Client, operator: User, query: str, words: str
) -> None:
    factories.finished_task(operator)
    assert words in text_of(as_operator, f"/ledger/transactions/?{query}", 400)
    if not query.startswith("before"):  # an export is the whole list
        assert as_operator.get(f"/ledger/transactions/?{query}&format=json").status_code == 400


@pytest.mark.parametrize("number", ["99999999999999999999", "9" * 78])
def test_numbers_beyond_the_database_are_no_error(as_operator: Client, number: str) -> None:
    assert as_operator.get(f"/ledger/block/{number}/").status_code == 404
    assert as_operator.get("/search/", {"q": number}).status_code == 404
    assert as_operator.get(f"/ledger/blocks/?before={number}.1").status_code in (200, 400)
    assert as_operator.get(f"/ledger/blocks/?before=1.{number}").status_code in (200, 400)


def test_exports_are_whole(small_pages: None, as_operator: Client, operator: User) -> None:
    factories.running_task(operator, rounds=2)
    for name, model in (("blocks", Block), ("transactions", Transaction), ("events", Log)):
        rows = exported(as_operator, f"/ledger/{name}/")
        assert len(rows) == model.objects.count()
        places = [(row["block"], row.get("index", row.get("log", 0))) for row in rows]
        assert places == sorted(places, reverse=True)
        assert len(set(map(str, rows))) == len(rows)


def test_an_export_needs_one_query_a_chunk(small_pages: None, operator: User) -> None:
    factories.running_task(operator, rounds=2)
    total = Transaction.objects.count()
    with CaptureQueriesContext(connection) as captured:
        assert sum(map(len, every([Transaction.objects.all()], TRANSACTIONS))) == total
    assert len(captured) == total // 7 + 1


@pytest.mark.django_db(transaction=True)
def test_an_asgi_server_streams(small_pages: None) -> None:
    """Asynchronously: Django warns of, and buffers, a synchronous stream there."""
    operator = factories.user("operator")
    factories.running_task(operator, rounds=1)

    async def ask() -> list[bytes]:
        client = AsyncClient()
        await client.aforce_login(operator)
        answer = await client.get("/ledger/events/?format=json")
        assert answer.is_async  # type: ignore[attr-defined]
        return [piece async for piece in answer]  # type: ignore[attr-defined]

    pieces = asyncio.run(ask())
    assert len(pieces) > 2
    assert len(json.loads(b"".join(pieces))) == Log.objects.count()


def test_new_rows_announce_themselves(as_operator: Client, operator: User) -> None:
    story = factories.running_task(operator, rounds=1)
    page = text_of(as_operator, "/ledger/transactions/?function=start")
    watch = re.search(r'data-watch="([^"]+)"', page)
    show = re.search(r'data-show="([^"]+)"', page)
    assert watch is not None
    assert show is not None
    ask = watch[1].replace("&amp;", "&")
    assert json.loads(text_of(as_operator, ask)) == {"new": 0, "more": False}
    story.mine(factories.address_of("x"), "start", [])
    story.mine(factories.address_of("x"), "join", [])
    assert json.loads(text_of(as_operator, ask)) == {"new": 1, "more": False}
    part = text_of(as_operator, show[1].replace("&amp;", "&"))
    assert "<html" not in part
    assert part.count('<tr><th scope="row"') == 2


@pytest.mark.parametrize(
    "path",
    [
        "/ledger/",
        "/ledger/blocks/",
        "/ledger/transactions/",
        "/ledger/transactions/?task={pk}&address={who}",
        "/ledger/events/",
        "/ledger/events/?task={pk}",
        "/ledger/token/",
        "/ledger/token/?address={who}",
        "/ledger/holders/",
        "/ledger/address/{who}/",
        "/ledger/tx/{tx}/",
        "/ledger/contracts/",
        "/ledger/contracts/FLCoordinator/",
    ],
)
def test_queries_do_not_grow(as_operator: Client, operator: User, path: str) -> None:
    def values(story: factories.TaskStory) -> dict[str, Any]:
        last = Transaction.objects.filter(function="submitAggregate").latest("pk")
        who = story.seats[0].account.address
        return {"pk": story.task.pk, "who": who, "tx": last.hash}

    small = factories.running_task(operator, rounds=1, participants=2)
    few = queries(as_operator, path.format(**values(small)))
    factories.finished_task(operator, title="Another")
    large = factories.running_task(operator, rounds=4, participants=7)
    assert queries(as_operator, path.format(**values(large))) <= few
    assert few <= 24


def test_the_token_page(as_operator: Client, operator: User) -> None:
    factories.finished_task(operator)
    page = " ".join(text_of(as_operator, "/ledger/token/").split())
    minted = sum(
        TokenTransfer.objects.filter(sender=factories.ZERO).values_list("amount", flat=True)
    )
    held = sum(TokenBalance.objects.values_list("balance", flat=True))
    assert minted == held
    assert f"{minted // factories.FLT:,} FLT exist" in page
    holders = exported(as_operator, "/ledger/holders/")
    amounts = [float(row["balance_flt"]) for row in holders]
    assert amounts == sorted(amounts, reverse=True)
    assert len(holders) == TokenBalance.objects.filter(balance__gt=0).count()


def test_an_address_knows_its_past(as_operator: Client, operator: User) -> None:
    story = factories.finished_task(operator)
    story.claim(0)
    member = story.seats[0].account.address
    page = text_of(as_operator, f"/ledger/address/{member}/")
    data = re.search(r'id="balance-data" type="application/json">(.*?)</script>', page)
    assert data is not None
    chart = json.loads(data[1])
    held = TokenBalance.objects.get(address=member).balance
    assert chart["balance"][:2] == [100.0, 90.0]  # granted, then staked
    assert chart["balance"][-1] == pytest.approx(held / factories.FLT)
    assert chart["time"] == sorted(chart["time"])
    assert "Participant" in page
    mara = text_of(as_operator, f"/ledger/address/{operator.account.address}/")  # type: ignore[union-attr]
    assert "Mara signs in with it." in mara
    assert "Operator" in mara
    assert "Evaluator" in text_of(as_operator, f"/ledger/address/{story.evaluator.address}/")


def test_a_transaction_leads_back(as_operator: Client, operator: User) -> None:
    story = factories.finished_task(operator)
    task = story.task
    made = {
        task.created_tx: f"Task {task.title}",
        task.round_set.get(number=1).finalized_tx: "Round 1 final",
        task.round_set.get(number=2).opened_tx: "Round 2 opened",
        task.members.get(index=1).joined_tx: "Seat 1 in",
    }
    update = task.round_set.get(number=2).updates.get(participant__index=0)
    made[update.tx_hash] = "Update of member 0 for round 2"
    for tx_hash, words in made.items():
        page = text_of(as_operator, f"/ledger/tx/{tx_hash}/")
        assert words in page
        assert f'href="/tasks/{task.pk}/' in page
    task_page = text_of(as_operator, f"/tasks/{task.pk}/")
    for tx_hash in (task.created_tx, task.members.get(index=1).joined_tx):
        assert f"/ledger/tx/{tx_hash}/" in task_page


def test_search_by_name(as_operator: Client, operator: User) -> None:
    story = factories.finished_task(operator, title="Harbour traffic")
    east = story.seats[0].account.address
    assert as_operator.get("/search/?q=eastf")["Location"] == f"/ledger/address/{east}/"
    page = text_of(as_operator, "/search/?q=harbour")
    assert "Harbour traffic" in page
    assert f"/ledger/address/{story.seats[1].account.address}/" in page


@pytest.fixture
def deployed(db: None, anvil: Anvil) -> tuple[Network, Deployment]:
    network = network_current()
    deployer = account_derive(label="Deployer", kind="deployer", index=0)
    report = contracts_deploy(
        network=network, client=client_current(), deployer=deployer, say=lambda text: None
    )
    return network, report.deployment


def test_contracts_that_are_not_there(as_operator: Client, anvil: Anvil) -> None:
    page = text_of(as_operator, "/ledger/contracts/FLCoordinator/")
    assert "createTask(TaskParams params)" in page
    assert as_operator.get("/ledger/contracts/Vault/").status_code == 404


def test_contracts_on_a_chain(
    as_operator: Client, deployed: tuple[Network, Deployment], operator: User
) -> None:
    _, found = deployed
    token = found.contracts["FLToken"]
    page = text_of(as_operator, "/ledger/contracts/FLToken/")
    assert token.address in page
    assert token.source_hash in page
    assert "1,000,000,000\u00a0FLT" in page  # the constructor's argument
    code = text_of(as_operator, "/ledger/contracts/FLToken/code/")
    assert "Code matches the build" in code
    call = "/ledger/contracts/FLToken/call/"
    supply = text_of(as_operator, f"{call}?function=totalSupply()")
    assert "1,000,000,000\u00a0FLT" in supply
    assert f"{INITIAL_SUPPLY} wei" in supply
    owner = client_current().rpc("eth_accounts")[0]
    holds = as_operator.get(call, {"function": "balanceOf(address)", "arg0": owner})
    assert "1,000,000,000\u00a0FLT" in holds.content.decode()
    wrong = as_operator.get(call, {"function": "balanceOf(address)", "arg0": "0x12"})
    assert "“0x12” is no address" in wrong.content.decode()
    assert "no read function" in text_of(as_operator, f"{call}?function=transfer(address,uint256)")
    limits = text_of(as_operator, "/ledger/contracts/FLCoordinator/call/?function=limits()")
    assert "participants" in limits
    refused = text_of(
        as_operator, "/ledger/contracts/FLCoordinator/call/?function=task(uint256)&arg0=1"
    )
    assert "operator" in refused or "WrongTaskPhase" in refused or "phase" in refused
    ether = text_of(as_operator, f"/ledger/address/{owner}/eth/")
    assert "asked of the node now" in ether
    abi = json.loads(text_of(as_operator, "/ledger/contracts/FLToken/abi.json"))
    assert {"totalSupply", "Transfer"} <= {item.get("name") for item in abi}


def test_a_dead_node_is_told_not_hidden(as_operator: Client, settings: Any) -> None:
    settings.NETWORKS = {"dev": {"rpc_url": "http://127.0.0.1:1", "chain_id": 31337}}
    who = factories.address_of("x")
    assert "No Ethereum node answers" in text_of(as_operator, f"/ledger/address/{who}/eth/")
    assert "Not checked" in text_of(as_operator, "/ledger/contracts/FLToken/code/")
    assert Task.objects.count() == 0
