"""Print a link that lets one person in: how the first admin of a fresh console begins."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sessions_app.errors import InvalidInvitation
from sessions_app.models import User
from sessions_app.services.invitations import LONGEST_DAYS, invitation_create, invitation_link


class Command(BaseCommand):
    help = "Print an invitation link, which works once. The first admin: manage.py invite admin"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", choices=User.Role.values)
        parser.add_argument("--email", default="", help="mail it; for this address alone")
        parser.add_argument("--days", type=int, default=1, help=f"1 to {LONGEST_DAYS}; default 1")

    def handle(self, *, role: str, email: str, days: int, **options: Any) -> None:
        try:
            invitation = invitation_create(by=None, role=role, email=email, days=days)
        except InvalidInvitation as error:
            raise CommandError(str(error)) from error
        if invitation.mail_error:
            self.stderr.write(f"The mail could not be sent. {invitation.mail_error}")
        self.stdout.write(invitation_link(invitation))
