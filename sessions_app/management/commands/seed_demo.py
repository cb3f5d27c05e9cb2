"""Logins, tokens and a first task for a development chain."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chain.errors import KeystoreError
from sessions_app.services import demo


class Command(BaseCommand):
    help = (
        "Make the three demo logins, give their accounts tokens and, with --task, start a first "
        "task. Running it again changes nothing. Only for the development chain."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "--task", action="store_true", help="start the demo task unless one was ever started"
        )
        parser.add_argument("--json", action="store_true", help="print the logins as JSON")
        parser.add_argument(
            "--seconds",
            type=float,
            default=60.0,
            help="how long to wait for the follower to see the tokens (default 60)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            logins = demo.seed()
            if options["task"]:
                demo.start_task(seconds=options["seconds"])
        except (KeystoreError, TimeoutError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps([login.__dict__ for login in logins]))
            return
        for login in logins:
            self.stdout.write(f"{login.role:<12} {login.username:<12} {login.password}")
