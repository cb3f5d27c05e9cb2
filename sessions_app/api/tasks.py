"""Tasks: list, read, make, change, and what can be done with one."""

from __future__ import annotations

from typing import Any, Literal

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from ninja import Field, Schema, Status

from sessions_app.api.base import (
    Key,
    Page,
    PageIn,
    Wei,
    area,
    not_found,
    page_by_key,
    read_key,
    user_of,
)
from sessions_app.api.task_shapes import (
    CallOut,
    CancelOut,
    ClaimOut,
    Config,
    TaskOut,
    TaskSummary,
    call_out,
    summary_of_row,
    task_out,
)
from sessions_app.models import Task, User
from sessions_app.selectors.task.data import TaskData, task_get
from sessions_app.selectors.task.page import TaskPage
from sessions_app.selectors.tasks import FILTERS, task_rows
from sessions_app.services import tasks as task_services
from sessions_app.services.claims import rewards_claim
from sessions_app.services.hosted import default_evaluators
from training.specs import TaskConfig

router = area("Tasks")


class TaskIn(Schema):
    """`config` as in GET /choices; what is left out has a default."""

    title: str = Field(min_length=1, max_length=120)
    config: Config = {}
    pool: Wei = Field(description="Escrowed at launch, shared out round by round.")
    stake: Wei = "0"
    evaluators: int | None = Field(
        None, ge=0, le=50, description="Hosted ones; null: one, or none beside outside ones."
    )
    outside_evaluators: list[str] = Field([], max_length=50, description="Addresses.")
    hosted_places: int | None = Field(None, ge=0, le=1000, description="null: all.")
    min_participants: int | None = Field(None, ge=1, le=1000, description="null: all.")
    join_seconds: int = Field(3600, ge=1, le=2**31)
    update_seconds: int = Field(600, ge=1, le=2**31)
    score_seconds: int = Field(600, ge=1, le=2**31)
    aggregate_seconds: int = Field(600, ge=1, le=2**31)


class TaskChangeIn(Schema):
    """What is left out or null stays."""

    title: str | None = Field(None, min_length=1, max_length=120)
    config: Config | None = None
    pool: Wei | None = None
    stake: Wei | None = None
    hosted_places: int | None = Field(None, ge=0, le=1000)
    min_participants: int | None = Field(None, ge=1, le=1000)


class ClaimIn(Schema):
    address: str | None = Field(
        None, max_length=42, description="null: everybody the caller may claim for."
    )


def find_task(task_id: int) -> Task:
    """Raises Http404."""
    try:
        return task_get(task_id)
    except Task.DoesNotExist as error:
        raise not_found(
            f"There is no task {task_id}. It may have been a draft that was deleted."
        ) from error


def shown(task: Task, viewer: User) -> dict[str, Any]:
    data = TaskData(task)
    return task_out(TaskPage(data, viewer), data, viewer)


@router.get("", response=Page[TaskSummary], summary="Tasks, newest first")
def tasks_list(
    request: HttpRequest,
    page: PageIn,
    show: Literal["all", "running", "drafts", "ended"] = "all",
) -> dict[str, Any]:
    """`running` includes those that are being launched."""
    viewer = user_of(request)
    tasks = Task.objects.filter(FILTERS[show])
    before = read_key(page.cursor)
    if before is not None:
        tasks = tasks.filter(pk__lt=before)
    rows = task_rows(tasks, viewer, limit=page.limit + 1)
    found = page_by_key(rows, page.limit, lambda row: row.pk)
    return {**found, "items": [summary_of_row(row) for row in found["items"]]}


@router.post("", response={201: TaskOut}, summary="Make a task")
def task_create(request: HttpRequest, response: HttpResponse, body: TaskIn) -> Any:
    """A draft: nothing is sent and nothing is spent until it is launched."""
    user = user_of(request)
    hosted = body.evaluators
    if hosted is None:
        hosted = 0 if body.outside_evaluators else 1
    task = task_services.task_create(
        owner=user,
        title=body.title,
        config=TaskConfig.from_dict(body.config),
        pool=int(body.pool),
        stake=int(body.stake),
        evaluators=default_evaluators(hosted) if hosted else (),
        outside_evaluators=body.outside_evaluators,
        hosted_places=body.hosted_places,
        min_participants=body.min_participants,
        join_seconds=body.join_seconds,
        update_seconds=body.update_seconds,
        score_seconds=body.score_seconds,
        aggregate_seconds=body.aggregate_seconds,
    )
    response["Location"] = f"/api/v1/tasks/{task.pk}"
    return Status(201, shown(task, user))


@router.get("/{task_id}", response=TaskOut, summary="One task")
def task_read(request: HttpRequest, task_id: Key) -> dict[str, Any]:
    """All that its page says above the tables."""
    return shown(find_task(task_id), user_of(request))


@router.patch("/{task_id}", response=TaskOut, summary="Change a draft")
def task_change(request: HttpRequest, task_id: Key, body: TaskChangeIn) -> dict[str, Any]:
    """Until it is launched; afterwards clone it."""
    user, task = user_of(request), find_task(task_id)
    config = task.config if body.config is None else body.config
    task_services.task_change(
        task=task,
        by=user,
        title=task.title if body.title is None else body.title,
        config=TaskConfig.from_dict(config or {}),
        pool=task.pool if body.pool is None else int(body.pool),
        stake=task.stake if body.stake is None else int(body.stake),
        hosted_places=body.hosted_places,
        min_participants=body.min_participants,
    )
    return shown(find_task(task_id), user)


@router.post("/{task_id}/launch", response=TaskOut, summary="Launch a draft")
def task_launch(request: HttpRequest, task_id: Key) -> dict[str, Any]:
    """Prepares the model, puts the pool in escrow, opens the task. Follow it by its events."""
    user = user_of(request)
    task_services.task_launch(task=find_task(task_id), by=user)
    return shown(find_task(task_id), user)


@router.post("/{task_id}/start", response=CallOut, summary="Begin before every place is taken")
def task_start(request: HttpRequest, task_id: Key) -> dict[str, Any]:
    """An open task with at least `min_participants`; a full one starts by itself."""
    return call_out(task_services.task_start(task=find_task(task_id), by=user_of(request)))


@router.post("/{task_id}/cancel", response=CancelOut, summary="End a task early")
def task_cancel(request: HttpRequest, task_id: Key) -> dict[str, Any]:
    """A draft is deleted. On chain the unspent pool and all stakes come back; what was earned
    stays claimable."""
    sent = task_services.task_cancel(task=find_task(task_id), by=user_of(request))
    return {"deleted": sent is None, "call": None if sent is None else call_out(sent)}


@router.post("/{task_id}/clone", response={201: TaskOut}, summary="Copy a task as a draft")
def task_clone(request: HttpRequest, response: HttpResponse, task_id: Key) -> Any:
    """A new draft with the same settings, owned by the caller."""
    user = user_of(request)
    copy = task_services.task_clone(task=find_task(task_id), by=user)
    response["Location"] = f"/api/v1/tasks/{copy.pk}"
    return Status(201, shown(copy, user))


@router.post("/{task_id}/claim", response=ClaimOut, summary="Pay out what was earned")
def task_claim(request: HttpRequest, task_id: Key, body: ClaimIn | None = None) -> dict[str, Any]:
    """For hosted participants. Wallets claim with the proof of GET …/rewards/{address}."""
    user, task = user_of(request), find_task(task_id)
    address = body.address if body else None
    due = [address] if address else list(TaskPage(TaskData(task), user).actions.claim)
    with transaction.atomic():  # all of them or none
        sent = [rewards_claim(task=task, address=one, by=user) for one in due]
    return {"calls": [call_out(row) for row in sent]}
