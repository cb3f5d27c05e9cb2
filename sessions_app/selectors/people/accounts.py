"""People, invitations and the audit log, as pages show them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from django.core.exceptions import BadRequest
from django.db.models import Count, Q, QuerySet

from sessions_app.models import AuditEntry, Invitation, User
from sessions_app.selectors.task.series import csv_text

INVITATIONS_SHOWN = 200
PAGE = 50
EXPORTED = 50_000  # rows of a file


def invitation_list(viewer: User) -> QuerySet[Invitation]:
    """The newest that this person may revoke: admins all, others their own. One query."""
    found = Invitation.objects.select_related("task", "invited_by", "used_by").order_by("-pk")
    if not viewer.is_admin:
        found = found.filter(invited_by=viewer)
    return found[:INVITATIONS_SHOWN]


INVITATION_COLUMNS = (
    *("id", "email", "role", "state", "task", "created_at", "expires_at", "invited_by", "used_by"),
    "mail_error",
)


def invitation_records(viewer: User) -> Iterator[Mapping[str, Any]]:
    """As listed, without the links: a file is passed on more easily than a page."""
    for row in invitation_list(viewer):
        yield {
            "id": row.pk,
            "email": row.email,
            "role": row.role,
            "state": row.state,
            "task": row.task_id,
            "created_at": row.created_at.isoformat(timespec="seconds"),
            "expires_at": row.expires_at.isoformat(timespec="seconds"),
            "invited_by": row.invited_by.get_username() if row.invited_by else "",
            "used_by": row.used_by.get_username() if row.used_by else "",
            "mail_error": row.mail_error,
        }


Row = TypeVar("Row", User, AuditEntry)


@dataclass(frozen=True)
class Listed(Generic[Row]):
    rows: list[Row]
    next_before: int | None = None
    given: Mapping[str, str] = field(default_factory=dict)


def user_list(given: Mapping[str, str], *, limit: int = PAGE) -> Listed[User]:
    """Newest accounts first, by name, e-mail or role. One query."""
    return _page(_users(given), given, limit)


USER_COLUMNS = (
    *("id", "username", "name", "email", "role", "active", "tasks", "joined_at", "last_signed_in"),
    "address",
)


def user_records(given: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """All that the filter leaves, newest first."""
    for row in _users(given).order_by("-pk")[:EXPORTED]:
        yield {
            "id": row.pk,
            "username": row.get_username(),
            "name": row.get_full_name(),
            "email": row.email,
            "role": row.role,
            "active": row.is_active,
            "tasks": row.task_count,
            "joined_at": row.date_joined.isoformat(timespec="seconds"),
            "last_signed_in": row.last_login.isoformat(timespec="seconds")
            if row.last_login
            else None,
            "address": row.account.address if row.account else "",
        }


def _users(given: Mapping[str, str]) -> Any:
    found = User.objects.annotate(task_count=Count("tasks")).select_related("account")
    if query := given.get("q", "").strip():
        found = found.filter(
            Q(username__icontains=query)
            | Q(first_name__icontains=query)
            | Q(last_name__icontains=query)
            | Q(email__icontains=query)
        )
    if given.get("role") in User.Role.values:
        found = found.filter(role=given["role"])
    return found


def audit_list(given: Mapping[str, str], *, limit: int = PAGE) -> Listed[AuditEntry]:
    """Newest first, one page. One query."""
    return _page(_audit(given).select_related("actor"), given, limit)


def audit_actions() -> list[str]:
    return list(AuditEntry.objects.order_by("action").values_list("action", flat=True).distinct())


def audit_export(given: Mapping[str, str], style: str) -> str:
    """All that the filter leaves, newest first, as ``csv`` or ``json``."""
    columns = ("id", "at", "actor", "action", "target", "address", "details")
    rows = [
        {
            "id": entry.pk,
            "at": entry.at.isoformat(timespec="seconds"),
            "actor": entry.actor_name,
            "action": entry.action,
            "target": entry.target,
            "address": entry.address,
            "details": entry.details,
        }
        for entry in _audit(given).order_by("-pk")[:EXPORTED]
    ]
    if style == "json":
        return json.dumps({"entries": rows}, indent=2)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        cells = {**row, "details": json.dumps(row["details"])}
        writer.writerow([csv_text(str(cells[name])) for name in columns])
    return out.getvalue()


def _audit(given: Mapping[str, str]) -> QuerySet[AuditEntry]:
    found = AuditEntry.objects.all()
    if action := given.get("action", ""):
        found = found.filter(action=action)
    if actor := given.get("actor", "").strip():
        found = found.filter(actor_name__icontains=actor)
    if target := given.get("target", "").strip():
        found = found.filter(target=target)
    return found


def _page(found: QuerySet[Row], given: Mapping[str, str], limit: int) -> Listed[Row]:
    before = given.get("before", "")
    if before:
        if not before.isdigit():
            raise BadRequest(f"before={before[:20]} is not a whole number.")
        found = found.filter(pk__lt=int(before))
    rows = list(found.order_by("-pk")[: limit + 1])
    more = len(rows) > limit
    rows = rows[:limit]
    return Listed(rows, rows[-1].pk if more else None, given)
