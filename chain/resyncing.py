"""Put the database right with a chain that lost blocks or began anew."""

from __future__ import annotations

from chain.client import ChainClient
from chain.errors import CursorMoved
from chain.models import Network
from chain.outbox import outbox_rebroadcast
from chain.selectors import outgoing_unsettled
from chain.sync import Follower, Projection, SyncReport

ATTEMPTS = 5  # a running follower may write the cursor between our reading and writing


def resync(
    network: Network, client: ChainClient, projection: Projection, from_block: int | None = None
) -> tuple[SyncReport, int, int]:
    """Drop blocks that the node's chain does not have, catch up, send lost transactions again.

    Returns the report, how many were sent again, and how many are not mined yet. Raises ChainError.
    """
    follower = Follower(client, network, projection)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            report = follower.resync(from_block)
            break
        except CursorMoved:
            if attempt == ATTEMPTS:
                raise
    return report, outbox_rebroadcast(network, client), outgoing_unsettled(network)
