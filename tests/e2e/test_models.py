"""From the list of models to a drawn digit's answer, on real workers, with pointer and keyboard."""

from __future__ import annotations

import json
import re

from playwright.sync_api import Page, expect

from bcfl_site.embedded.stack import Stack
from sessions_app.services.demo import LOGINS
from tests.e2e.conftest import OpenPage, fill_sign_in
from tests.e2e.test_accessibility import violations

TASK = ("run_task", "--participants", "2", "--rounds", "3", "--seed", "5", "--wait", "--json")
COLD = 60_000  # ms; the first prediction after a start loads TensorFlow


def draw_a_one(page: Page) -> None:
    box = page.locator(".pad").bounding_box()
    assert box is not None
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(x, box["y"] + 0.5 * box["height"], steps=4)
    page.mouse.move(x, box["y"] + 0.8 * box["height"], steps=4)
    page.mouse.up()


def test_open_a_model_draw_and_see_what_it_says(stack: Stack, open_page: OpenPage) -> None:
    stack.manage("seed_demo")
    task = json.loads(stack.manage(*TASK, seconds=180))["task"]["id"]
    login = LOGINS[2]  # an admin: the task of a command belongs to the operator of the chain
    page = open_page(stack.url)
    fill_sign_in(page, login.username, login.password)

    page.get_by_role("link", name="Models").first.click()
    page.locator(f"a[href='/models/{task}/']").click()
    expect(page.locator("main")).to_contain_text("None is in production.")
    page.get_by_role("link", name="3", exact=True).click()
    expect(page.locator("main")).to_contain_text("matches chain")
    page.locator("summary", has_text="Promote").click()
    page.locator("#note-promote").fill("the best of three")
    page.get_by_role("button", name="Promote version 3").click()
    expect(page.locator("h1")).to_contain_text("Production")

    page.get_by_role("link", name="Try it").click()
    take = page.get_by_role("button", name="Held-out sample")
    expect(take).to_be_enabled(timeout=COLD)
    draw_a_one(page)
    verdict, meta = page.locator("[data-verdict]"), page.locator("[data-meta]")
    expect(meta).to_contain_text("Version 3 answered", timeout=COLD)
    expect(verdict).to_have_text(re.compile(r"\d, \d+\.\d %"))
    expect(page.locator(".bar")).to_have_count(10)

    # The keyboard alone draws too.
    page.get_by_role("button", name="Clear").click()
    expect(verdict).to_have_text("Draw something.")
    page.locator(".pad").focus()
    for key in ("Space", "ArrowDown", "ArrowDown", "Space"):
        page.keyboard.press(key)
    expect(verdict).to_have_text(re.compile(r"\d, \d+\.\d %"))
    assert violations(page) == []
    take.click()
    truth = page.locator("[data-truth]")
    expect(truth).to_contain_text("Held-out sample")
    expect(meta).to_contain_text("Version 3 answered")

    # A file is made while one watches.
    page.goto(f"/models/{task}/3/")
    page.get_by_role("button", name="Make the Keras file").click()
    download = page.get_by_role("link", name="Download Keras")
    expect(download).to_be_visible(timeout=COLD)
    with page.expect_download() as started:
        download.click()
    assert started.value.suggested_filename == f"model-{task}-version-3.keras"
