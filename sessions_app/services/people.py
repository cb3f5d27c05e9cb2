"""What people do with their own account, and admins with everybody's."""

from __future__ import annotations

from allauth.usersessions.models import UserSession
from django.db import transaction

from sessions_app import audit
from sessions_app.access import require
from sessions_app.errors import WrongStage
from sessions_app.models import User


def user_change_role(*, user: User, role: str, by: User) -> User:
    """Raises NotAllowed, and WrongStage for a role that does not exist."""
    require(by, "user.change_role", user)
    if role not in User.Role.values:
        raise WrongStage(f"There is no role “{role}”; use one of {', '.join(User.Role.values)}.")
    with transaction.atomic():
        before, user.role = user.role, role
        user.save(update_fields=("role",))
        audit.record(by, "user.change_role", user, {"from": before, "to": role})
    return user


def user_set_active(*, user: User, active: bool, by: User) -> User:
    """Open or close an account. A closed one is signed out everywhere at once."""
    require(by, "user.activate", user)
    with transaction.atomic():
        user.is_active = active
        user.save(update_fields=("is_active",))
        if not active:
            sessions_end(user)
        audit.record(by, "user.activate", user, {"active": active})
    return user


def profile_change(*, user: User, first_name: str, last_name: str) -> User:
    """How a person is called on the pages; lengths as in the model, checked by the caller."""
    require(user, "profile.change")
    with transaction.atomic():
        user.first_name, user.last_name = first_name.strip(), last_name.strip()
        user.save(update_fields=("first_name", "last_name"))
        audit.record(user, "profile.change", user)
    return user


def sessions_of(user: User) -> list[UserSession]:
    """A person's open sessions on the pages, the one used last first; forgets those that ended."""
    rows = UserSession.objects.purge_and_list(user)
    return sorted(rows, key=lambda row: row.last_seen_at, reverse=True)


def session_end(*, user: User, pk: int) -> None:
    """End one of a person's sessions. Raises WrongStage when it is over already, NotAllowed when it
    is somebody else's."""
    session = UserSession.objects.filter(pk=pk).first()
    if session is None:
        raise WrongStage("That session has ended already.")
    require(user, "session.end", session)
    with transaction.atomic():
        session.end()
        audit.record(user, "session.end", user, {"ended": 1, "from": session.ip})


def sessions_end_others(*, user: User, keep: str) -> int:
    """End all of a person's sessions but the one whose key is given. Returns how many ended."""
    with transaction.atomic():
        ended = sessions_end(user, keep=keep)
        audit.record(user, "session.end", user, {"ended": ended})
    return ended


def sessions_end(user: User, *, keep: str = "") -> int:
    """End a person's sessions but the one whose key is to be kept. Returns how many ended."""
    ended = 0
    for session in UserSession.objects.filter(user=user).exclude(session_key=keep):
        session.end()
        ended += 1
    return ended
