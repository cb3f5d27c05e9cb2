"""``manage.py deploy_contracts --network NAME``: FLToken and FLCoordinator, once per chain."""

from __future__ import annotations

import getpass
import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from chain.accounts import account_derive, account_import
from chain.deploy import contracts_deploy
from chain.errors import ChainError
from chain.models import Account, AccountKind
from chain.network import client_current, is_development, network_current


class Command(BaseCommand):
    help = (
        "Deploy the contracts on the configured network and record their addresses. Does nothing "
        "when the same code is there already."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--network", default=settings.CHAIN_NETWORK)
        parser.add_argument(
            "--replace",
            action="store_true",
            help="deploy although an older build is in use (a development chain does so anyway)",
        )
        parser.add_argument(
            "--keystore",
            type=Path,
            help="keystore file of the deployer, taken in once; its password is asked for, or "
            "read from BCFL_DEPLOYER_PASSWORD",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["network"]
        if name not in settings.NETWORKS:
            known = ", ".join(sorted(settings.NETWORKS))
            raise CommandError(f"No network is called {name}; configured: {known}.")
        try:
            network = network_current(name)
            deployer = self._deployer(is_development(network), options["keystore"])
            contracts_deploy(
                network=network,
                client=client_current(name),
                deployer=deployer,
                replace=options["replace"],
                say=self.stdout.write,
            )
        except ChainError as error:
            raise CommandError(str(error)) from error

    def _deployer(self, development: bool, keystore: Path | None) -> Account:
        if keystore is not None:
            try:
                content = json.loads(keystore.read_text())
            except (OSError, ValueError) as error:
                raise CommandError(f"{keystore} cannot be read as a keystore: {error}") from error
            password = os.environ.get("BCFL_DEPLOYER_PASSWORD") or getpass.getpass("Password: ")
            return account_import(
                label="Deployer", kind=AccountKind.DEPLOYER, keystore=content, password=password
            )
        if development:
            return account_derive(label="Treasury", kind=AccountKind.DEPLOYER, index=0)
        found = Account.objects.filter(kind=AccountKind.DEPLOYER).order_by("pk").first()
        if found is None:
            raise CommandError(
                "There is no deployer account yet. Give its keystore file with --keystore FILE."
            )
        return found
