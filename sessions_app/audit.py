"""The log of what people did. Services write it in the transaction of what they do, so an entry
stands exactly when the change does."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Model

from sessions_app.models import AuditEntry, User
from sessions_app.origin import request_address


def record(
    actor: User | AnonymousUser | None,
    action: str,
    target: Model | str = "",
    details: dict[str, Any] | None = None,
) -> AuditEntry:
    """Add an entry. `actor` None is the console itself; `details` are plain JSON and hold no
    secret: admins read and export them."""
    person = actor if isinstance(actor, User) else None
    return AuditEntry.objects.create(
        actor=person,
        actor_name=person.get_username() if person else "",
        action=action,
        target=target_name(target),
        details=details or {},
        address=request_address(),
    )


def target_name(target: Model | str) -> str:
    """``task:5`` for a row, a text as it is."""
    if isinstance(target, Model):
        return f"{target._meta.model_name}:{target.pk}"
    return target
