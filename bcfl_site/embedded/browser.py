"""The browser of this machine, for tests and benchmarks that look at pages."""

from __future__ import annotations

import shutil

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MISSING = f"No browser: install one of {', '.join(BROWSERS)}; on Debian, apt-get install chromium."
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def browser() -> str | None:
    """The path of the first that is installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)
