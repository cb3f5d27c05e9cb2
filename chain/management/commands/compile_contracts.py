"""``manage.py compile_contracts [--check]``: keep contracts/build equal to contracts/src."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from chain import compiler


class Command(BaseCommand):
    """Thin: everything is in :mod:`chain.compiler`."""

    help = "Compile the contracts into contracts/build; with --check only compare, write nothing."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="fail if the build differs")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            code, lines = compiler.run(check=options["check"])
        except compiler.CompileError as error:
            raise CommandError(str(error)) from error
        if code:
            raise CommandError("\n".join(lines))
        self.stdout.write("\n".join(lines))
