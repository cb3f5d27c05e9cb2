"""A browser that looks at a task page and notes when it has painted a change."""

from __future__ import annotations

from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from bcfl_site.embedded.browser import FLAGS, MISSING, browser

PATIENCE = 60_000  # ms; a machine under load takes long to open the first page
# A frame is on the screen when the first task after its animation callbacks runs.
OBSERVE = """() => {
  window.painted = [];
  const note = () => requestAnimationFrame(() => {
    const after = new MessageChannel();
    after.port1.onmessage = () => painted.push(performance.timeOrigin + performance.now());
    after.port2.postMessage(0);
  });
  const part = document.getElementById("part-feed");
  new MutationObserver(note).observe(part, { childList: true, subtree: true, characterData: true });
}"""

NEXT = """() => new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error("no change was painted")), 10000);
  const look = () => painted.length ? resolve(painted.splice(0)[0]) : setTimeout(look, 1);
  look();
})"""


class TaskPage:
    """``url``: of the page; ``session``: of a person who may see it. A context manager.

    Raises RuntimeError without Chromium or Playwright (``make test`` installs the latter).
    """

    def __init__(self, url: str, session: str) -> None:
        self._url, self._session = url, session

    def __enter__(self) -> Self:
        try:
            from playwright.sync_api import sync_playwright
        except ImportError as error:
            raise RuntimeError("Playwright is missing; `make dev` installs it.") from error
        path = browser()
        if path is None:
            raise RuntimeError(MISSING)
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=path, args=FLAGS)
        origin = "{0.scheme}://{0.netloc}/".format(urlsplit(self._url))
        context = self._browser.new_context(viewport={"width": 1280, "height": 900})
        context.add_cookies([{"name": "sessionid", "value": self._session, "url": origin}])
        self._page = context.new_page()
        self._page.goto(self._url)
        self._page.wait_for_selector("#live-badge[data-state=live]", timeout=PATIENCE)
        self._page.evaluate(OBSERVE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._browser.close()
        self._playwright.stop()

    def painted(self) -> float:
        """Unix seconds at which the next change was on the screen. Waits for it."""
        return float(self._page.evaluate(NEXT)) / 1e3
