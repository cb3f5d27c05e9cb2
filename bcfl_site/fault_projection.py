"""The console's projection without its messages, for runs that compare tables."""

from __future__ import annotations

from typing import Any

from sessions_app.projection.tables import TaskProjection


class Silent(TaskProjection):
    def committed(self, *_: Any) -> None:
        """Messages are not what is compared."""
