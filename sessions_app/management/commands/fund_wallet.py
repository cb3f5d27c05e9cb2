"""Tokens and ether for wallets on a development chain, to try an agent or a browser wallet."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from eth_utils.address import is_address

from chain.events import checksum
from chain.models import Account, OutgoingTransaction
from chain.network import is_development, network_current
from chain.outbox import transaction_enqueue
from sessions_app.services.tasks import FLT


class Command(BaseCommand):
    help = "Send FLT and ETH from the treasury of a development chain to wallets, and wait."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address", nargs="+")
        parser.add_argument("--tokens", type=float, default=100.0, help="FLT each (default 100)")
        parser.add_argument("--ether", type=float, default=1.0, help="ETH each (default 1)")
        parser.add_argument("--seconds", type=float, default=60.0, help="longest wait")

    def handle(self, *args: Any, **options: Any) -> None:
        if not is_development(network_current()):
            raise CommandError("Only on a development chain: elsewhere tokens are somebody's.")
        treasury = Account.objects.filter(kind="deployer").order_by("pk").first()
        if treasury is None:
            raise CommandError("No treasury yet. Run manage.py deploy_contracts first.")
        rows: list[OutgoingTransaction] = []
        for given in options["address"]:
            if not is_address(given):
                raise CommandError(f"{given} is not an address (0x and 40 hex digits).")
            rows += _send(treasury, checksum(given), options["tokens"], options["ether"])
        until = time.monotonic() + options["seconds"]
        while not all(_mined(row) for row in rows):
            if time.monotonic() > until:
                raise CommandError("Not mined yet. Are the control worker and the chain running?")
            time.sleep(0.1)
        self.stdout.write(f"{len(options['address'])} wallets funded")


def _send(
    treasury: Account, address: str, tokens: float, ether: float
) -> list[OutgoingTransaction]:
    mark = f"fund:{address}:{time.time_ns()}"
    token = transaction_enqueue(
        account=treasury,
        contract="FLToken",
        function="transfer",
        args=[address, int(tokens * FLT)],
        idempotency_key=f"{mark}:tokens",
        reference="funding",
    )
    gas = transaction_enqueue(
        account=treasury,
        contract="",
        function="",
        args=[],
        to=address,
        value=int(ether * 10**18),
        idempotency_key=f"{mark}:ether",
        reference="funding",
    )
    return [token, gas]


def _mined(row: OutgoingTransaction) -> bool:
    row.refresh_from_db()
    if row.status == OutgoingTransaction.Status.FAILED:
        raise CommandError(f"The treasury's transaction was refused: {row.error}")
    return row.status == OutgoingTransaction.Status.CONFIRMED
