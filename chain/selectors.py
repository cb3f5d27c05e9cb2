"""Reads for pages and commands: from the database where it has the answer, else from the node."""

from __future__ import annotations

from chain.artifacts import TOKEN, deployment, load
from chain.calls import decode_result, encode_call
from chain.errors import NotDeployed
from chain.models import Network, OutgoingStatus, OutgoingTransaction, SyncCursor
from chain.network import client_current, network_settings
from chain.wire import Fees


def head(network: Network) -> SyncCursor | None:
    """How far the follower is: block_number, head_number, state, message, updated_at."""
    return SyncCursor.objects.filter(network=network).first()


def contract_address(name: str) -> str:
    """Where contract `name` is on the configured chain. Raises NotDeployed."""
    chain_id = network_settings()["chain_id"]
    addresses = deployment(chain_id).addresses
    try:
        return addresses[name]
    except KeyError as error:
        raise NotDeployed(
            f"Chain {chain_id} has no {name}; deployed are {', '.join(sorted(addresses))}. "
            "Run manage.py deploy_contracts."
        ) from error


def eth_balance(address: str) -> int:
    """Wei, asked of the node now."""
    return client_current().balance(address)


def token_balance(address: str) -> int:
    """Wei of FLT (18 decimals), asked of the node now."""
    abi = load(TOKEN).abi
    data = encode_call(abi, "balanceOf", [address])
    answer = client_current().call(contract_address(TOKEN), data)
    balance: int = next(iter(decode_result(abi, "balanceOf", 1, answer).values()))
    return balance


def fees() -> Fees:
    """What a transaction would offer now, wei per gas."""
    return client_current().fees()


def gas_price() -> int:
    """Wei per gas a transaction would pay now: base fee and tip."""
    offered = fees()
    return offered.base_fee + offered.priority_fee


def outgoing_unsettled(network: Network) -> int:
    """Transactions queued or sent and not yet confirmed."""
    return OutgoingTransaction.objects.filter(
        network=network, status__in=(OutgoingStatus.QUEUED, OutgoingStatus.SENT)
    ).count()
