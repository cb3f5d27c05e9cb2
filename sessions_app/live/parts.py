"""The parts of a task page as HTML: once for the first load, once for all who watch.

Many people look at one running task. What they see depends on the task's live number and on what
kind of viewer they are, hardly ever on who they are; so each part is rendered once for each number
and kind, in the process that serves them, and everybody gets the same text.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from channels.db import database_sync_to_async
from django.template.loader import render_to_string
from django.utils.functional import SimpleLazyObject

from sessions_app.access import addresses_of, can
from sessions_app.models import Task, User
from sessions_app.publish import ALL_PARTS, Part
from sessions_app.selectors.task.artefacts import task_artefacts
from sessions_app.selectors.task.data import TaskData, task_get
from sessions_app.selectors.task.page import TaskPage
from sessions_app.selectors.task.series import task_series
from sessions_app.selectors.wizard.quote import task_quote_now

# These look alike to everybody.
COMMON: frozenset[Part] = frozenset(
    ("now", "kpis", "charts", "feed", "rounds", "cost", "artefacts")
)
# Part → the elements of the page that it fills, and the templates that fill them.
TEMPLATES: dict[Part, dict[str, str]] = {
    "head": {"part-head": "partials/task_head.html"},
    "now": {"part-faults": "partials/task_faults.html", "part-now": "partials/task_now.html"},
    "kpis": {"part-kpis": "partials/task_kpis.html"},
    "charts": {},  # drawn in the browser from numbers
    "participants": {"part-participants": "partials/task_participants.html"},
    "feed": {"part-feed": "partials/task_feed.html"},
    "rounds": {"part-rounds": "partials/task_rounds.html"},
    "cost": {"part-cost": "partials/task_cost.html"},
    "artefacts": {"part-artefacts": "partials/task_artefacts.html"},
}
REST = 0.5  # of the time that making parts took
FRESH = 1.0  # seconds for which a part that tells the time may be shown again

Kind = tuple[object, ...]


@dataclass(frozen=True)
class Rendered:
    """Element id → HTML. ``series`` holds the last two rounds for the charts, when asked for."""

    seq: int
    html: dict[str, str]
    series: dict[str, Any] | None = None


def places_of(task: Task) -> frozenset[str]:
    """The addresses that take part in a task, or are to."""
    members = task.members.values_list("address", flat=True)
    seats = task.seats.values_list("account__address", flat=True)
    return frozenset((*members, *seats))


def kind_of(task: Task, viewer: User, places: frozenset[str]) -> Kind:
    """What a viewer's page depends on: role, whether the task is theirs, their places in it."""
    mine = addresses_of(viewer) & places
    return viewer.role, can(viewer, "task.cancel", task), tuple(sorted(mine))


def parts_context(task: Task, viewer: User) -> dict[str, Any]:
    """What the templates of the parts need."""
    data = TaskData(task)
    shown = TaskPage(data, viewer)
    # Not read unless a template asks for it: most parts do not.
    artefacts = SimpleLazyObject(lambda: task_artefacts(task, data.names))
    now = task_quote_now(task) if shown.is_draft else None
    return {
        "task": shown,
        "artefacts": artefacts,
        "quote_gas": now.gas if now else None,
        "quote_fee": now.total_fee if now else None,
        "all_parts": ALL_PARTS,
    }


def render_parts(task_id: int, viewer: User, names: Iterable[Part]) -> Rendered:
    """Raises Task.DoesNotExist."""
    names = set(names)
    task = task_get(task_id)
    series = None
    if "charts" in names:
        series = task_series(task, max(task.current_round - 1, 0)).as_json()
    if names == {"charts"}:
        return Rendered(task.live_seq, {}, series)
    context = parts_context(task, viewer)
    html = {
        element: render_to_string(template, context).strip()
        for name in ALL_PARTS
        if name in names
        for element, template in TEMPLATES[name].items()
    }
    return Rendered(context["task"].seq, html, series)


@dataclass
class _Kept:
    seq: int
    at: float  # monotonic seconds
    html: dict[str, str]
    series: dict[str, Any] | None


class PartCache:
    """Parts by task, part and kind of viewer; the newest of each.

    After making parts of a task it rests for half as long as that took: at most two thirds of the
    time go into one task however fast it changes; all who came meanwhile are served by the next.
    """

    def __init__(self, render: Callable[..., Rendered] = render_parts) -> None:
        self._render = database_sync_to_async(render)
        self._kept: dict[int, dict[tuple[Part, Kind], _Kept]] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._asked: dict[tuple[int, Kind], set[Part]] = {}  # since the last time they were made
        self._rested: dict[int, float] = {}  # task → when it may be read again, monotonic seconds
        self.rendered = 0  # how often the database was asked

    def forget(self, task_id: int) -> None:
        """Nobody looks at this task any more."""
        self._kept.pop(task_id, None)
        self._locks.pop(task_id, None)
        self._rested.pop(task_id, None)
        for key in [key for key in self._asked if key[0] == task_id]:
            del self._asked[key]

    async def get(
        self, task_id: int, seq: int, names: Iterable[Part], *, viewer: User, kind: Kind
    ) -> Rendered:
        """The parts as of ``seq`` or later. Whoever asks first has them made; the others wait.

        Raises Task.DoesNotExist.
        """
        names = [name for name in ALL_PARTS if name in set(names)]
        self._asked.setdefault((task_id, kind), set()).update(names)
        lock = self._locks.setdefault(task_id, asyncio.Lock())
        async with lock:
            kept = self._kept.setdefault(task_id, {})
            missing = [n for n in names if not self._good(kept.get(_key(n, kind)), n, seq)]
            if missing:
                await asyncio.sleep(self._rested.get(task_id, 0.0) - time.monotonic())
                # What the others wait for is made along, once for all.
                wanted = {*missing, *self._asked.pop((task_id, kind), ())}
                begun = time.monotonic()
                fresh = await self._render(task_id, viewer, wanted)
                now = time.monotonic()
                self._rested[task_id] = now + REST * (now - begun)
                self.rendered += 1
                self._keep(kept, kind, wanted, fresh)
        found = [kept[_key(name, kind)] for name in names]
        html = {element: text for row in found for element, text in row.html.items()}
        series = next((row.series for row in found if row.series is not None), None)
        return Rendered(min((row.seq for row in found), default=seq), html, series)

    @staticmethod
    def _good(row: _Kept | None, name: Part, seq: int) -> bool:
        if row is None or row.seq < seq:
            return False
        # "now" tells how long something has been silent: it changes without an event.
        return name != "now" or time.monotonic() - row.at < FRESH

    @staticmethod
    def _keep(
        kept: dict[tuple[Part, Kind], _Kept], kind: Kind, names: Iterable[Part], fresh: Rendered
    ) -> None:
        at = time.monotonic()
        for name in names:
            html = {element: fresh.html[element] for element in TEMPLATES[name]}
            series = fresh.series if name == "charts" else None
            kept[_key(name, kind)] = _Kept(fresh.seq, at, html, series)


def _key(name: Part, kind: Kind) -> tuple[Part, Kind]:
    return name, () if name in COMMON else kind


PARTS = PartCache()
