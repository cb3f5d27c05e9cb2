"""Tasks."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Schema, Status

from sessions_app import services
from sessions_app.api.base import Key, area, not_found, user_of
from sessions_app.models import Task
from sessions_app.selectors.task_data import task_get

router = area("Tasks")


class TaskOut(Schema):
    id: int
    title: str


def find_task(task_id: int) -> Task:
    try:
        return task_get(task_id)
    except Task.DoesNotExist as error:
        raise not_found(
            f"There is no task {task_id}. It may have been a draft that was deleted."
        ) from error


@router.post("/{task_id}/clone", response={201: TaskOut}, summary="Copy a task as a draft")
def task_clone(request: HttpRequest, response: HttpResponse, task_id: Key) -> Any:
    """A new draft with the same settings."""
    copy = services.task_clone(task=find_task(task_id), by=user_of(request))
    response["Location"] = f"/api/v1/tasks/{copy.pk}"
    return Status(201, copy)
