"""The page follows the database without a reload, and finds its way back after a failure."""

from __future__ import annotations

import os

from playwright.sync_api import Page, expect

from sessions_app import publish
from sessions_app.models import Task
from tests import factories
from tests.e2e.conftest import Console, OpenPage, aside, hear_follower, sign_in

# Longer by hand: BCFL_TEST_OUTAGE_SECONDS=30 make test ARGS=tests/e2e/test_live_page.py
OUTAGE_SECONDS = float(os.environ.get("BCFL_TEST_OUTAGE_SECONDS", "1"))


def open_task(console: Console, open_page: OpenPage, task: Task) -> Page:
    aside(hear_follower)
    page = open_page(console.url)
    sign_in(page, "mara")
    page.goto(f"/tasks/{task.pk}/")
    expect(page.locator("#live-badge")).to_have_attribute("data-state", "live")
    page.evaluate("window.neverReloaded = true")
    return page


def test_a_round_arrives_without_a_reload(console: Console, open_page: OpenPage) -> None:
    story = factories.running_task(factories.user("operator"), rounds=1)
    page = open_task(console, open_page, story.task)
    expect(page.locator("#part-now")).to_contain_text("Round 2 of 20.")

    def finish() -> None:
        story.finish_round(2)
        publish.task_changed(story.task.pk)
        publish.chain_changed(
            chain_id=31337, block_number=story.number, head_number=story.number, state="live"
        )

    aside(finish)
    expect(page.locator("#part-now")).to_contain_text("Round 3 of 20.")
    expect(page.locator("#part-kpis")).to_contain_text("points in round 2")
    expect(page.locator("#part-rounds tbody tr")).to_have_count(3)
    expect(page.locator("[data-readout=accuracy]")).to_contain_text("Round 2")
    expect(page.locator("#live-badge")).to_contain_text(f"block {story.number:,}")
    assert page.evaluate("window.neverReloaded") is True
    bars = "[...document.querySelectorAll('progress')].map((bar) => bar.value)"
    live = page.evaluate(bars)
    page.reload()
    assert page.evaluate(bars) == live, "a bar that came live stands where a reload puts it"


def test_nothing_is_missed_while_the_server_is_away(console: Console, open_page: OpenPage) -> None:
    story = factories.running_task(factories.user("operator"), rounds=1)
    page = open_task(console, open_page, story.task)
    badge = page.locator("#live-badge")
    console.kill()
    expect(badge).to_have_attribute("data-state", "stale", timeout=2000)
    expect(badge).to_contain_text("Stale since ")

    def meanwhile() -> None:
        for number in (2, 3):
            story.finish_round(number)
            publish.task_changed(story.task.pk)
        hear_follower()

    aside(meanwhile)
    page.wait_for_timeout(1000 * OUTAGE_SECONDS)
    expect(badge).to_have_attribute("data-state", "stale")
    console.start()
    expect(badge).to_have_attribute("data-state", "live", timeout=5000)
    expect(page.locator("#part-now")).to_contain_text("Round 4 of 20.")
    expect(page.locator("[data-readout=accuracy]")).to_contain_text("Round 3")
    assert page.evaluate("window.neverReloaded") is True


def test_unchanged_parts_are_left_alone(console: Console, open_page: OpenPage) -> None:
    """Focus stays where it is, and a live region is not read out twice."""
    story = factories.running_task(factories.user("operator"), rounds=1)
    page = open_task(console, open_page, story.task)

    def same_again() -> None:
        publish.task_changed(story.task.pk)

    page.locator("#menu-more summary").click()
    field = page.get_by_label("Add to the pool, FLT")
    field.fill("12")
    field.blur()
    # In attributes, which a locator can wait for: the page's policy forbids polling by eval.
    page.evaluate(
        """() => {
          const [head, page] = [document.getElementById("part-head"), document.body.dataset];
          head.querySelector("h1").mark = "kept";
          Object.assign(page, { told: 0, changes: 0 });
          document.addEventListener("live:message", (event) => {
            if (!event.detail.parts) return;
            page.told = Number(page.told) + 1;
            // The first message may bring the same in other words; the second brings nothing new.
            if (page.told === "1") new MutationObserver((list) => (page.changes = list.length))
              .observe(head, { subtree: true, childList: true, attributes: true });
          });
        }"""
    )
    for number in ("1", "2"):
        aside(same_again)
        expect(page.locator("body")).to_have_attribute("data-told", number)
    expect(page.get_by_role("button", name="Cancel the task")).to_be_visible()
    expect(field).to_have_value("12")
    assert page.evaluate("document.querySelector('#part-head h1').mark") == "kept"
    expect(page.locator("body")).to_have_attribute("data-changes", "0")


def test_hovering_one_chart_marks_the_round_in_all(console: Console, open_page: OpenPage) -> None:
    story = factories.running_task(factories.user("operator"), rounds=4)
    page = open_task(console, open_page, story.task)
    over = page.locator("[data-plot=accuracy] .u-over")
    box = over.bounding_box()
    assert box is not None
    over.hover(position={"x": 1, "y": box["height"] / 2})
    for chart in ("accuracy", "gas", "tokens"):
        expect(page.locator(f"[data-readout={chart}]")).to_contain_text("Round 1")


def test_arrow_keys_mark_the_round_everywhere(console: Console, open_page: OpenPage) -> None:
    story = factories.running_task(factories.user("operator"), rounds=4)
    page = open_task(console, open_page, story.task)
    chart = page.locator("[data-plot=accuracy]")
    chart.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(chart).to_have_attribute("aria-valuenow", "2")
    for name in ("accuracy", "gas", "tokens", "participants", "contribution"):
        expect(page.locator(f"[data-readout={name}]")).to_contain_text("Round 2")
    expect(page.locator("#part-rounds tr.marked th")).to_have_text("2")
    page.keyboard.press("Escape")
    expect(page.locator("#part-rounds tr.marked")).to_have_count(0)
    page.get_by_role("button", name="Contribution by round: show as a table").click()
    expect(page.locator("#table-contribution tbody tr")).to_have_count(5)


def test_two_tabs_see_what_one_does(console: Console, open_page: OpenPage) -> None:
    story = factories.running_task(factories.user("operator"), rounds=1)
    page = open_task(console, open_page, story.task)
    other = page.context.new_page()
    other.goto(f"/tasks/{story.task.pk}/")
    expect(other.locator("#live-badge")).to_have_attribute("data-state", "live")
    page.locator("#menu-pause summary").click()
    page.get_by_role("button", name="Pause the training").click()
    for tab in (page, other):
        expect(tab.locator("#part-now")).to_contain_text("The contract knows no pause")
        expect(tab.get_by_role("button", name="Resume")).to_be_visible()
