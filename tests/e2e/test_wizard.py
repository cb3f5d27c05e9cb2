"""The task wizard in a browser: by keyboard alone, and nothing typed is lost."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from sessions_app.models import Task, TaskDraft
from tests import factories
from tests.e2e.conftest import Console, OpenPage, aside, sign_in


def press(page: Page, name: str) -> None:
    button = page.get_by_role("button", name=name, exact=True)
    button.focus()
    page.keyboard.press("Enter")


def test_from_a_template_to_a_funded_task_by_keyboard(
    console: Console, open_page: OpenPage
) -> None:
    operator = factories.user("operator")
    factories.running_task(operator, rounds=1)  # brings tokens and an evaluator
    page = open_page(console.url)
    sign_in(page, "mara")
    page.goto("/tasks/new/")
    press(page, "Use First try: digits in a minute")
    expect(page.locator(".partition .bar")).to_have_count(3)
    title = page.get_by_label("Title")
    title.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("Half written")
    page.locator("#id_model").select_option("cnn")
    expect(page.locator("#wrap-model__filters")).to_be_visible()
    expect(page.locator("#wrap-model__hidden")).to_be_hidden()
    expect(page.locator("#draft-state")).to_contain_text("Saved")
    page.reload()
    expect(title).to_have_value("Half written")
    expect(page.locator("#wrap-model__filters")).to_be_visible()
    title.focus()
    page.keyboard.press("Enter")  # goes on
    page.wait_for_url("**/training/")
    rounds = page.locator("#id_rounds")
    rounds.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("many")
    page.keyboard.press("Enter")
    expect(page.locator("#form-errors")).to_contain_text("“many” does not do")
    expect(rounds).to_have_value("many")
    rounds.fill("4")
    page.keyboard.press("Enter")
    page.wait_for_url("**/terms/")
    press(page, "Next: review and fund")
    page.wait_for_url("**/review/")
    press(page, "Fund and start")
    page.wait_for_url("**/tasks/*/")
    task = aside(lambda: Task.objects.latest("pk"))
    assert (task.title, task.rounds, task.stage) == ("Half written", 4, Task.Stage.PREPARING)
    assert aside(TaskDraft.objects.count) == 0
