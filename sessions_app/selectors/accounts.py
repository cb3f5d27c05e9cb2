"""People, invitations and the audit log, as pages show them."""

from __future__ import annotations

from django.db.models import QuerySet

from sessions_app.models import Invitation, User

INVITATIONS_SHOWN = 200


def invitation_list(viewer: User) -> QuerySet[Invitation]:
    """The newest that this person may revoke: admins all, others their own. One query."""
    found = Invitation.objects.select_related("task", "invited_by", "used_by").order_by("-pk")
    if not viewer.is_admin:
        found = found.filter(invited_by=viewer)
    return found[:INVITATIONS_SHOWN]
