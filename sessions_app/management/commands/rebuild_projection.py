"""Rebuild tasks, rounds, rewards and balances from the stored logs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from chain.network import network_current
from sessions_app.projection.tables import rebuild


class Command(BaseCommand):
    help = (
        "Throw away everything that was derived from chain events and derive it again from the "
        "stored logs. Drafts, logins and training records stay. Stop the follower first."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        network = network_current()
        folded = rebuild(network)
        self.stdout.write(f"{folded} events of {network} folded again")
