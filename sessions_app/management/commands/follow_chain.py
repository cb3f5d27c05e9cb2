"""Follow the chain into the database until stopped."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand

from chain.memory import collect_seldom
from chain.models import SyncCursor
from chain.network import client_current, network_current
from chain.sync import Follower
from sessions_app import publish
from sessions_app.projection.tables import TaskProjection, rebuild_if_replaced


class Command(BaseCommand):
    help = "Write blocks, logs and what follows from them into the database, as they come."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()

        def on_signal(signum: int, frame: FrameType | None) -> None:
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
        network = network_current()
        rebuild_if_replaced(network)

        def publish_cursor(cursor: SyncCursor) -> None:
            publish.chain_changed(
                chain_id=network.chain_id,
                block_number=cursor.block_number,
                head_number=cursor.head_number,
                state=cursor.state,
            )

        collect_seldom()
        Follower(client_current(), network, TaskProjection(), publish=publish_cursor).run(stop)
