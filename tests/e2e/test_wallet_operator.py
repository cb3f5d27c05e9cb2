"""An operator with a wallet of their own: from the wizard's last step to a task that runs and is
ended, every call read before it is signed, on a real chain."""

from __future__ import annotations

from eth_account import Account as Signer
from eth_account.signers.local import LocalAccount
from playwright.sync_api import expect

from bcfl_site.embedded.redis import Redis
from chain.artifacts import COORDINATOR, TOKEN
from chain.selectors import contract_address
from sessions_app.forms.drafts import draft_start
from sessions_app.models import Task, User
from sessions_app.rounds.orchestrator import model_prepared
from tests import factories
from tests.e2e.conftest import Console, OpenPage, aside, sign_in
from tests.e2e.test_accessibility import in_every_look
from tests.e2e.test_wallet import (
    FLT,
    SOON,
    TREASURY,
    World,
    call,
    chain_of_the_console,
    read,
    wallet_page,
    world,
)

__all__ = ["Redis", "chain_of_the_console", "world"]


def test_a_task_from_one_s_own_wallet(world: World, console: Console, open_page: OpenPage) -> None:
    values = {
        "title": "From my own wallet",
        "participants": "1",
        "rounds": "2",
        "pool": "30",
        "stake": "2",
        "hosted_places": "0",
        "evaluators": [],
        "outside_evaluators": TREASURY.address,
    }
    draft = aside(lambda: draft_start(by=User.objects.get(username="mara"), values=values))
    wallet = world.wallet()
    page = wallet_page(world, console, open_page, wallet)
    sign_in(page, "mara")
    page.goto(f"/tasks/drafts/{draft.pk}/review/")
    expect(page.locator("#check")).to_contain_text(
        "The pool is 30 FLT and this account holds 0 FLT."
    )
    page.get_by_role("button", name="Fund from my own wallet").click()
    page.wait_for_url("**/tasks/*/wallet/")
    task = aside(lambda: Task.objects.get(title="From my own wallet"))

    # Another network first; then the model, whose hash is part of what is signed.
    flow = page.locator("#wallet-flow")
    flow.get_by_role("button", name="Connect Test Wallet").click()
    expect(flow).to_contain_text("Wrong network")
    flow.get_by_role("button", name="Switch to BCFL dev chain").click()
    expect(flow).to_contain_text("The initial model is being made")
    model = factories.hash_of("wallet model")
    aside(lambda: model_prepared(task.pk, model_hash=model, samples=[]))

    def sign(offer: str, *said: str) -> None:
        flow.get_by_role("button", name=offer, exact=True).click()
        for words in said:
            expect(flow).to_contain_text(words)
        flow.get_by_role("button", name="Sign in Test Wallet").click()
        expect(flow).to_contain_text("Written into the console", timeout=SOON)
        flow.get_by_role("button", name="Continue").click()

    # Two signatures, each decoded; refused once, nothing is lost.
    sign("Approve 30 FLT", "Allow the coordinator to take 30 FLT", "approve", "ETH")
    flow.get_by_role("button", name="Create the task").click()
    expect(flow).to_contain_text("createTask")
    expect(flow).to_contain_text("with 30 FLT in escrow")
    wrong = in_every_look(page, "operator's wallet")
    wallet.refuse = True
    flow.get_by_role("button", name="Sign in Test Wallet").click()
    expect(flow).to_contain_text("You refused it in Test Wallet. Nothing was sent.")
    wallet.refuse = False
    flow.get_by_role("button", name="Back").click()
    sign("Create the task", "createTask")
    expect(flow).to_contain_text("0 participants of at least 1 joined")
    task.refresh_from_db()
    assert (task.stage, task.phase) == (Task.Stage.PLACED, Task.Phase.OPEN)
    assert (task.operator_address, task.model_hash) == (wallet.key.address, model)
    assert read(TOKEN, "balanceOf", wallet.key.address) == 70 * FLT

    # Somebody joins; the operator alone may start before the join time is over.
    member: LocalAccount = Signer.create()
    world.anvil.rpc("anvil_setBalance", member.address, hex(10**18))
    call(TREASURY, TOKEN, "transfer", member.address, 2 * FLT)
    call(member, TOKEN, "approve", contract_address(COORDINATOR), 2 * FLT)
    call(member, COORDINATOR, "join", task.onchain_id, 40)
    world.wait(lambda: task.members.exists())
    page.goto(f"/tasks/{task.pk}/")
    expect(page.locator("main")).to_contain_text("Waiting for the operator's wallet to sign")
    page.get_by_role("link", name="Sign with your wallet").click()
    sign("Start with 1", "Start “From my own wallet”")
    expect(flow).to_contain_text("Round 1 of 2")

    # More for the pool: an approval, then the top-up, of the amount that was typed once.
    flow.get_by_label("Add to the pool, FLT").fill("a lot")
    flow.get_by_role("button", name="Top up the pool").click()
    expect(flow).to_contain_text("“a lot” is not an amount of FLT")
    flow.get_by_label("Add to the pool, FLT").fill("5")
    sign("Top up the pool", "Allow the coordinator to take 5 FLT")
    sign("Top up the pool", "Add 5 FLT to the pool")
    world.wait(lambda: Task.objects.get(pk=task.pk).pool_funded == 35 * FLT)

    # Another account of the wallet signs nothing for it; the operator ends it, and is paid back.
    mine, wallet.key = wallet.key, member
    page.reload()
    expect(flow).to_contain_text(f"The operator of this task is {mine.address}")
    expect(flow.get_by_role("button", name="End the task")).to_have_count(0)
    wallet.key = mine
    page.reload()
    sign("End the task", "cancel")
    expect(flow).to_contain_text("Nothing is left to sign")
    assert read(TOKEN, "balanceOf", wallet.key.address) == 100 * FLT
    assert {look: found for look, found in wrong.items() if found} == {}
