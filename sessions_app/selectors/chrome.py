"""The frame around every page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Q
from django.utils import timezone

from chain.models import SyncCursor, SyncState
from sessions_app.models import Task

# A follower with nothing to do writes its cursor every other second (chain.steps), also between two
# tries; silence beyond this means that it has ended, or that its node keeps it waiting.
FOLLOWER_SILENT_AFTER = timedelta(seconds=4)
# Behind the head, or in trouble that the page shows anyway, one step may take as long as a node's
# answer may (15 s).
FOLLOWER_BUSY_FOR = timedelta(seconds=20)


@dataclass(frozen=True)
class ChainStatus:
    """Where the follower is. ``state`` is a ``SyncState`` value, "silent", or "none"."""

    chain_id: int
    network: str
    block: int
    head: int
    state: str
    label: str
    message: str
    updated_at: datetime | None

    @property
    def ok(self) -> bool:
        return self.state in (SyncState.LIVE, SyncState.BACKFILL, SyncState.STARTING)

    @property
    def lag(self) -> int:
        return max(self.head - self.block, 0)

    @property
    def network_label(self) -> str:
        name = "Dev chain" if self.network == "dev" else self.network
        return f"{name} {self.chain_id}"


@dataclass(frozen=True)
class Chrome:
    chain: ChainStatus
    task_count: int
    running_count: int


def chain_status() -> ChainStatus:
    """One query."""
    name = settings.CHAIN_NETWORK
    chain_id = settings.NETWORKS[name]["chain_id"]
    cursor = SyncCursor.objects.filter(network__chain_id=chain_id).first()
    if cursor is None:
        return ChainStatus(
            chain_id=chain_id,
            network=name,
            block=-1,
            head=-1,
            state="none",
            label="Not followed yet",
            message="The chain follower has not written a block yet. Is manage.py follow_chain "
            "running?",
            updated_at=None,
        )
    state, label, message = cursor.state, cursor.get_state_display(), cursor.message
    silent = timezone.now() - cursor.updated_at
    if silent > (FOLLOWER_SILENT_AFTER if state == SyncState.LIVE else FOLLOWER_BUSY_FOR):
        state, label = "silent", "Follower silent"
        message = (
            f"The chain follower was last heard at {cursor.updated_at:%H:%M:%S} UTC. It has ended "
            "or waits for its node. Start it with manage.py follow_chain; nothing is lost, it "
            "continues where it stopped."
        )
    return ChainStatus(
        chain_id=chain_id,
        network=name,
        block=cursor.block_number,
        head=cursor.head_number,
        state=state,
        label=label,
        message=message,
        updated_at=cursor.updated_at,
    )


def chrome() -> Chrome:
    """Two queries: the cursor, and how many tasks there are and run."""
    counts = Task.objects.aggregate(
        all=Count("pk"),
        running=Count(
            "pk",
            filter=Q(phase__in=(Task.Phase.OPEN, Task.Phase.RUNNING))
            | Q(stage__in=(Task.Stage.PREPARING, Task.Stage.FUNDING)),
        ),
    )
    return Chrome(chain=chain_status(), task_count=counts["all"], running_count=counts["running"])
