"""The operator of the three hospitals in a real browser: the wizard, from nothing to funded."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playwright.sync_api import Page, TimeoutError, expect, sync_playwright

from bcfl_site.embedded.browser import FLAGS, browser
from sessions_app.services.demo import LOGINS

SLOW = 60_000  # ms


def create_task(url: str, *, title: str, held_out: Path, evaluators: Sequence[str]) -> None:
    """As `run_task` in docs/three-hospitals.md. In a thread of its own, where Playwright's event
    loop may stay."""

    def run() -> None:
        with sync_playwright() as playwright:
            started = playwright.chromium.launch(executable_path=browser(), args=FLAGS)
            page = started.new_page(base_url=url)
            page.set_default_timeout(SLOW)
            asked: list[str] = []
            page.on("request", lambda one: asked.append(f"asked {one.method} {one.url}"))
            page.on("response", lambda one: asked.append(f"{one.status} {one.url}"))
            page.on("requestfailed", lambda one: asked.append(f"{one.failure} {one.url}"))
            try:
                _wizard(page, title, held_out, evaluators)
            except (AssertionError, TimeoutError) as error:
                said = page.locator("body").inner_text()
                trail = "\n".join(one for one in asked[-60:] if "/static/" not in one)
                raise AssertionError(
                    f"{error}\nat {page.url}, which says:\n{said}\n\n{trail}"
                ) from error
            started.close()

    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(run).result()


def _wizard(page: Page, title: str, held_out: Path, evaluators: Sequence[str]) -> None:
    login = LOGINS[0]
    page.goto("/sign-in/")
    page.get_by_label("Username").fill(login.username)
    page.locator("input[type=password]").fill(login.password)
    page.locator("input[type=password]").press("Enter")
    page.wait_for_url(lambda address: "/sign-in/" not in address)

    page.goto("/tasks/new/")
    page.get_by_role("button", name="Begin from nothing").click()
    page.get_by_label("Title").fill(title)
    page.locator("#id_dataset").select_option("private")
    page.locator("#id_participants").fill("3")
    page.locator("#id_model").select_option("logistic")
    page.get_by_label("Label column").fill("diagnosis")
    page.get_by_label("Read a CSV file").set_input_files(held_out)
    page.get_by_role("button", name="Store its rows as held-out samples").click()
    own = page.get_by_role("region", name="Everyone's own data")
    expect(own).to_contain_text(f"held-out samples of {held_out.name}", timeout=SLOW)
    page.get_by_role("button", name="Next: training").click()

    page.wait_for_url("**/training/")
    page.locator("#id_rounds").fill("4")
    page.locator("#id_local__epochs").fill("10")
    page.locator("#id_local__learning_rate").fill("0.02")
    page.get_by_role("button", name="Next: people and money").click()

    page.wait_for_url("**/terms/")
    page.get_by_label("Reward pool, FLT").fill("300")
    page.get_by_label("Stake per participant, FLT").fill("5")
    for box in page.locator("input[name=evaluators]").all():
        box.uncheck()
    page.get_by_label("Evaluators elsewhere").fill("\n".join(evaluators))
    page.get_by_role("button", name="Next: review and fund").click()

    page.wait_for_url("**/review/")
    expect(page.locator("#check")).to_contain_text("The contract takes these terms.", timeout=SLOW)
    page.get_by_role("button", name="Fund and start").click()
    page.wait_for_url("**/tasks/*/")
    joining = "Waiting for 3 more participants to join from their own wallets."
    expect(page.locator("#part-now")).to_contain_text(joining, timeout=SLOW)
