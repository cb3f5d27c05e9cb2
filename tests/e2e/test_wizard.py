"""The task wizard in a browser: by keyboard alone, and nothing typed is lost."""

from __future__ import annotations

from pathlib import Path

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
    expect(page.locator("#form-errors")).to_contain_text("“many” is not accepted")
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


def test_everyone_s_own_data_from_an_example(
    console: Console, open_page: OpenPage, tmp_path: Path
) -> None:
    """The columns come from a file whose rows are dropped; what is not meant is not asked for."""
    factories.running_task(factories.user("operator"), rounds=1)
    example = tmp_path / "example.csv"
    example.write_text("age,side,diagnosis\n40,left,benign\n71,right,malignant\n50,left,benign\n")
    page = open_page(console.url)
    sign_in(page, "mara")
    page.goto("/tasks/new/")
    press(page, "Begin from nothing")
    own = page.get_by_role("region", name="Everyone's own data")
    expect(own).to_be_hidden()
    page.get_by_label("Title").fill("Tumours")
    page.locator("#id_dataset").select_option("private")
    expect(own).to_be_visible()
    expect(page.locator("#wrap-partition")).to_be_hidden()
    expect(page.locator("#partition")).to_be_hidden()
    page.get_by_label("Label column").fill("diagnosis")
    page.get_by_label("Read a CSV file").set_input_files(example)
    press(page, "Read the columns only")
    expect(page.locator("body")).to_contain_text("Its rows were dropped")
    expect(page.locator("#id_private__classes")).to_have_value("benign, malignant")
    expect(page.locator("#id_private__columns")).to_have_value(
        "age: number, center 53.6667, scale 12.9185\nside: left | right"
    )
    expect(page.get_by_label("Title")).to_have_value("Tumours")
    page.get_by_label("Read a CSV file").set_input_files(example)
    press(page, "Store its rows as held-out samples")
    expect(own).to_contain_text("3 held-out samples of example.csv")
    press(page, "Next: training")
    page.wait_for_url("**/training/")
    page.goto(page.url.replace("training", "terms"))
    expect(page.locator("#wrap-hosted_places")).to_be_hidden()
