"""Who stands behind an address, in one query for a whole page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Value
from django.urls import reverse

from chain.artifacts import deployment
from chain.errors import NotDeployed
from chain.models import Account
from sessions_app.formats import short_hash
from sessions_app.models import Wallet

ZERO_ADDRESS = "0x" + "0" * 40
_CONTRACTS = {"FLToken": "FLT token", "FLCoordinator": "Coordinator"}


@dataclass(frozen=True)
class Party:
    """An address with a name. ``kind``: participant, operator, evaluator, deployer, contract,
    or empty when we do not know it."""

    address: str
    name: str
    kind: str = ""

    @property
    def url(self) -> str:
        return reverse("address", args=(self.address,))


class Names:
    """Parties by address; unknown addresses are named by their short form."""

    def __init__(self, parties: Iterable[Party]) -> None:
        self._parties = {party.address: party for party in parties}

    def party(self, address: str) -> Party:
        known = self._parties.get(address)
        if known is not None:
            return known
        if address == ZERO_ADDRESS:
            return Party(address, "Mint", "zero")
        return Party(address, short_hash(address))

    def name(self, address: str) -> str:
        return self.party(address).name


def contract_parties(chain_id: int) -> list[Party]:
    """Our contracts on a chain, none while they are not deployed. Reads no database."""
    try:
        addresses = deployment(chain_id).addresses
    except NotDeployed:
        return []
    return [
        Party(address, _CONTRACTS.get(name, name), "contract")
        for name, address in addresses.items()
    ]


def names_of(addresses: Iterable[str], chain_id: int | None = None) -> Names:
    """Hosted accounts by their label, linked wallets by the name of their user. One query;
    ``chain_id`` adds our contracts there."""
    wanted = set(addresses) - {""}
    accounts = Account.objects.filter(address__in=wanted).values_list(
        "address", "label", "kind", Value(1)
    )
    wallets = Wallet.objects.filter(address__in=wanted).exclude(user__first_name="").order_by()
    linked = wallets.values_list("address", "user__first_name", "user__role", Value(0))
    rows = sorted(linked.union(accounts), key=lambda row: row[3])  # an account names it last
    parties = [Party(address, name, kind) for address, name, kind, _ in rows]
    return Names(parties + (contract_parties(chain_id) if chain_id is not None else []))
