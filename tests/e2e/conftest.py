"""A real browser, and the console's own pages on the test database.

``console`` serves the ASGI application over the channel layer, with no chain and no workers: the
tests write what the follower would have written. The journey test runs on the whole stack.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection, connections
from django.utils import timezone
from playwright.sync_api import Browser, Page, sync_playwright

from bcfl_site.embedded.binaries import ROOT
from bcfl_site.embedded.browser import FLAGS, MISSING, browser
from bcfl_site.embedded.process import free_port, wait_until
from bcfl_site.embedded.redis import Redis
from bcfl_site.embedded.stack import answers_http
from chain.models import SyncCursor
from sessions_app.models import User

ResultT = TypeVar("ResultT")


def aside(work: Callable[[], ResultT]) -> ResultT:
    """Run in a thread of its own: Playwright's event loop lives in the test's thread, and
    ``async_to_sync`` refuses to run beside it."""

    def run() -> ResultT:
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(run).result()


def database_url() -> str:
    """The test database, for a process that is not ours."""
    wanted = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{wanted['NAME']}"
    user = f"{quote(wanted['USER'])}:{quote(wanted['PASSWORD'])}"
    return f"postgres://{user}@{quote(wanted['HOST'], safe='')}:{wanted['PORT']}/{wanted['NAME']}"


class Console:
    """The web server of the tests, a process of its own; it can be killed and started again.
    One serves test after test: what it knows stands in the database, which each test empties."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        """What it runs with now; a test may have changed it since the last one."""
        return os.environ | {
            "DATABASE_URL": database_url(),
            "BCFL_PORT": str(self.port),
            "DJANGO_SETTINGS_MODULE": "bcfl_site.settings",
            "PYTEST_CURRENT_TEST": "",  # another one in each test, and no reason to start anew
        }

    def ready(self) -> None:
        """Running, with the environment of this test."""
        alive = self._process is not None and self._process.poll() is None
        if not alive or self._environment != self.environment():
            self.kill()
            self.start()

    def start(self) -> None:
        environment = self._environment = self.environment()
        command = [sys.executable, "-m", "uvicorn", "bcfl_site.asgi:application"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port), "--log-level", "warning"],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(
            lambda: answers_http(self.port, path="/sign-in/"),
            what="the web server",
            alive=lambda: self._process is not None and self._process.poll() is None,
            hint=lambda: self.log.read_text()[-2000:],
            seconds=60,
        )

    def kill(self) -> None:
        """As a crash would: nobody says goodbye to the browser."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)


@pytest.fixture(scope="session")
def web(redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    console = Console(tmp_path_factory.mktemp("console") / "web.log")
    yield console
    console.kill()


@pytest.fixture
def console(transactional_db: None, web: Console) -> Console:
    web.ready()
    return web


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = browser()
    if path is None:
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """``open_page(url, width=1280, theme="light")``: a page in a profile of its own. Whatever it
    says on its console, fails to run or asks of another host fails the test."""
    contexts = []
    trouble: list[str] = []

    def new(url: str, *, width: int = 1280, theme: str = "light") -> Page:
        context = chromium.new_context(
            base_url=url,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if theme == "dark" else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: trouble.append(f"uncaught: {error}"))
        page.on(
            "console",
            lambda said: trouble.append(said.text) if "Content Security" in said.text else None,
        )
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith((url, url.replace("http", "ws"), "data:", "about:"))
                else trouble.append(f"asked {asked.url}")
            ),
        )
        return page

    yield new
    for context in contexts:
        context.close()
    assert trouble == []


def sign_in(page: Page, username: str, password: str = "pass-word-1") -> None:
    """Through the form. The server hashes passwords as in production, the factories as in tests."""
    encoded = PBKDF2PasswordHasher().encode(password, "salt-of-the-test")
    User.objects.filter(username=username).update(password=encoded)
    fill_sign_in(page, username, password)


def hear_follower() -> None:
    """As if a follower had just written: pages of this console stay live for an hour. Without
    one they rightly call it silent after four seconds, which a busy machine can take."""
    SyncCursor.objects.update(updated_at=timezone.now() + timedelta(hours=1))


def fill_sign_in(page: Page, username: str, password: str) -> None:
    page.goto("/sign-in/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(lambda url: "/sign-in/" not in url)
