"""What people were told, their tokens and sessions, and the jobs of admins: as records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from allauth.usersessions.models import UserSession

from sessions_app.models import ApiToken, MaintenanceJob, Notification, User, Webhook

NEWS_COLUMNS = ("at", "event", "title", "text", "task", "read_at")
DELIVERY_COLUMNS = (
    *("id", "event", "key", "status", "attempts", "response_status", "error"),
    *("created_at", "next_at", "finished_at"),
)
TOKEN_COLUMNS = ("id", "name", "prefix", "scope", "created_at", "expires_at", "last_used_at")
SESSION_COLUMNS = ("id", "browser", "address", "signed_in_at", "last_seen_at", "this_one")
JOB_COLUMNS = (
    *("id", "kind", "from_block", "status", "requested_by", "created_at", "started_at"),
    *("finished_at", "passed", "differences", "error"),
)


def news_records(user: User) -> Iterator[Mapping[str, Any]]:
    """All of a person's notifications, newest first."""
    for row in Notification.objects.filter(user=user):
        yield {
            "at": _time(row.at),
            "event": row.event,
            "title": row.title,
            "text": row.text,
            "task": row.task_id,
            "read_at": _time(row.read_at),
        }


def delivery_records(hook: Webhook) -> Iterator[Mapping[str, Any]]:
    """All deliveries that are kept, newest first."""
    for row in hook.deliveries.all():
        yield {
            "id": str(row.uuid),
            "event": row.event,
            "key": row.key,
            "status": row.status,
            "attempts": row.attempts,
            "response_status": row.response_status,
            "error": row.error,
            "created_at": _time(row.created_at),
            "next_at": _time(row.next_at),
            "finished_at": _time(row.finished_at),
        }


def token_records(tokens: Iterable[ApiToken]) -> Iterator[Mapping[str, Any]]:
    """What tells tokens apart, never what would let anybody in: their text is not kept."""
    for row in tokens:
        yield {
            "id": row.pk,
            "name": row.name,
            "prefix": row.prefix,
            "scope": row.scope,
            "created_at": _time(row.created_at),
            "expires_at": _time(row.expires_at),
            "last_used_at": _time(row.last_used_at),
        }


def session_records(
    sessions: Iterable[UserSession], *, current: str | None
) -> Iterator[Mapping[str, Any]]:
    """As listed, without their keys. `current`: the key of the session that asks."""
    for row in sessions:
        yield {
            "id": row.pk,
            "browser": row.user_agent,
            "address": row.ip,
            "signed_in_at": _time(row.created_at),
            "last_seen_at": _time(row.last_seen_at),
            "this_one": row.session_key == current,
        }


def job_records() -> Iterator[Mapping[str, Any]]:
    """All jobs, newest first; ``differences``: how many values a re-audit found different."""
    for row in MaintenanceJob.objects.select_related("requested_by"):
        result = row.result or {}
        yield {
            "id": row.pk,
            "kind": row.kind,
            "from_block": row.from_block,
            "status": row.status,
            "requested_by": row.requested_by.get_username() if row.requested_by else "",
            "created_at": _time(row.created_at),
            "started_at": _time(row.started_at),
            "finished_at": _time(row.finished_at),
            "passed": result.get("passed"),
            "differences": result.get("different"),
            "error": row.error,
        }


def _time(moment: Any) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
