"""The projection without its messages: a measurement has no Redis to take them."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from sessions_app.projection.tables import TaskProjection


class Silent(TaskProjection):
    def committed(self, *_: Any) -> None:
        """Nobody listens."""


def quiet() -> TextIO:
    """Where commands may talk: stdout carries the result."""
    return sys.stderr
