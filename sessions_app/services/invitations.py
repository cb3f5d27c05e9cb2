"""Invitations: a link that lets one person in, with a role, once."""

from __future__ import annotations

from datetime import timedelta
from smtplib import SMTPException

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.signing import BadSignature, Signer
from django.core.validators import validate_email
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from sessions_app import audit
from sessions_app.access import require
from sessions_app.errors import InvalidInvitation
from sessions_app.models import Invitation, Task, User

LONGEST_DAYS = 90
# From what a role may to what the next may: taking an invitation never takes rights away.
RANKS = (User.Role.PARTICIPANT, User.Role.OPERATOR, User.Role.ADMIN)


_mailed = Signer(salt="invitation mailed")


def invitation_link(invitation: Invitation) -> str:
    """The link that stands on the page: who sent the invitation can read it there."""
    return settings.SITE_URL + reverse("invitation", args=(invitation.code,))


def mailed_link(invitation: Invitation) -> str:
    """The link that is mailed. Nobody but the reader of that mailbox sees its signature, so
    opening it proves the address."""
    signature = _mailed.signature(f"{invitation.code} {invitation.email.lower()}")
    return f"{invitation_link(invitation)}?mailed={signature}"


def came_by_mail(invitation: Invitation, signature: str) -> bool:
    try:
        _mailed.unsign(f"{invitation.code} {invitation.email.lower()}:{signature}")
    except BadSignature:
        return False
    return bool(invitation.email)


def invitation_create(
    *,
    by: User | None,
    role: str = User.Role.PARTICIPANT,
    email: str = "",
    task: Task | None = None,
    days: int = 7,
    message: str = "",
) -> Invitation:
    """Invite one person; with an e-mail address the link is mailed there and works for it alone.

    `by` None is the command line: whoever may run commands here has the database in hand anyway.
    Raises NotAllowed and InvalidInvitation.
    """
    email = email.strip()
    if role not in User.Role.values:
        known = ", ".join(User.Role.values)
        raise InvalidInvitation(f"There is no role “{role}”; use one of {known}.", field="role")
    if not 1 <= days <= LONGEST_DAYS:
        raise InvalidInvitation(
            f"An invitation is open for 1 to {LONGEST_DAYS} days, not {days}.", field="days"
        )
    if email:
        try:
            validate_email(email)
        except ValidationError as error:
            raise InvalidInvitation(f"{email} is not an e-mail address.", field="email") from error
    if task is not None and task.is_finished:
        raise InvalidInvitation(f"Task {task.pk} has ended; nobody can join it.", field="task")
    invitation = Invitation(
        email=email,
        role=role,
        task=task,
        message=message.strip()[:300],
        invited_by=by,
        expires_at=timezone.now() + timedelta(days=days),
    )
    if by is not None:
        require(by, "invitation.create", invitation)
    with transaction.atomic():
        invitation.save()
        details = {"role": role, "email": email, "task": task.pk if task else None, "days": days}
        audit.record(by, "invitation.create", invitation, details)
        if email:
            transaction.on_commit(lambda: _mail(invitation))
    return invitation


def invitation_revoke(*, invitation: Invitation, by: User) -> Invitation:
    """Close an open invitation. Raises NotAllowed, and InvalidInvitation when it was used."""
    with transaction.atomic():
        invitation = Invitation.objects.select_for_update().get(pk=invitation.pk)
        require(by, "invitation.revoke", invitation)
        if invitation.state == "used":
            raise InvalidInvitation(
                "This invitation was used already. Close the account instead, under Users."
            )
        if invitation.revoked_at is None:
            invitation.revoked_at = timezone.now()
            invitation.save(update_fields=("revoked_at",))
            audit.record(by, "invitation.revoke", invitation, {"email": invitation.email})
    return invitation


def invitation_find(code: str) -> Invitation | None:
    return (
        Invitation.objects.select_related("invited_by", "task", "used_by").filter(code=code).first()
    )


def invitation_open(code: str) -> Invitation | None:
    """The invitation with this code if it can still be used."""
    found = invitation_find(code)
    return found if found is not None and found.state == "open" else None


def invitation_accept(*, code: str, by: User) -> Invitation:
    """Use an invitation up: the person gets its role, if that is more than they have.

    Raises InvalidInvitation when it was used, revoked or has expired, or is for another address.
    """
    with transaction.atomic():
        invitation = Invitation.objects.select_for_update().filter(code=code).first()
        if invitation is None or invitation.state != "open":
            state = invitation.state if invitation else "unknown"
            raise InvalidInvitation(f"This invitation is {state}. Ask for a new one.")
        if invitation.email and invitation.email.lower() != by.email.lower():
            raise InvalidInvitation(
                f"This invitation is for {invitation.email}, and you are signed in with "
                f"{by.email or 'no e-mail address'}. Sign out and open the link again."
            )
        invitation.used_by, invitation.used_at = by, timezone.now()
        invitation.save(update_fields=("used_by", "used_at"))
        if RANKS.index(User.Role(invitation.role)) > RANKS.index(User.Role(by.role)):
            by.role = invitation.role
            by.save(update_fields=("role",))
        audit.record(by, "invitation.accept", invitation, {"role": invitation.role})
    return invitation


def _mail(invitation: Invitation) -> None:
    """A dead mail server loses nothing: the link stands on the page, beside what went wrong."""
    context = {"invitation": invitation, "link": mailed_link(invitation)}
    sender = invitation.invited_by.short_name if invitation.invited_by else "An admin"
    subject = f"{sender} invites you to BCFL Console"
    text = render_to_string("email/invitation.txt", context)
    try:
        send_mail(subject, text, None, [invitation.email])
    except (OSError, SMTPException) as error:
        invitation.mail_error = f"{type(error).__name__}: {error}"[:300]
        invitation.save(update_fields=("mail_error",))
