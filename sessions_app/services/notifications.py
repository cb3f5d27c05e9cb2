"""What a person does with their notifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import transaction
from django.utils import timezone

from sessions_app import audit
from sessions_app.access import require
from sessions_app.errors import InvalidWebhook
from sessions_app.models import Notification, User
from sessions_app.services.outreach import EVENTS, WAYS, ways_of


def notifications_read(*, user: User) -> int:
    """Mark all as read. Returns how many were not."""
    require(user, "notification.read")
    unread = Notification.objects.filter(user=user, read_at=None)
    return unread.update(read_at=timezone.now())


def notifications_choose(*, user: User, ways: Mapping[str, Sequence[str]]) -> User:
    """Event → the ways it reaches the person; an event that is left out keeps its ways.

    Raises InvalidWebhook for an event or a way that does not exist.
    """
    require(user, "notification.preferences")
    unknown = [event for event in ways if event not in EVENTS]
    if unknown:
        known = ", ".join(EVENTS)
        raise InvalidWebhook(f"There is no event “{unknown[0][:40]}”; choose of {known}.")
    for event, chosen in ways.items():
        if not set(chosen) <= set(WAYS):
            raise InvalidWebhook(f"{event} can reach you by {' and '.join(WAYS)}.", field=event)
    wanted = {event: ways.get(event, ways_of(user, event)) for event in EVENTS}
    user.notify = {
        event: [way for way in WAYS if way in chosen] for event, chosen in wanted.items()
    }
    with transaction.atomic():
        user.save(update_fields=("notify",))
        audit.record(user, "notification.preferences", user, user.notify)
    return user
