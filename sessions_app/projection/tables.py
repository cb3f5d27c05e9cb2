"""From chain events to the tables in `models.ledger`.

`handlers` says what each event means. State is kept in memory while a batch is applied and
written in bulk at its end, inside sync's transaction, so a backfill of a hundred thousand events
does not issue a query for each.

A reorg never patches derived rows one by one: the tasks it touched are cleared and folded again
from the stored logs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from django.db import transaction

from chain.artifacts import deployment
from chain.errors import NotDeployed
from chain.events import DecodedEvent
from chain.models import Log, Network, OutgoingTransaction, SyncCursor
from sessions_app import publish
from sessions_app.models import Task, TaskEvent, TokenBalance, TokenTransfer
from sessions_app.projection.fold import Fold
from sessions_app.projection.handlers import ACTOR, HANDLERS

ZERO_ADDRESS = "0x" + "0" * 40

REPLACED = (
    "The contracts were deployed anew on this development chain, and this task belongs to the "
    "former ones. Clone it to run it again."
)

# What each event changes on the task page; for those not named here, DEFAULT_PARTS.
PARTS: dict[str, tuple[publish.Part, ...]] = {
    "TaskCreated": publish.ALL_PARTS,
    "TaskStarted": publish.ALL_PARTS,
    "ParticipantJoined": ("now", "participants", "feed", "charts", "kpis"),
    "RoundOpened": ("now", "participants", "rounds", "feed"),
    "RoundFinalized": publish.ALL_PARTS,
    "TaskStopping": publish.ALL_PARTS,
    "TaskCompleted": publish.ALL_PARTS,
    "TaskCancelled": publish.ALL_PARTS,
    "RewardClaimed": publish.ALL_PARTS,
}
DEFAULT_PARTS: tuple[publish.Part, ...] = (
    "now",
    "kpis",
    "charts",
    "participants",
    "feed",
    "rounds",
)


class TaskProjection:
    """`chain.sync.Projection` for tasks, rounds, participants, rewards and token balances."""

    def apply(self, network: Network, events: Sequence[DecodedEvent]) -> None:
        fold = Fold(network, events)
        for event in events:
            self._apply_one(fold, event)
        fold.flush()

    def revert(
        self,
        network: Network,
        orphaned: Sequence[DecodedEvent],
        replay: Callable[[Collection[int]], Iterable[DecodedEvent]],
    ) -> None:
        ids = {event.args["taskId"] for event in orphaned if "taskId" in event.args}
        addresses = {
            event.args[end]
            for event in orphaned
            if (event.contract, event.name) == ("FLToken", "Transfer")
            for end in ("from", "to")
        }
        self._refold_tasks(network, ids, replay)
        self._recount_balances(network, addresses)

    def committed(
        self,
        network: Network,
        events: Sequence[DecodedEvent],
        orphaned: Sequence[DecodedEvent],
        outgoing: Sequence[int],
    ) -> None:
        """Tell viewers what changed and wake the orchestrator."""
        parts: dict[int, set[publish.Part]] = {}
        for event in (*events, *orphaned):
            if "taskId" in event.args:
                changed = PARTS.get(event.name, DEFAULT_PARTS)
                parts.setdefault(event.args["taskId"], set()).update(changed)
        by_onchain_id = dict(
            Task.objects.filter(network=network, onchain_id__in=parts).values_list(
                "onchain_id", "pk"
            )
        )
        changed_tasks = {
            by_onchain_id[onchain_id]: names
            for onchain_id, names in parts.items()
            if onchain_id in by_onchain_id
        }
        for task_id in tasks_of_outgoing(outgoing):
            changed_tasks.setdefault(task_id, set()).update(publish.ALL_PARTS)
        for task_id, names in changed_tasks.items():
            publish.task_changed(task_id, names)
            publish.task_wake(task_id)

    @staticmethod
    def _apply_one(fold: Fold, event: DecodedEvent) -> None:
        handler = HANDLERS.get((event.contract, event.name))
        if handler is not None:
            handler(fold, event)
        if "taskId" in event.args:
            fold.add_task_event(event, actor=event.args.get(ACTOR.get(event.name, ""), ""))

    def _refold_tasks(
        self,
        network: Network,
        onchain_ids: set[int],
        replay: Callable[[Collection[int]], Iterable[DecodedEvent]],
    ) -> None:
        if not onchain_ids:
            return
        tasks = Task.objects.filter(network=network, onchain_id__in=onchain_ids)
        for task in tasks:
            clear_projection(task)
        # A task that only the chain knew vanishes with it, unless the replay meets it again.
        Task.objects.filter(config__isnull=True, owner__isnull=True, network=None).delete()
        self.apply(network, list(replay(sorted(onchain_ids))))

    @staticmethod
    def _recount_balances(network: Network, addresses: set[str]) -> None:
        for address in addresses - {ZERO_ADDRESS}:
            transfers = TokenTransfer.objects.filter(network=network)
            incoming = transfers.filter(recipient=address).values_list("amount", "block_number")
            outgoing = transfers.filter(sender=address).values_list("amount", "block_number")
            blocks = [number for _, number in (*incoming, *outgoing)]
            if not blocks:
                TokenBalance.objects.filter(network=network, address=address).delete()
                continue
            balance = sum(a for a, _ in incoming) - sum(a for a, _ in outgoing)
            TokenBalance.objects.update_or_create(
                network=network,
                address=address,
                defaults={"balance": balance, "block_number": max(blocks)},
            )


def rebuild(
    network: Network,
    *,
    chunk: int = 5_000,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Throw the projection of a network away and fold it again from the stored logs.

    One transaction: readers see the old rows until the new ones are complete. Returns the
    number of events folded. Tasks of contracts that were replaced since are closed: their ids
    mean other tasks in the new coordinator.
    """
    folded = 0
    current = _current_addresses(network)
    with transaction.atomic():
        # The follower writes this row in each of its transactions, so it waits for us.
        list(SyncCursor.objects.select_for_update().filter(network=network))
        known = list(Task.objects.filter(network=network))
        for task in known:
            clear_projection(task)
        Task.objects.filter(config__isnull=True, network=None).delete()
        TokenTransfer.objects.filter(network=network).delete()
        TokenBalance.objects.filter(network=network).delete()
        logs = (
            Log.objects.filter(network=network, address__in=current)
            .exclude(event="")
            .select_related("block", "transaction")
            .order_by("block_number", "log_index")
        )
        total = logs.count()
        projection, batch = TaskProjection(), []
        for log in logs.iterator(chunk_size=chunk):
            batch.append(log.decoded())
            if len(batch) == chunk:
                projection.apply(network, batch)
                folded += len(batch)
                batch = []
                progress(folded, total)
        projection.apply(network, batch)
        gone = Task.objects.filter(pk__in=[task.pk for task in known], onchain_id=None)
        gone.update(stage=Task.Stage.FAILED, failure=REPLACED)
    return folded + len(batch)


def rebuild_if_replaced(network: Network) -> bool:
    """Rebuild when the contracts were deployed anew since the last event was folded."""
    try:
        current = _current_addresses(network)
    except NotDeployed:
        return False  # nothing to follow yet, so nothing was folded
    folded = (
        TaskEvent.objects.filter(task__network=network),
        TokenTransfer.objects.filter(network=network),
    )
    if not any(rows.exclude(log__address__in=current).exists() for rows in folded):
        return False
    rebuild(network)
    return True


def _current_addresses(network: Network) -> list[str]:
    return list(deployment(network.chain_id).addresses.values())


def clear_projection(task: Task) -> None:
    """Forget what the chain said about a task; the intention stays."""
    TaskEvent.objects.filter(task=task).delete()
    task.round_set.all().delete()
    task.members.all().delete()
    fresh = Task()
    for name in set(Task.PROJECTED) - set(Task.TERMS):
        setattr(task, name, getattr(fresh, name))
    if task.stage == Task.Stage.PLACED:
        task.stage = Task.Stage.FUNDING
    task.save(update_fields=(*Task.PROJECTED, "stage"))


def tasks_of_outgoing(outgoing: Sequence[int]) -> set[int]:
    """The tasks on whose behalf these transactions were sent."""
    references = OutgoingTransaction.objects.filter(
        pk__in=outgoing, reference__startswith="task:"
    ).values_list("reference", flat=True)
    return {int(reference.split(":")[1]) for reference in references}
