"""Several tasks side by side."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Field, Query, Schema

from sessions_app.access import require
from sessions_app.api.base import area, not_found, user_of
from sessions_app.selectors.compare import MOST, compare

router = area("Compare")
Tasks = Annotated[str, Field(pattern=r"^[0-9]{1,15}(,[0-9]{1,15}){0,19}$", examples=["1,2"])]


class SettingOut(Schema):
    name: str
    differs: bool
    values: list[str] = Field(description="In the order of `tasks`.")


class ComparisonOut(Schema):
    """`figures`: a record a task; `curves`: a record a finished round. Units are in the names."""

    tasks: list[int]
    config: list[SettingOut]
    figures: list[dict[str, Any]]
    curves: list[dict[str, Any]]


@router.get("", response=ComparisonOut, summary="Compare tasks")
def compare_tasks(request: HttpRequest, tasks: Query[Tasks]) -> dict[str, Any]:
    """Up to 20: what differs in their settings, their figures, their curves."""
    require(user_of(request), "task.view")
    wanted = list(dict.fromkeys(int(part) for part in tasks.split(",")))[:MOST]
    found = compare(wanted)
    known = [one.task.pk for one in found.tasks]
    missing = [str(pk) for pk in wanted if pk not in known]
    if missing:
        raise not_found(f"There is no task {', '.join(missing)}.")
    return {
        "tasks": known,
        "config": [
            {"name": row.name, "differs": row.differs, "values": list(row.values)}
            for row in found.config
        ],
        "figures": found.figures(),
        "curves": found.curve_records(),
    }
