"""One step of following: plan, fetch, verify, then one database transaction that writes blocks,
transactions, logs, projection, outgoing rows and cursor together.

The cursor is written first and only by whoever still finds the version they read, so of two
followers one writes and the other's transaction is refused as a whole. Wake-ups and messages go
out after the commit; losing them loses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from chain import ranges, reorg, settle, store
from chain.ahead import Read, ReadAhead
from chain.artifacts import deployment, load
from chain.client import ChainClient
from chain.errors import (
    ChainBehindDatabase,
    CursorMoved,
    InconsistentAnswer,
    NotDeployed,
    RangeTooLarge,
    ReorgTooDeep,
)
from chain.events import DecodedEvent
from chain.fetch import Fetched, fetch_touching, fetch_whole
from chain.lines import reached
from chain.models import (
    Network,
    SyncCursor,
    SyncState,
)
from chain.network import is_development, network_verify
from chain.projecting import Projection, SyncReport
from chain.wake import wake_sender
from chain.wire import Header

BLOCKS_AT_ONCE = 500  # at most; how many transactions they may hold is in `ranges`
BLOCKS_AT_FIRST = 25
HEARTBEAT_SECONDS = 1.5  # how often an idle follower shows that it lives


@dataclass(frozen=True, slots=True)
class _Change:
    """What to write: drop every block above `keep` (None: none), then add `fetched`."""

    fetched: Fetched
    keep: int | None = None
    new_genesis: str = ""


class Stepper:
    """One network into one database.

    `publish`: called with the cursor after each change of position, head or state.
    `confirmations`, `reorg_limit`: blocks; from the settings when None.
    """

    def __init__(
        self,
        client: ChainClient,
        network: Network,
        projection: Projection,
        publish: Callable[[SyncCursor], None] | None = None,
        *,
        confirmations: int | None = None,
        reorg_limit: int | None = None,
        blocks_at_once: int = BLOCKS_AT_ONCE,
    ) -> None:
        self.client = client
        self.network = network
        self.projection = projection
        self.confirmations = (
            settings.CHAIN_CONFIRMATIONS if confirmations is None else confirmations
        )
        self.reorg_limit = settings.CHAIN_REORG_LIMIT if reorg_limit is None else reorg_limit
        self._publish = publish
        self._size = ranges.RangeSize(min(blocks_at_once, BLOCKS_AT_FIRST), blocks_at_once)
        self._ahead = ReadAhead()
        self._target = -1  # the highest block this step may write
        self._names = store.Names({})
        self._start_block = 0
        self._verified = False
        self._beat_at = 0.0

    # One step

    def sync_once(self) -> SyncReport:
        """Bring the database up to the head, or one range nearer to it.

        Raises ChainError; then nothing was written.
        """
        if not self._verified:
            self.network.refresh_from_db()  # a resync elsewhere may have accepted a new genesis
            network_verify(self.network, self.client)
            self._verified = True
        cursor = self._cursor()
        self._adopt_deployment(cursor)
        head = self.client.head()
        target = self._target = head.number - self.confirmations
        if self._parted(cursor, head):
            return self._reorganise(cursor, head, target)
        span = ranges.next_range(cursor.block_number, target, self._start_block, self._size.current)
        if span is None:
            self._saw_head(cursor, head.number)
            return SyncReport(cursor.block_number, head.number)
        fetched = self._fetch(*span)
        reached("sync: blocks read")
        first = fetched.blocks[0].header
        if cursor.block_number >= 0 and first.parent_hash != cursor.block_hash:
            return self._reorganise(cursor, head, target)
        self._check_linked(cursor.block_hash, fetched)
        return self._write(cursor, head.number, target, _Change(fetched))

    def sync_to_head(self) -> SyncReport:
        """Steps until caught up with the head of that moment; for commands and tests."""
        while True:
            report = self.sync_once()
            if report.caught_up:
                return report

    def resync(self, from_block: int | None = None) -> SyncReport:
        """Put the database right with a chain that is older than it or was started anew.

        Drops every block that is not on the node's chain, refolds, puts the outgoing rows those
        blocks held back to be broadcast, and follows to the head. Raises WrongChain when the node
        serves another network. `from_block`: read the blocks from this one on again, also those
        that are as on the chain.
        """
        new_genesis = ""
        try:
            network_verify(self.network, self.client)
        except ChainBehindDatabase:
            _, new_genesis = self.client.identity()
        self._verified = True
        cursor = self._cursor()
        self._adopt_deployment(cursor)
        head = self.client.head()
        keep = -1 if new_genesis else self._ancestor(cursor, head, floor=0)
        if from_block is not None:
            keep = min(from_block - 1, cursor.block_number if keep is None else keep)
            if not store.hashes_at(self.network, [keep]):
                keep = -1  # nothing is stored below: start anew
        dropped = 0
        if cursor.block_number >= 0 and (keep is None or keep < cursor.block_number):
            change = _Change(
                Fetched([]), keep=-1 if keep is None else keep, new_genesis=new_genesis
            )
            dropped = self._write(cursor, head.number, head.number, change).orphaned_blocks
        elif new_genesis:
            Network.objects.filter(pk=self.network.pk).update(genesis_hash=new_genesis)
            self.network.refresh_from_db()
        report = self.sync_to_head()
        return SyncReport(report.block_number, report.head_number, orphaned_blocks=dropped)

    # What others see

    def _show(self, **fields: Any) -> None:
        changed = SyncCursor.objects.filter(network=self.network).update(
            **fields, updated_at=timezone.now()
        )
        self._beat_at = time.monotonic()
        if changed and self._publish:
            self._publish(SyncCursor.objects.get(network=self.network))

    def _saw_head(self, cursor: SyncCursor, head_number: int) -> None:
        """Nothing new: note the head, that all is well, and that we live."""
        quiet = cursor.head_number == head_number and cursor.state == SyncState.LIVE
        if quiet:
            self._beat()
        else:
            self._show(head_number=head_number, state=SyncState.LIVE, message="")

    def _beat(self) -> None:
        """Show that we live, unless that was shown a moment ago."""
        if time.monotonic() - self._beat_at > HEARTBEAT_SECONDS:
            SyncCursor.objects.filter(network=self.network).update(updated_at=timezone.now())
            self._beat_at = time.monotonic()

    # Plan and fetch

    def _cursor(self) -> SyncCursor:
        return SyncCursor.objects.get_or_create(network=self.network)[0]

    def _adopt_deployment(self, cursor: SyncCursor) -> None:
        """Learn where our contracts are; name what was stored before we knew."""
        try:
            deployed = deployment(self.network.chain_id)
        except NotDeployed:
            if is_development(self.network):
                return  # blocks are worth storing anyway
            raise
        own = {c.address: (name, load(name).abi) for name, c in deployed.contracts.items()}
        if own.keys() == self._names.addresses:
            return
        names = store.Names(own)
        with transaction.atomic():
            self._swap(cursor)
            events = store.adopt(self.network, names)
            if events:
                self.projection.apply(self.network, events)
        cursor.refresh_from_db()
        self._names = names
        if not is_development(self.network):
            self._start_block = deployed.start_block
        if events:
            self.projection.committed(self.network, events, (), ())

    def _fetch(self, first: int, last: int) -> Fetched:
        fetched = self._ahead.take((first, last)) or self._read_or_less(first, last)
        weight = sum(len(block.transactions) for block in fetched.blocks)
        self._size = self._size.after_success(weight)
        done = fetched.blocks[-1].header.number
        span = ranges.next_range(done, self._target, self._start_block, self._size.current)
        # The last range is left alone: it may have grown by the time it is its turn.
        if span and span[1] < self._target:
            self._ahead.start(self._reader(), span)
        return fetched

    def _read_or_less(self, first: int, last: int) -> Fetched:
        """As many of these blocks as the node serves at once."""
        while True:
            try:
                return self._reader()(first, last)
            except RangeTooLarge as error:
                self._size = self._size.after_refusal(last - first + 1, error.suggestion)
                if last == first:
                    raise
                last = min(last, first + self._size.current - 1)

    def _reader(self) -> Read:
        """How to read a range from the node; the database is asked here, not by the reading."""
        if is_development(self.network):
            return partial(fetch_whole, self.client)
        own = settle.sent_by_nonce(self.network).values()
        return partial(
            fetch_touching,
            self.client,
            addresses=self._names.addresses,
            topics=self._names.decoder.topics,
            own_hashes=[h for row in own for h in settle.hashes_of(row)],
        )

    @staticmethod
    def _check_linked(parent_hash: str, fetched: Fetched) -> None:
        broken = reorg.unlinked(
            parent_hash,
            [(b.header.number, b.header.hash, b.header.parent_hash) for b in fetched.blocks],
        )
        if broken is not None:
            raise InconsistentAnswer(
                f"Block {broken} does not follow the one before it: a reorg while we read."
            )

    # Reorganisations

    def _parted(self, cursor: SyncCursor, head: Header) -> bool:
        """Whether a head no higher than ours proves that the chain changed below us.

        Raises ChainBehindDatabase when the node's chain is ours, only shorter.
        """
        if cursor.block_number < 0 or head.number > cursor.block_number:
            return False
        if head.number == cursor.block_number:
            return head.hash != cursor.block_hash
        if store.hashes_at(self.network, [head.number]).get(head.number) != head.hash:
            return True
        raise ChainBehindDatabase(
            f"The chain at {self.client.url} ends at block {head.number}, the database holds "
            f"{cursor.block_number}: the node lost its last blocks or has not caught up. If it "
            "stays so, run manage.py resync to drop what the chain no longer has and send "
            "our lost transactions again."
        )

    def _ancestor(self, cursor: SyncCursor, head: Header, *, floor: int) -> int | None:
        def theirs(heights: Sequence[int]) -> dict[int, str]:
            headers = self.client.headers(heights)
            return {header.number: header.hash for header in headers if header is not None}

        return reorg.common_ancestor(
            lambda heights: store.hashes_at(self.network, heights),
            theirs,
            min(cursor.block_number, head.number),
            floor,
        )

    def _reorganise(self, cursor: SyncCursor, head: Header, target: int) -> SyncReport:
        network_verify(self.network, self.client)  # or is it another chain altogether?
        floor = max(cursor.block_number - self.reorg_limit, 0)
        keep = self._ancestor(cursor, head, floor=floor)
        if keep is None:
            kind = ChainBehindDatabase if is_development(self.network) else ReorgTooDeep
            raise kind(
                f"The node's chain (head {head.number}) parted from the database "
                f"({cursor.block_number}) more than {self.reorg_limit} blocks ago "
                "(CHAIN_REORG_LIMIT). If that chain is the right one, run manage.py resync."
            )
        span = ranges.next_range(keep, target, self._start_block, self._size.current)
        fetched = self._fetch(*span) if span else Fetched([])
        self._check_linked(store.hashes_at(self.network, [keep])[keep], fetched)
        return self._write(cursor, head.number, target, _Change(fetched, keep=keep))

    # Write

    def _swap(self, cursor: SyncCursor, **fields: Any) -> None:
        """Take the cursor's next version. Raises CursorMoved when it is not as we read it."""
        taken = SyncCursor.objects.filter(pk=cursor.pk, version=cursor.version).update(
            version=F("version") + 1, updated_at=timezone.now(), **fields
        )
        if not taken:
            raise CursorMoved(
                f"Another follower of {self.network} wrote the cursor after version "
                f"{cursor.version}. Run only one follower; this one writes nothing for now."
            )

    def _write(
        self, cursor: SyncCursor, head_number: int, target: int, change: _Change
    ) -> SyncReport:
        blocks = change.fetched.blocks
        if blocks:
            position, block_hash = blocks[-1].header.number, blocks[-1].header.hash
        else:
            position = -1 if change.keep is None else change.keep
            block_hash = store.hashes_at(self.network, [position]).get(position, "")
        caught_up = position >= target
        mined = [t for block in blocks for t in block.transactions]
        orphaned: list[DecodedEvent] = []
        outgoing: list[int] = []
        with transaction.atomic():
            self._swap(
                cursor,
                block_number=position,
                block_hash=block_hash,
                head_number=head_number,
                state=SyncState.LIVE if caught_up else SyncState.BACKFILL,
                message="",
            )
            reached("sync: cursor taken")
            if change.keep is not None:
                outgoing += self._unsettle(change)
                reached("sync: outgoing put back")
                orphaned = store.drop_above(self.network, change.keep)
                reached("sync: orphans dropped")
                self.projection.revert(
                    self.network,
                    orphaned,
                    lambda ids: store.replay(self.network, self._names.addresses, ids),
                )
                reached("sync: tasks refolded")
            events = store.write(self.network, change.fetched, self._names)
            reached("sync: facts written")
            if events:
                self.projection.apply(self.network, events)
            reached("sync: events folded")
            outgoing += settle.settle_mined(self.network, mined, change.fetched.reverted)
            waiting = settle.waiting_accounts(self.network, mined) if mined else []
            reached("sync: outgoing settled")
        reached("sync: committed")
        self._beat_at = time.monotonic()
        if change.new_genesis:
            self.network.refresh_from_db()
        self._after_commit(events, orphaned, sorted(set(outgoing)), waiting)
        return SyncReport(
            block_number=position,
            head_number=head_number,
            blocks=len(blocks),
            events=len(events),
            orphaned_blocks=0 if change.keep is None else cursor.block_number - change.keep,
            caught_up=caught_up,
        )

    def _unsettle(self, change: _Change) -> list[int]:
        assert change.keep is not None
        if not change.new_genesis:
            return settle.unsettle(self.network, change.keep)
        Network.objects.filter(pk=self.network.pk).update(genesis_hash=change.new_genesis)
        return settle.cancel_for_new_chain(self.network, self.network.genesis_hash)

    def _after_commit(
        self,
        events: Sequence[DecodedEvent],
        orphaned: Sequence[DecodedEvent],
        outgoing: Sequence[int],
        waiting: Sequence[int],
    ) -> None:
        for account_id in waiting:
            wake_sender(account_id)
        if events or orphaned or outgoing:
            self.projection.committed(self.network, events, orphaned, outgoing)
        if self._publish:
            self._publish(SyncCursor.objects.get(network=self.network))
