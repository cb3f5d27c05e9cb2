"""Steering a task that runs, and inviting people to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, Schema, Status

from sessions_app import access
from sessions_app.api.base import Key, Wei, area, not_found, user_of
from sessions_app.api.task_shapes import CallOut, TaskOut, call_out
from sessions_app.api.tasks import find_task, shown
from sessions_app.models import Invitation, User
from sessions_app.services import invitations, steering
from sessions_app.services import tasks as task_services

router = area("Tasks")
people = area("Invitations")


class RemoveIn(Schema):
    address: str = Field(max_length=42)


class TopUpIn(Schema):
    amount: Wei = Field(description="Added to the pool.")


class InvitationIn(Schema):
    email: str = Field("", max_length=254, description="Empty: a link to pass on.")
    role: Literal["operator", "participant", "admin"] = "participant"
    task: int | None = Field(None, ge=1, le=2**53)
    days: int = Field(7, ge=1, le=invitations.LONGEST_DAYS, description="It is open for.")
    message: str = Field("", max_length=300, description="A few words that go with it.")


class InvitationOut(Schema):
    id: int
    email: str
    role: str
    task: int | None
    link: str
    expires_at: datetime | None


@router.post("/{task_id}/pause", response=TaskOut, summary="Pause a task")
def task_pause(request: HttpRequest, task_id: Key) -> dict[str, Any]:
    """No more training is handed out here; the contract's deadlines run on."""
    user = user_of(request)
    steering.task_pause(task=find_task(task_id), by=user)
    return shown(find_task(task_id), user)


@router.post("/{task_id}/resume", response=TaskOut, summary="Resume a paused task")
def task_resume(request: HttpRequest, task_id: Key) -> dict[str, Any]:
    """Training is handed out again."""
    user = user_of(request)
    steering.task_resume(task=find_task(task_id), by=user)
    return shown(find_task(task_id), user)


@router.post("/{task_id}/wallet-launch", response=TaskOut, summary="Launch from one's own wallet")
def task_wallet_launch(request: HttpRequest, task_id: Key) -> dict[str, Any]:
    """Prepares the model; approving the pool and createTask are then signed by the wallet."""
    user = user_of(request)
    task_services.task_launch_from_wallet(task=find_task(task_id), by=user)
    return shown(find_task(task_id), user)


@router.post("/{task_id}/wallet-undo", response=TaskOut, summary="Give up a launch from a wallet")
def task_wallet_undo(request: HttpRequest, task_id: Key) -> dict[str, Any]:
    """Back to a draft, as long as nothing was signed."""
    user = user_of(request)
    task_services.task_launch_undo(task=find_task(task_id), by=user)
    return shown(find_task(task_id), user)


@router.post("/{task_id}/remove", response=CallOut, summary="Remove a hosted participant")
def task_remove(request: HttpRequest, task_id: Key, body: RemoveIn) -> dict[str, Any]:
    """It leaves the task on chain and keeps what it earned."""
    return call_out(
        steering.participant_remove(
            task=find_task(task_id), address=body.address, by=user_of(request)
        )
    )


@router.post("/{task_id}/top-up", response=TaskOut, summary="Add to the pool")
def task_top_up(request: HttpRequest, task_id: Key, body: TopUpIn) -> dict[str, Any]:
    """An approval, then the top-up; the rounds to come share it."""
    user = user_of(request)
    steering.pool_top_up(task=find_task(task_id), amount=int(body.amount), by=user)
    return shown(find_task(task_id), user)


@people.post("", response={201: InvitationOut}, summary="Invite somebody")
def invitations_create(request: HttpRequest, body: InvitationIn) -> Any:
    """By e-mail, or with a link that works once. Operators invite participants."""
    task = find_task(body.task) if body.task is not None else None
    made = invitations.invitation_create(
        by=user_of(request),
        email=body.email,
        role=User.Role(body.role),
        task=task,
        days=body.days,
        message=body.message,
    )
    return Status(201, invitation_out(made))


@people.get("", response=list[InvitationOut], summary="Open invitations")
def invitations_list(request: HttpRequest) -> list[dict[str, Any]]:
    """At most 200, newest first: one's own, or for admins all."""
    user = user_of(request)
    access.require(user, "invitation.list")
    rows = Invitation.objects.order_by("-pk")
    if not user.is_admin:
        rows = rows.filter(invited_by=user)
    return [invitation_out(row) for row in rows[:200]]


@people.post("/{invitation_id}/revoke", response=InvitationOut, summary="Revoke an invitation")
def invitations_revoke(request: HttpRequest, invitation_id: Key) -> dict[str, Any]:
    """Its link works no more."""
    user = user_of(request)
    found = Invitation.objects.filter(pk=invitation_id).first()
    if found is None:
        raise not_found(f"There is no invitation {invitation_id}.")
    return invitation_out(invitations.invitation_revoke(invitation=found, by=user))


def invitation_out(row: Invitation) -> dict[str, Any]:
    return {
        "id": row.pk,
        "email": row.email,
        "role": row.role,
        "task": row.task_id,
        "link": invitations.invitation_link(row),
        "expires_at": row.expires_at,
    }
