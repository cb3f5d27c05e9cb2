"""Everything that goes wrong between a chain and its database, in an order drawn from a seed.

Tasks are played on a real Anvil while blocks are reorganised, the follower and the sender die at
every labelled line (`chain.lines`), the node fails, stalls and lies (`lying_proxy`), work is
delivered twice and two followers run at once. When all of it stops, the tables must be those of
a replay without faults, and every transaction asked for must have happened once.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, models

from bcfl_site.embedded.anvil import Anvil
from bcfl_site.fault_moves import Moves
from bcfl_site.fault_projection import Silent
from bcfl_site.fault_victim import Death, Victims
from bcfl_site.lying_proxy import PATIENCE, LyingProxy
from bcfl_site.reconciliation import reconcile
from chain import lines
from chain.artifacts import deployment, revert_decoder
from chain.client import ChainClient
from chain.errors import ChainError
from chain.models import (
    Account,
    Block,
    Log,
    Network,
    OutgoingStatus,
    OutgoingTransaction,
    SyncCursor,
    Transaction,
)
from chain.outbox import account_send, outbox_rebroadcast, transaction_enqueue
from chain.selectors import token_balance
from chain.sync import Follower
from sessions_app import models as told
from sessions_app.projection.tables import rebuild

SINK = "0x" + "5e" * 20
DEEPEST = 20
LIES = 0.25  # of the requests of a faulty step
SETTLE_ROUNDS = 60
REORG_ATTEMPTS = 5
STORED: tuple[type[models.Model], ...] = (
    Block,
    Transaction,
    Log,
    told.Task,
    told.Round,
    told.Participant,
    told.Update,
    told.ScoreSheet,
    told.Reward,
    told.Claim,
    told.TaskEvent,
    told.TokenTransfer,
    told.TokenBalance,
)
# Of this database alone: row numbers, public names, times of insertion, counts of messages.
LOCAL = {"id", "uuid", "created_at", "live_seq"}


@dataclass
class Outcome:
    """`differences`: what is wrong, in words; empty when all is well."""

    seed: int
    steps: int
    seen: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    events: int = 0
    blocks: int = 0
    sent: int = 0


class Simulation:
    """One seed on one Anvil and the default database. Contracts are deployed, nothing else."""

    def __init__(self, anvil: Anvil, network: Network, sender: Account, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 (no secret)
        self.anvil, self.network, self.sender = anvil, network, sender
        self.honest = ChainClient(anvil.rpc_url, reverts=revert_decoder())
        self.moves = Moves(self.honest, deployment(network.chain_id), self.random)
        self.ground = self.honest.head().number  # no reorg goes below the deployment
        self.outcome = Outcome(seed, 0)
        self.asked: list[int] = []
        self.proxy = LyingProxy(anvil.port, seed)

    def run(self, steps: int) -> Outcome:
        actions: list[tuple[Callable[[], None], int]] = [
            (self._play, 6),
            (self._follow, 5),
            (self._kill, 5),
            (self._ask, 2),
            (self._send, 3),
            (self._reorganise, 2),
            (self._two_followers, 1),
        ]
        with self.at_work():
            for _ in range(steps):
                action = self.random.choices(*zip(*actions, strict=True))[0]
                self.proxy.rate = LIES if self.random.random() < 0.6 else 0.0
                self.outcome.seen[action.__name__.strip("_")] += 1
                action()
                self.outcome.steps += 1
        return self.finish()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The node that lies and the processes to kill are there; no lies until a rate is set."""
        with self.proxy, Victims() as self.victims:
            self.faulty = ChainClient(
                self.proxy.url, timeout=PATIENCE / 2, reverts=revert_decoder()
            )
            self.follower = self._new_follower()
            yield
            self.proxy.rate = 0.0
            self.outcome.seen.update(self.proxy.seen)

    def finish(self) -> Outcome:
        """Let everything come to rest, then compare."""
        self._settle()
        self._compare()
        return self.outcome

    # What happens

    def _play(self) -> None:
        for _ in range(self.random.randint(1, 10)):
            self.moves.one()
        if self.random.random() < 0.3:
            self.anvil.rpc("anvil_mine", hex(self.random.randint(1, 5)))

    def _follow(self) -> None:
        self._guarded(self.follower.sync_once)

    def _kill(self) -> None:
        self.kill(self.random.choice(lines.LABELS))

    def kill(self, label: str) -> None:
        """A process works until the line and dies of SIGKILL there, or goes as far as it can;
        another takes over."""
        if label.startswith("send"):
            self._ask()
        else:
            if "orphan" in label or "refold" in label or "put back" in label:
                self._guarded(self.follower.sync_to_head)
                self._reorganise()
            self._play()
        work = "send" if label.startswith("send") else "follow"
        client = self.faulty
        death = Death(work, label, client.url, client.timeout, self.network.pk, self.sender.pk)
        if self.victims.kill(death):
            self.outcome.seen[f"killed at {label}"] += 1
        self.follower = self._new_follower()

    def _ask(self) -> None:
        number = len(self.asked)
        row = transaction_enqueue(
            account=self.sender,
            contract="FLToken",
            function="transfer",
            args=[SINK, 1 << number],  # each amount is a bit of its own in the sink's balance
            idempotency_key=f"simulated:{number}",
        )
        self.asked.append(row.pk)

    def _send(self) -> None:
        """Delivered twice, as Celery may."""
        self._guarded(self._send_queue)
        self._guarded(self._send_queue)
        self._guarded(lambda: outbox_rebroadcast(self.network, self.faulty))

    def _send_queue(self) -> int:
        return account_send(self.sender.pk, client=self.faulty)

    def _reorganise(self) -> None:
        height = self.honest.head().number - self.ground
        if height < 1:
            return
        depth = self.random.randint(1, min(DEEPEST, height))
        for attempt in range(REORG_ATTEMPTS):
            try:
                self.anvil.rpc("anvil_reorg", depth, [])
                break
            except ValueError:
                # Anvil finds a block gone when a call of a killed process is still being mined.
                self.outcome.seen["reorg refused"] += 1
                if attempt + 1 == REORG_ATTEMPTS:
                    raise
                time.sleep(0.2)
        self.outcome.seen["reorg"] += 1
        self.outcome.seen[f"reorg of depth {depth}"] += 1

    def _two_followers(self) -> None:
        self._play()
        start = threading.Barrier(2)

        def run() -> None:
            follower = self._new_follower()
            start.wait()
            try:
                for _ in range(2):
                    self._guarded(follower.sync_once)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # The end of it

    def _settle(self) -> None:
        """Without faults, until nothing is on its way."""
        follower = Follower(self.honest, self.network, Silent())
        rows = OutgoingTransaction.objects.filter(pk__in=self.asked)
        for _ in range(SETTLE_ROUNDS):
            account_send(self.sender.pk, client=self.honest)
            outbox_rebroadcast(self.network, self.honest)
            self.anvil.rpc("anvil_mine", "0x1")
            follower.sync_to_head()
            if not rows.exclude(status=OutgoingStatus.CONFIRMED).exists():
                break
        for row in rows.exclude(status=OutgoingStatus.CONFIRMED):
            self.outcome.differences.append(
                f"{row.idempotency_key} is {row.status} (nonce {row.nonce}, the account's next is "
                f"{self.honest.nonce(self.sender.address)}): {row.error_name} {row.error}"
            )
        self.outcome.sent = rows.count()
        balance, expected = token_balance(SINK), (1 << len(self.asked)) - 1
        if balance != expected:
            self.outcome.differences.append(
                f"The sink holds {balance:#x}, each transfer once would be {expected:#x}."
            )

    def _compare(self) -> None:
        for entry in reconcile(self.network, self.honest).differences:
            self.outcome.differences.append(f"reconcile: {entry}")
        found = snapshot()
        self.outcome.events, self.outcome.blocks = Log.objects.count(), Block.objects.count()
        rebuild(self.network)
        self._differ("rebuild_projection", found, snapshot())
        told.Task.objects.all().delete()
        told.TokenBalance.objects.all().delete()
        Block.objects.all().delete()
        SyncCursor.objects.all().delete()
        Follower(self.honest, self.network, Silent()).sync_to_head()
        self._differ("a clean replay", found, snapshot())

    def _differ(self, what: str, found: dict[str, list[str]], clean: dict[str, list[str]]) -> None:
        for table, rows in clean.items():
            if rows != found[table]:
                extra, missing = set(found[table]) - set(rows), set(rows) - set(found[table])
                self.outcome.differences.append(
                    f"{table} differs from {what}: {len(extra)} rows too many, {len(missing)} "
                    f"missing, such as {next(iter(extra or missing), 'a duplicate')}"
                )

    def _new_follower(self) -> Follower:
        return Follower(self.faulty, self.network, Silent())

    def _guarded(self, work: Callable[[], Any]) -> None:
        """Refusals are what should happen; they are counted. Anything else is a bug."""
        try:
            work()
        except ChainError as error:
            self.outcome.seen[type(error).__name__] += 1


def snapshot() -> dict[str, list[str]]:
    """Every table that follows from the chain, without what is of this database alone."""
    return {model.__name__: sorted(_rows(model)) for model in STORED}


def _rows(model: type[models.Model]) -> list[str]:
    fields = [f for f in model._meta.concrete_fields if f.attname not in LOCAL]
    parents = {f.name: _names(f.related_model) for f in fields if f.is_relation}
    rows = []
    for row in model._default_manager.all().iterator():
        values = [
            parents[f.name].get(getattr(row, f.attname))
            if f.is_relation
            else getattr(row, f.attname)
            for f in fields
        ]
        rows.append(repr(values))
    return rows


def _names(model: Any) -> dict[Any, Any]:
    """What the chain calls each row: enough to compare references."""
    known: dict[str, tuple[str, ...]] = {
        "Block": ("hash",),
        "Transaction": ("hash",),
        "Log": ("block__hash", "log_index"),
        "Task": ("onchain_id",),
        "Round": ("task__onchain_id", "number"),
        "Participant": ("task__onchain_id", "address"),
        "Network": ("chain_id",),
    }
    names = known.get(model.__name__, ("pk",))
    return {pk: rest for pk, *rest in model._default_manager.values_list("pk", *names)}
