"""What a person at the terminal sees: plain lines, and bars where one watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console as Terminal
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


class Screen:
    """Lines with the time of day; bars only on a terminal, so that logs stay readable."""

    def __init__(self, terminal: Terminal | None = None) -> None:
        self.terminal = terminal or Terminal(stderr=True, highlight=False)
        self._last = ""

    def say(self, text: str, *, style: str = "") -> None:
        self._last = text
        self.terminal.print(time.strftime("%H:%M:%S"), text, style=style or None, markup=False)

    def say_once(self, text: str) -> None:
        """Not again while nothing else was said: for what one waits for."""
        if text != self._last:
            self.say(text)

    @contextmanager
    def training(self, what: str) -> Iterator[Callable[[int, int, float], None]]:
        """A bar with samples a second and an estimate of what is left."""
        with self._progress(TextColumn("{task.fields[rate]:,.0f} samples/s")) as bar:
            row = bar.add_task(what, total=None, rate=0.0)
            yield lambda done, total, rate: bar.update(row, completed=done, total=total, rate=rate)

    @contextmanager
    def moving(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A bar for bytes that come or go."""
        with self._progress() as bar:
            row = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(row, completed=done, total=total)

    def _progress(self, *more: TextColumn) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            *more,
            TimeRemainingColumn(),
            console=self.terminal,
            transient=True,
            disable=not self.terminal.is_terminal,
        )
