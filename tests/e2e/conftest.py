"""A real browser, and the console's own pages on the test database.

``console`` serves the ASGI application over the channel layer, with no chain and no workers: the
tests write what the follower would have written. The journey test runs on the whole stack.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
import uvicorn
from django.conf import settings
from django.db import connections
from playwright.sync_api import Browser, Page, sync_playwright

from bcfl_site.embedded.process import free_port
from bcfl_site.embedded.redis import Redis

ResultT = TypeVar("ResultT")
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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


class Console:
    """The web server of a test; can be ended and started again on the same port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        from bcfl_site.asgi import application

        config = uvicorn.Config(
            application, host="127.0.0.1", port=self.port, log_level="warning", lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._started = threading.Event()
        startup = self._server.startup

        async def announced(sockets: object = None) -> None:
            await startup()
            self._started.set()

        self._server.startup = announced  # type: ignore[method-assign, assignment]
        self._thread.start()
        assert self._started.wait(30), "the web server did not start within 30 s"

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "the web server did not stop within 30 s"


@pytest.fixture
def console(transactional_db: None, redis_server: Redis) -> Iterator[Console]:
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
    console = Console()
    console.start()
    yield console
    console.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


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
    page.goto("/sign-in/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")
