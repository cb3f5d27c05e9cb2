"""``manage.py deploy_contracts --network NAME``: FLToken and FLCoordinator, once per chain."""

from __future__ import annotations

import getpass
import json
import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from chain.accounts import account_create, account_derive, account_import, key_address
from chain.deploy import DeployCost, contracts_deploy, contracts_verify
from chain.errors import ChainError
from chain.models import Account, AccountKind
from chain.network import client_current, is_development, network_current

VERDICTS = {
    "none": "not deployed",
    "gone": "recorded, but there is no code at its address",
    "other": "the code on chain is another build",
    "same": "the code on chain is this build",
}


class Command(BaseCommand):
    help = (
        "Deploy the contracts on a network (dev, private, sepolia, mainnet, or the one that "
        "CHAIN_NETWORK names) and record their addresses. Does nothing when the same code is "
        "there already. Shows the cost first, and asks before it spends on a real network."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--network", default=settings.CHAIN_NETWORK)
        parser.add_argument(
            "--replace",
            action="store_true",
            help="deploy although an older build is in use (a development chain does so anyway)",
        )
        parser.add_argument(
            "--verify",
            action="store_true",
            help="deploy nothing: compare the code on chain with the build (exit code 1 if not "
            "the same)",
        )
        parser.add_argument("--yes", action="store_true", help="spend without asking (for scripts)")
        parser.add_argument(
            "--keystore",
            type=Path,
            help="keystore file of the deployer, taken in once; its password is asked for, or "
            "read from BCFL_DEPLOYER_PASSWORD. BCFL_DEPLOYER_KEY may hold a private key instead",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["network"]
        if name not in settings.NETWORKS:
            known = ", ".join(sorted(settings.NETWORKS))
            raise CommandError(f"No network is called {name}; configured: {known}.")
        if not settings.NETWORKS[name]["rpc_url"]:
            raise CommandError(
                f"{name} has no node to speak to. Set {name.upper()}_RPC_URL to the address of one."
            )
        try:
            network = network_current(name)
            if options["verify"]:
                self._verify(name)
                return
            deployer = self._deployer(is_development(network), options["keystore"])
            contracts_deploy(
                network=network,
                client=client_current(name),
                deployer=deployer,
                replace=options["replace"],
                say=self.stdout.write,
                confirm=lambda cost: self._confirm(
                    name, cost, ask=not (is_development(network) or options["yes"])
                ),
            )
        except ChainError as error:
            raise CommandError(str(error)) from error

    def _verify(self, name: str) -> None:
        states = contracts_verify(network=network_current(name), client=client_current(name))
        for contract, state in states.items():
            self.stdout.write(f"{contract}: {VERDICTS[state]}")
        if set(states.values()) != {"same"}:
            raise CommandError(f"The contracts on {name} are not the build of this checkout.")

    def _confirm(self, name: str, cost: DeployCost, *, ask: bool) -> bool:
        if not ask:
            return True
        if not sys.stdin.isatty():
            raise CommandError(
                f"This would spend up to {cost.wei / 10**18:.6f} ETH on {name}. Run it in a "
                "terminal to be asked, or add --yes."
            )
        answer = input(f"Spend up to {cost.wei / 10**18:.6f} ETH? Type {name} to go on: ")
        if answer.strip() == name:
            return True
        self.stdout.write("Nothing was sent.")
        return False

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
        if key := os.environ.get("BCFL_DEPLOYER_KEY"):
            return _from_key(key)
        if development:
            return account_derive(label="Treasury", kind=AccountKind.DEPLOYER, index=0)
        found = Account.objects.filter(kind=AccountKind.DEPLOYER).order_by("pk").first()
        if found is None:
            raise CommandError(
                "There is no deployer account yet. Give its keystore file with --keystore FILE."
            )
        return found


def _from_key(key: str) -> Account:
    """The deployer whose private key the environment holds; stored encrypted, as all are."""
    try:
        private_key = bytes.fromhex(key.removeprefix("0x"))
    except ValueError as error:
        raise CommandError(
            "BCFL_DEPLOYER_KEY is not hexadecimal; it holds 64 hex digits."
        ) from error
    known = Account.objects.filter(address=key_address(private_key)).first()
    return known or account_create(
        label="Deployer", kind=AccountKind.DEPLOYER, private_key=private_key
    )
