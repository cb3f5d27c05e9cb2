"""For admins: accounts, the log of what people did, jobs on chain and database."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, Schema, Status

from sessions_app.access import require
from sessions_app.api.base import Key, Page, PageIn, area, not_found, read_key, user_of
from sessions_app.models import AuditEntry, MaintenanceJob, User
from sessions_app.selectors.people.accounts import Listed, audit_list, user_list
from sessions_app.services import maintenance, people

router = area("Users")
audit = area("Audit log")
jobs = area("Maintenance")
JOBS = 50
Role = Literal["operator", "participant", "admin"]


class UserOut(Schema):
    id: int
    username: str
    name: str
    email: str
    role: Role
    active: bool
    hosted_address: str
    tasks: int
    joined_at: datetime


class RoleIn(Schema):
    role: Role


class ActiveIn(Schema):
    active: bool = Field(description="false closes the account and ends its sessions.")


class AuditOut(Schema):
    id: int
    at: datetime
    actor: str = Field(description="Empty: the console itself.")
    action: str
    target: str = Field(description="Like `task:5`.")
    details: dict[str, Any]
    address: str = Field(description="The network address it came from.")


class JobIn(Schema):
    kind: Literal["reconcile", "resync", "rebuild"]
    from_block: int | None = Field(None, ge=0, le=2**53, description="Of a resync; null: all.")


class JobOut(Schema):
    id: int
    kind: Literal["reconcile", "resync", "rebuild"]
    status: Literal["queued", "running", "done", "failed"]
    from_block: int | None
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: Any = None
    error: str


# --- accounts -------------------------------------------------------------------------------------


@router.get("", response=Page[UserOut], summary="Accounts, newest first")
def users_list(
    request: HttpRequest, page: PageIn, q: str = "", role: Role | None = None
) -> dict[str, Any]:
    """`q`: a part of a name or an e-mail address."""
    require(user_of(request), "user.list")
    given = {"q": q[:200], "role": role or "", **_before(page.cursor)}
    return _paged(user_list(given, limit=page.limit), _user)


@router.post("/{user_id}/role", response=UserOut, summary="Change somebody's role")
def users_role(request: HttpRequest, user_id: Key, body: RoleIn) -> dict[str, Any]:
    """Not one's own."""
    by = user_of(request)
    return _user(people.user_change_role(user=_find(by, user_id), role=body.role, by=by))


@router.post("/{user_id}/active", response=UserOut, summary="Open or close an account")
def users_active(request: HttpRequest, user_id: Key, body: ActiveIn) -> dict[str, Any]:
    """Not one's own. A closed account is signed out everywhere, and its tokens work no more."""
    by = user_of(request)
    return _user(people.user_set_active(user=_find(by, user_id), active=body.active, by=by))


def _find(by: User, user_id: int) -> User:
    require(by, "user.list")
    found = User.objects.select_related("account").filter(pk=user_id).first()
    if found is None:
        raise not_found(f"There is no user {user_id}.")
    return found


def _user(user: User) -> dict[str, Any]:
    known = getattr(user, "task_count", None)
    return {
        "id": user.pk,
        "username": user.get_username(),
        "name": user.get_full_name() or user.get_username(),
        "email": user.email,
        "role": user.role,
        "active": user.is_active,
        "hosted_address": user.account.address if user.account else "",
        "tasks": user.tasks.count() if known is None else known,
        "joined_at": user.date_joined,
    }


# --- what people did ------------------------------------------------------------------------------


@audit.get("", response=Page[AuditOut], summary="What people did, newest first")
def audit_entries(
    request: HttpRequest, page: PageIn, action: str = "", actor: str = "", target: str = ""
) -> dict[str, Any]:
    """`actor`: a part of the username; `action` and `target` exactly."""
    require(user_of(request), "audit.view")
    given = {"action": action, "actor": actor[:200], "target": target, **_before(page.cursor)}
    return _paged(audit_list(given, limit=page.limit), _entry)


def _entry(row: AuditEntry) -> dict[str, Any]:
    return {
        "id": row.pk,
        "at": row.at,
        "actor": row.actor_name,
        "action": row.action,
        "target": row.target,
        "details": row.details,
        "address": row.address,
    }


# --- jobs -----------------------------------------------------------------------------------------


@jobs.get("", response=list[JobOut], summary="Jobs on chain and database")
def maintenance_list(request: HttpRequest) -> list[dict[str, Any]]:
    """The newest 50, with what each found."""
    require(user_of(request), "maintenance.run")
    return [_job(job) for job in MaintenanceJob.objects.select_related("requested_by")[:JOBS]]


@jobs.post("", response={201: JobOut}, summary="Re-audit, resync or rebuild")
def maintenance_start(request: HttpRequest, body: JobIn) -> Any:
    """One at a time, by the control worker."""
    job = maintenance.job_request(kind=body.kind, by=user_of(request), from_block=body.from_block)
    return Status(201, _job(job))


def _job(job: MaintenanceJob) -> dict[str, Any]:
    return {
        "id": job.pk,
        "kind": job.kind,
        "status": job.status,
        "from_block": job.from_block,
        "requested_by": job.requested_by.get_username() if job.requested_by else "",
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "result": job.result,
        "error": job.error,
    }


# --- inside ---------------------------------------------------------------------------------------


def _before(cursor: str) -> dict[str, str]:
    key = read_key(cursor)
    return {} if key is None else {"before": str(key)}


def _paged(found: Listed[Any], out: Any) -> dict[str, Any]:
    last = found.next_before
    return {
        "items": [out(row) for row in found.rows],
        "next": None if last is None else str(last),
    }
