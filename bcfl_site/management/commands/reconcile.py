"""Compare the database with the contracts at the same block."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bcfl_site.reconciliation import reconcile
from chain.errors import ChainError
from chain.network import client_current, network_current


class Command(BaseCommand):
    help = (
        "Ask the contracts for every balance, stake, escrow and phase at the block the follower "
        "has reached, and list what the database has otherwise. Ends with 1 when anything differs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = reconcile(network_current(), client_current())
        except ChainError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            report = {
                "block": found.block_number,
                "block_hash": found.block_hash,
                "compared": found.compared,
                "rows_different": len(found.differences),
                "wei_different": found.wei,
                "differences": found.differences,
            }
            self.stdout.write(json.dumps(report, indent=2))
        else:
            counts = ", ".join(f"{name} {n}" for name, n in found.compared.items())
            self.stdout.write(f"block {found.block_number}: compared {counts}")
            for entry in found.differences:
                self.stdout.write("{what} of {of}: stored {stored}, chain {chain}".format(**entry))
        if found.differences:
            raise CommandError(
                f"{len(found.differences)} values differ. Run `manage.py rebuild_projection`; if "
                "they still differ, `manage.py resync --from-block N`."
            )
