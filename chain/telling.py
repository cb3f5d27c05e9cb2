"""Tell whoever keeps tables of the chain that outgoing rows changed without a block.

Sync tells of what blocks change. A call that the node refuses, or that waits for a reason, is in
no block: nobody would hear of it before the next event of its task.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from chain.models import Network
from chain.projecting import Projection

logger = logging.getLogger(__name__)


def outgoing_changed(network: Network, outgoing: Sequence[int]) -> None:
    """`outgoing`: ids of rows, already committed. A hint, as every message: it must not stop the
    queue, and the pages' regular look at the database makes a lost one good."""
    path = getattr(settings, "CHAIN_PROJECTION", "")
    if not path:
        return
    try:
        _projection(path).committed(network, (), (), outgoing)
    except Exception:
        logger.exception("nobody was told of outgoing %s; pages see it later", list(outgoing))


@cache
def _projection(path: str) -> Projection:
    projection: Projection = import_string(path)()
    return projection
