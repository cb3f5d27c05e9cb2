"""axe, on every page and state in the table below, both themes, wide and narrow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from django.conf import settings as django_settings
from django.db import connection
from django.db.models import Model
from django.utils import timezone
from playwright.sync_api import Page, expect

from chain.models import SyncCursor, SyncState
from sessions_app.forms.tables import STEPS
from sessions_app.models import Task, TaskDraft, TaskTemplate, TrainingRun
from sessions_app.services.invitations import invitation_create
from tests import factories
from tests.e2e.conftest import Console, OpenPage, aside, hear_follower, sign_in
from training.blobs import BlobStore

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTHS = (1280, 360)
AXE = Path(__file__).resolve().parent.parent.parent / "node_modules/axe-core/axe.min.js"


def violations(page: Page) -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())  # by the tool, which the page's policy lets pass
    # What passed is neither described nor brought here: that took longer than the check.
    found: list[dict[str, Any]] = page.evaluate(
        "axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations)"
    )
    return [
        f"{rule['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


def in_every_look(page: Page, name: str) -> dict[str, list[str]]:
    """Violations and overflow by theme and width; charts redraw themselves on both changes."""
    found = {}
    for scheme in SCHEMES:
        for width in WIDTHS:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            wrong = violations(page)
            overflow = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            if overflow > 0:
                wrong.append(f"{overflow} px wider than the screen")
            found[f"{name} {scheme} {width}"] = wrong
    return found


def settle(page: Page) -> None:
    """Until the socket is open and, on a task page, the charts are drawn or empty."""
    badge = page.locator("#live-badge")
    if badge.count():
        # "trouble" is the truth here once four seconds have passed: nobody follows a chain.
        expect(badge).to_have_attribute("data-state", re.compile("live|trouble"))
    expect(page.locator(".empty-chart:visible", has_text="Drawing…")).to_have_count(0)


def test_no_violation_on_any_page(console: Console, open_page: OpenPage) -> None:
    """Each page is loaded once, then looked at in every theme and width."""
    operator, admin = factories.user("operator"), factories.user("admin")
    factories.user("participant")
    eastfield = factories.address_of("Eastfield")
    draft = factories.draft(operator, "A draft")
    running = factories.running_task(operator, rounds=2).task
    finished = factories.finished_task(operator, title="A finished one").task
    failed = factories.draft(
        operator, "A failed one", stage=Task.Stage.FAILED, failure="createTask was refused."
    )
    begun = TaskDraft.objects.create(
        owner=operator, values={"rounds": "seven", "dataset": "private"}
    )
    refused = factories.TaskStory(factories.draft(operator, "Refused")).fund().seat().join(3)
    refused.refuse(slot=3)
    factories.store_models(finished, BlobStore(django_settings.BLOB_ROOT))
    paused = factories.running_task(operator, rounds=1).task
    Task.objects.filter(pk=paused.pk).update(paused_at=timezone.now())
    stalled = factories.running_task(operator, rounds=1).task
    long_ago = timezone.now() - timedelta(hours=1)
    stalled.round_runs.filter(number=2).update(opened_at=long_ago)
    stalled.events.update(block_time=int(long_ago.timestamp()))
    TrainingRun.objects.filter(seat__task=stalled).update(started_at=long_ago, finished_at=None)
    rejecting = running.round_runs.get(number=2)
    rejecting.result |= {
        "epsilon": 2.5,
        "evidence": factories.hash_of("evidence"),
        "rejected": [[eastfield, "norm: 12.5 times as long as the median"]],
    }
    rejecting.save()
    hook = operator.webhooks.create(url="https://example.org/hook", events=["fault"])
    hook.deliveries.create(key="fault:1", event="fault", response_status=503, error="HTTP 503")
    transaction = running.created_tx
    address = operator.account.address if operator.account else ""
    pages = {
        operator.username: [
            "/",
            "/tasks/",
            "/tasks/?show=ended",
            "/tasks/new/",
            *(f"/tasks/{t.pk}/" for t in (draft, running, finished, failed, refused.task)),
            *(f"/tasks/{t.pk}/" for t in (paused, stalled)),
            f"/tasks/{running.pk}/timeline/",
            f"/tasks/{running.pk}/timeline/?round=999",
            f"/tasks/{draft.pk}/timeline/",
            f"/tasks/{running.pk}/artefacts/",
            f"/tasks/{draft.pk}/artefacts/",
            f"/tasks/{draft.pk}/edit/",
            *(f"/tasks/drafts/{begun.pk}/{step}/?check=1" for step in STEPS),
            f"/tasks/{draft.pk}/template/",
            "/tasks/?show=drafts",
            "/compare/",
            f"/compare/?tasks={running.pk},{finished.pk}",
            "/models/",
            "/models/?q=nothing",
            f"/models/{finished.pk}/?a=1&b=3",
            *(f"/models/{t.pk}/2/" for t in (running, finished)),  # without and with its bytes
            f"/models/{finished.pk}/3/try/",
            "/ledger/outbox/",
            "/ledger/",
            f"/ledger/tx/{transaction}/",
            f"/ledger/block/{running.created_block}/",
            f"/ledger/address/{address}/",
            "/ledger/blocks/",
            "/ledger/transactions/",
            "/ledger/transactions/?function=nonsense",
            "/ledger/transactions/?status=reverted",
            "/ledger/events/",
            "/ledger/token/",
            "/ledger/holders/",
            "/ledger/contracts/",
            "/ledger/contracts/FLCoordinator/",
            "/search/?q=a",
            "/settings/",
            f"/settings/webhooks/{hook.pk}/",
            "/notifications/",
            "/invitations/",
            "/health/",
            "/account/mfa/",
            "/account/mfa/totp/activate/",
            "/account/mfa/webauthn/add/",
            "/account/password/",
            "/account/email/",
            "/api/v1/docs",
            "/participants/",
            "/participants/?q=nobody",
            "/participants/?sort=luck",
            f"/participants/{address}/",
            f"/participants/{eastfield}/",
            "/rewards/",
            f"/rewards/{running.pk}/2/{eastfield}/",
            f"/rewards/{running.pk}/3/{eastfield}/",
            f"/tasks/{running.pk}/join/",
            "/tasks/9999/",
            "/search/?q=nothing",
        ],
        "eastfield": ["/", "/rewards/", f"/tasks/{running.pk}/", "/tasks/new/"],
        admin.username: ["/", "/users/", "/audit/", "/maintenance/", "/health/"],
    }
    wrong: dict[str, list[str]] = {}
    stranger = open_page(console.url)
    invitation = aside(lambda: invitation_create(by=admin, role="operator"))
    for path in (
        "/sign-in/",
        "/account/password/reset/",
        f"/invitations/{invitation.code}/",
        "/invitations/unknown/",
        "/nothing/here/",
    ):
        stranger.goto(path)
        wrong |= in_every_look(stranger, path)
    for username, paths in pages.items():
        page = open_page(console.url)
        sign_in(page, username)
        for path in paths:
            page.goto(path)
            settle(page)
            wrong |= in_every_look(page, f"{username} {path}")
    assert {path: found for path, found in wrong.items() if found} == {}


@contextmanager
def without_table(model: type[Model]) -> Iterator[None]:
    """Whatever asks for these rows meets an error that nobody expected."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER TABLE "{table}" RENAME TO "{table}_away"')
        try:
            yield
        finally:
            cursor.execute(f'ALTER TABLE "{table}_away" RENAME TO "{table}"')


def test_a_page_that_broke_says_so(console: Console, open_page: OpenPage) -> None:
    factories.user("operator")
    page = open_page(console.url)
    sign_in(page, "mara")
    with without_table(TaskTemplate):
        answer = page.goto("/tasks/new/")
        assert answer is not None
        assert answer.status == 500
        expect(page.locator("h1")).to_have_text("Something broke")
        wrong = in_every_look(page, "500")
    assert {path: found for path, found in wrong.items() if found} == {}


def test_trouble_is_told_in_full(console: Console, open_page: OpenPage) -> None:
    """The badge has room for a few words; behind it stands the cause and what to do."""
    factories.running_task(factories.user("operator"), rounds=1)
    hear_follower()
    cause = "The reorganisation reaches 70 blocks back, further than the limit of 64. Run resync."
    SyncCursor.objects.update(state=SyncState.DEEP_REORG, message=cause)
    page = open_page(console.url, width=360)
    sign_in(page, "mara")
    badge = page.locator("#live-badge")
    expect(badge).to_have_attribute("data-state", "trouble")
    badge.focus()
    page.keyboard.press("Enter")
    told = page.locator("#live-told")
    expect(told).to_be_in_viewport(ratio=1)
    expect(told).to_contain_text(cause)
    wrong = in_every_look(page, "the badge, open")
    assert {path: found for path, found in wrong.items() if found} == {}


def test_nothing_moves_for_who_wants_it_still(console: Console, open_page: OpenPage) -> None:
    """`prefers-reduced-motion` (WCAG 2.3.3) on one page, without it and with it: the rule is of
    all pages."""
    factories.running_task(factories.user("operator"), rounds=1)
    hear_follower()
    page = open_page(console.url)
    sign_in(page, "mara")
    longest = """() => Math.max(...[...document.querySelectorAll("*")].flatMap((node) => {
      const style = getComputedStyle(node);
      return [...style.animationDuration.split(","), ...style.transitionDuration.split(",")];
    }).map((text) => parseFloat(text) * (text.trim().endsWith("ms") ? 1 : 1000)))"""
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(longest) > 100
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(longest) <= 0.01


def test_the_tables_of_the_charts_are_one_key_away(console: Console, open_page: OpenPage) -> None:
    operator = factories.user("operator")
    task = factories.finished_task(operator).task
    page = open_page(console.url)
    sign_in(page, "mara")
    page.goto(f"/tasks/{task.pk}/")
    settle(page)
    button = page.get_by_role("button", name="Accuracy and loss by round: show as a table")
    button.focus()
    page.keyboard.press("Enter")
    table = page.locator("#table-accuracy")
    table.wait_for(state="visible")
    assert table.locator("tbody tr").count() == 3
    assert violations(page) == []


def test_a_journey_by_keyboard(console: Console, open_page: OpenPage) -> None:
    """Sign in, open a task, choose the dark theme: no mouse."""
    factories.finished_task(factories.user("operator"), title="By keyboard")
    page = open_page(console.url)
    sign_in(page, "mara")
    page.get_by_text("Mara · operator").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in/**")
    page.get_by_label("Username").focus()
    page.keyboard.type("mara")
    page.keyboard.press("Tab")
    page.keyboard.type("pass-word-1")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/sign-in/" not in url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    page.get_by_role("link", name="By keyboard").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/tasks/*/")
    page.locator("summary", has_text="Mara").focus()
    page.keyboard.press("Enter")
    dark = page.get_by_role("button", name="Dark")
    dark.wait_for(state="visible")
    dark.focus()
    with page.expect_response("**/settings/theme/"):
        page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.keyboard.press("Escape")
    dark.wait_for(state="hidden")


def test_menus_of_a_running_task(console: Console, open_page: OpenPage) -> None:
    """Opened one after the other: pause, invite, more, and a participant's removal."""
    task = factories.running_task(factories.user("operator"), rounds=1).task
    page = open_page(console.url)
    sign_in(page, "mara")
    page.goto(f"/tasks/{task.pk}/")
    settle(page)
    for menu in ("menu-pause", "menu-invite", "menu-more"):
        summary = page.locator(f"#{menu} > summary")
        summary.focus()
        page.keyboard.press("Enter")
        expect(page.locator(f"#{menu} .pop")).to_be_visible()
        assert violations(page) == []
        page.keyboard.press("Escape")
        expect(page.locator(f"#{menu} .pop")).to_be_hidden()
        expect(summary).to_be_focused()
    remove = page.get_by_role("button", name="Remove Eastfield…")
    remove.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Remove Eastfield")
    expect(dialog).to_contain_text("leaves on chain by its own key")
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_a_phone_reaches_every_page(console: Console, open_page: OpenPage) -> None:
    """What the bar at the foot has no room for stands under More, the search as well."""
    task = factories.running_task(factories.user("operator"), rounds=1).task
    factories.user("admin")
    page = open_page(console.url, width=360)
    sign_in(page, "ada")
    more = page.locator(".tabs-bottom summary")
    more.focus()
    page.keyboard.press("Enter")
    menu = page.locator(".tabs-bottom .pop")
    expect(menu).to_be_visible()
    assert violations(page) == []
    wide = page.locator(".side a.item").evaluate_all("links => links.map((a) => a.pathname)")
    small = page.locator(".tabs-bottom a").evaluate_all("links => links.map((a) => a.pathname)")
    assert sorted(wide) == sorted(small)
    menu.get_by_label("Search everything").fill(f"#{task.pk}")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/tasks/{task.pk}/")
