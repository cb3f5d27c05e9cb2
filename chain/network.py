"""Which chain the settings point at: its row, its client, and the check that both agree."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from chain.artifacts import DEV_CHAIN_ID, revert_decoder
from chain.client import ChainClient
from chain.errors import ChainBehindDatabase, WrongChain
from chain.models import Network, SyncCursor


def network_settings(name: str | None = None) -> dict[str, Any]:
    """{"rpc_url", "chain_id"} of a configured network; the current one by default."""
    name = name or settings.CHAIN_NETWORK
    try:
        found: dict[str, Any] = settings.NETWORKS[name]
    except KeyError as error:
        known = ", ".join(sorted(settings.NETWORKS))
        raise ImproperlyConfigured(
            f"No network is called {name}; configured: {known}. Set CHAIN_NETWORK, CHAIN_RPC_URL "
            "and CHAIN_ID."
        ) from error
    return found


def network_current(name: str | None = None) -> Network:
    """The network's row, made on first use. Asks no node."""
    name = name or settings.CHAIN_NETWORK
    network, _ = Network.objects.get_or_create(
        chain_id=network_settings(name)["chain_id"], defaults={"name": name}
    )
    return network


def client_current(name: str | None = None) -> ChainClient:
    """The shared client of this process for the network's node."""
    return _client(network_settings(name)["rpc_url"])


@lru_cache(maxsize=8)
def _client(url: str) -> ChainClient:
    return ChainClient(url, reverts=revert_decoder())


def is_development(network: Network) -> bool:
    """Whether keys may be public and the chain may be thrown away."""
    return network.chain_id == DEV_CHAIN_ID


def network_verify(network: Network, client: ChainClient) -> None:
    """Refuse a node of another chain; remember the genesis at first contact.

    Raises WrongChain, or ChainBehindDatabase when it is the development chain started anew.
    """
    chain_id, genesis = client.identity()
    if chain_id != network.chain_id:
        raise WrongChain(
            f"{client.url} serves chain id {chain_id}, but network {network.name} is chain id "
            f"{network.chain_id}. Correct CHAIN_RPC_URL or CHAIN_ID."
        )
    if not network.genesis_hash:
        Network.objects.filter(pk=network.pk, genesis_hash="").update(genesis_hash=genesis)
        network.refresh_from_db()
    if genesis == network.genesis_hash:
        return
    if not is_development(network):
        raise WrongChain(
            f"{client.url} serves a chain with genesis {genesis}, but the database holds chain "
            f"{network.chain_id} with genesis {network.genesis_hash}. Correct CHAIN_RPC_URL, or "
            "give the other chain a database of its own with DATABASE_URL."
        )
    known = SyncCursor.objects.filter(network=network).values_list("block_number", flat=True)
    raise ChainBehindDatabase(
        f"The development chain at {client.url} was started anew (genesis {genesis[:10]}…); the "
        f"database holds {known[0] + 1 if known else 0} blocks of the one before "
        f"({network.genesis_hash[:10]}…). Run manage.py resync to forget that chain."
    )
