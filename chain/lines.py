"""Labelled lines at which a process may die without harm.

Nothing happens at them, except under a simulation (`manage.py simulate_faults`), which ends the
work there and then compares the tables with those of a run without faults.
"""

from __future__ import annotations

from collections.abc import Callable

LABELS = (
    "sync: blocks read",
    "sync: cursor taken",
    "sync: outgoing put back",
    "sync: orphans dropped",
    "sync: tasks refolded",
    "sync: facts written",
    "sync: events folded",
    "sync: outgoing settled",
    "sync: committed",
    "send: quoted",
    "send: signed",
    "send: stored",
    "send: broadcast",
)
_hook: Callable[[str], None] | None = None


def reached(label: str) -> None:
    """The work has come to this line."""
    if _hook is not None:
        _hook(label)


def watch(hook: Callable[[str], None] | None) -> None:
    """Have `hook` called at every labelled line of this process; None for nobody."""
    global _hook
    _hook = hook
