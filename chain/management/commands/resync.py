"""``manage.py resync``: put the database right with a chain that lost blocks or began anew."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import import_string

from chain.errors import ChainError
from chain.network import client_current, network_current
from chain.resyncing import resync
from chain.sync import Projection


class Command(BaseCommand):
    help = (
        "Drop every stored block that the node's chain does not have, refold what followed from "
        "them, send our lost transactions again, and catch up. Safe to run at any time, also "
        "while the follower runs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--from-block",
            type=int,
            metavar="N",
            help="read block N and all after it again, also where they are as on the chain",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        network, client = network_current(), client_current()
        try:
            report, sent, waiting = resync(
                network, client, self._projection(), options.get("from_block")
            )
        except ChainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{network}: dropped {report.orphaned_blocks} blocks, now at block "
            f"{report.block_number} of {report.head_number}"
        )
        self.stdout.write(f"{sent} lost transactions sent again, {waiting} not mined yet")

    def _projection(self) -> Projection:
        path = getattr(settings, "CHAIN_PROJECTION", "")
        if not path:
            raise CommandError(
                "settings.CHAIN_PROJECTION is not set; give the dotted path of the class that "
                "folds chain events into tables."
            )
        projection: Projection = import_string(path)()
        return projection
