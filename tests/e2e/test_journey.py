"""The operator's and the admin's journeys on the whole stack: real chain, real workers, real
browser. The participant's is in test_wallet.py."""

from __future__ import annotations

import json

from playwright.sync_api import expect

from bcfl_site.embedded.stack import Stack
from sessions_app.services.demo import LOGINS
from tests.e2e.conftest import OpenPage, fill_sign_in

FIRST_ROUND = 120_000  # ms; a worker that has just started loads TensorFlow first
NEXT_ROUND = 60_000
AUDITED = ("run_task", "--participants", "2", "--rounds", "1", "--seed", "3", "--wait", "--json")


def test_an_operator_creates_a_task_and_watches_three_rounds(
    stack: Stack, open_page: OpenPage
) -> None:
    stack.manage("seed_demo")
    login = LOGINS[0]
    page = open_page(stack.url)
    fill_sign_in(page, login.username, login.password)

    page.get_by_role("link", name="New task").first.click()
    page.get_by_role("button", name="Begin from nothing").click()
    page.get_by_label("Title").fill("Watched in a browser")
    page.locator("#id_participants").fill("3")
    page.get_by_role("button", name="Next: training").click()
    page.locator("#id_rounds").fill("3")
    page.get_by_role("button", name="Next: people and money").click()
    page.get_by_label("Reward pool, FLT").fill("30")
    page.get_by_role("button", name="Next: review and fund").click()
    expect(page.locator("#check")).to_contain_text("The contract takes these terms.")
    page.get_by_role("button", name="Save without starting").click()
    now = page.locator("#part-now")
    expect(now).to_contain_text("Nothing is on chain and nothing is spent.")
    expect(page.locator("#live-badge")).to_have_attribute("data-state", "live")
    page.evaluate("window.neverReloaded = true")

    page.get_by_role("button", name="Start", exact=True).click()
    for number in (1, 2, 3):
        row = page.locator("#part-rounds tbody tr").filter(has_text="Finalized")
        expect(row).to_have_count(number, timeout=FIRST_ROUND if number == 1 else NEXT_ROUND)
    expect(now).to_contain_text("Completed. 3 rounds ended at", timeout=NEXT_ROUND)
    expect(page.locator("[data-readout=accuracy]")).to_contain_text("Round 3")
    expect(page.locator("#part-kpis")).to_contain_text("30 of 30 FLT")
    expect(page.locator("#part-head")).to_contain_text("matches chain")

    page.locator("#claim-all").click()
    expect(page.locator("#part-kpis")).to_contain_text("30 claimed", timeout=NEXT_ROUND)
    expect(now).to_contain_text("Completed.")
    expect(page.locator("#part-feed")).to_contain_text("claimed")
    assert page.evaluate("window.neverReloaded") is True

    page.locator("#part-feed").get_by_role("link").first.click()
    expect(page.locator("main")).to_contain_text("Succeeded")


def test_an_admin_follows_a_number_to_its_transaction_and_audits(
    stack: Stack, open_page: OpenPage
) -> None:
    stack.manage("seed_demo")
    ran = stack.manage(*AUDITED, seconds=180)
    task = json.loads(ran)["task"]["id"]
    login = LOGINS[2]
    page = open_page(stack.url)
    fill_sign_in(page, login.username, login.password)

    # A number of a round, the transaction that made it, and the call in words.
    page.get_by_role("link", name="Tasks").first.click()
    page.locator(f"a[href='/tasks/{task}/']").first.click()
    page.get_by_role("link", name="Round 1, its transaction").first.click()
    main = page.locator("main")
    expect(main).to_contain_text("Succeeded")
    expect(main).to_contain_text("submitAggregate")
    expect(main).to_contain_text("rewardRoot")
    mined = page.url
    page.get_by_label("Search", exact=True).fill(mined.rstrip("/").rsplit("/", 1)[1])
    page.keyboard.press("Enter")
    expect(page).to_have_url(mined)

    # From the chain alone: the audit passes, before and after the tables were made again.
    page.get_by_role("link", name="Admin", exact=True).click()
    page.get_by_role("link", name="Chain and database").click()
    page.get_by_role("button", name="Re-audit from the chain alone").click()
    jobs = page.locator("#jobs li")
    expect(jobs.first).to_contain_text("PASS", timeout=NEXT_ROUND)
    page.get_by_role("button", name="Rebuild the projection").click()
    expect(jobs.first).to_contain_text("events folded again", timeout=NEXT_ROUND)
    page.get_by_role("button", name="Re-audit from the chain alone").click()
    expect(jobs).to_have_count(3)
    expect(jobs.first).to_contain_text("PASS", timeout=NEXT_ROUND)
