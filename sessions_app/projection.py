"""From chain events to the tables in `models.ledger`.

One table maps event names to handlers; each handler is a fold over (state, event). State is kept
in memory while a batch is applied and written in bulk at its end, inside sync's transaction, so a
backfill of a hundred thousand events does not issue a query for each.

A reorg never patches derived rows one by one: the tasks it touched are cleared and folded again
from the stored logs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from django.db import transaction

from chain.artifacts import deployment
from chain.errors import NotDeployed
from chain.events import DecodedEvent
from chain.models import Log, Network, OutgoingTransaction
from sessions_app import publish
from sessions_app.fold import Fold
from sessions_app.models import (
    Participant,
    Round,
    Task,
    TaskEvent,
    TokenBalance,
    TokenTransfer,
)
from sessions_app.rewards import reward_root, round_rewards

Handler = Callable[[Fold, DecodedEvent], None]
ZERO_ADDRESS = "0x" + "0" * 40
REWARD_MODES = ("equal", "samples", "score")  # the contract's enum, in order

REPLACED = (
    "The contracts were deployed anew on this development chain, and this task belongs to the "
    "former ones. Clone it to run it again."
)

# Which argument names the one who acted, for the feed.
ACTOR = {
    "TaskCreated": "operator",
    "ParticipantJoined": "participant",
    "ParticipantLeft": "participant",
    "ParticipantSlashed": "participant",
    "UpdateSubmitted": "participant",
    "ScoresSubmitted": "evaluator",
    "AggregateSubmitted": "evaluator",
    "RewardClaimed": "participant",
    "StakeReturned": "participant",
    "PoolReturned": "operator",
    "PoolToppedUp": "from",
}


def on_task_created(fold: Fold, event: DecodedEvent) -> None:
    params = event.args["params"]
    task = fold.task_created(event.args["taskId"], event.args["configHash"])
    task.network = fold.network
    task.onchain_id = event.args["taskId"]
    task.phase = Task.Phase.OPEN
    task.operator_address = event.args["operator"]
    task.pool_funded = params["pool"]
    task.round_reward = params["pool"] // params["rounds"]
    task.stake = params["stake"]
    task.rounds = params["rounds"]
    task.min_participants = params["minParticipants"]
    task.max_participants = params["maxParticipants"]
    task.join_seconds = params["joinSeconds"]
    task.update_seconds = params["updateSeconds"]
    task.score_seconds = params["scoreSeconds"]
    task.aggregate_seconds = params["aggregateSeconds"]
    task.evaluators = list(params["evaluators"])
    task.quorum = params["quorum"]
    task.reward_mode = REWARD_MODES[params["rewardMode"]]
    task.model_hash = params["modelHash"]
    task.created_block = event.block_number
    task.created_tx = event.tx_hash


def on_participant_joined(fold: Fold, event: DecodedEvent) -> None:
    task = fold.task(event)
    fold.add_participant(
        Participant(
            task=task,
            address=event.args["participant"],
            index=event.args["index"],
            samples_cap=event.args["samplesCap"],
            stake=event.args["stake"],
            joined_tx=event.tx_hash,
            joined_block=event.block_number,
        )
    )


def on_participant_left(fold: Fold, event: DecodedEvent) -> None:
    participant = fold.participant(event)
    if fold.task(event).phase == Task.Phase.OPEN:
        fold.remove_participant(participant)  # the contract gives the index to the next one
        return
    participant.status = Participant.Status.LEFT
    participant.stake_returned += event.args["stakeReturned"]


def on_participant_slashed(fold: Fold, event: DecodedEvent) -> None:
    fold.participant(event).status = Participant.Status.SLASHED


def on_task_started(fold: Fold, event: DecodedEvent) -> None:
    fold.task(event).phase = Task.Phase.RUNNING


def on_round_opened(fold: Fold, event: DecodedEvent) -> None:
    task = fold.task(event)
    task.current_round = event.args["round"]
    deadline = event.args["updateDeadline"]
    fold.add_round(
        Round(
            task=task,
            number=event.args["round"],
            base_model_hash=event.args["modelHash"],
            opened_block=event.block_number,
            opened_time=event.block_time,
            opened_tx=event.tx_hash,
            update_deadline=deadline,
            phase_deadline=deadline,
        )
    )


def on_update_submitted(fold: Fold, event: DecodedEvent) -> None:
    fold.add_update(
        fold.round(event),
        fold.participant(event),
        event,
        update_hash=event.args["updateHash"],
        samples=event.args["samples"],
    )


def on_updates_relayed(fold: Fold, event: DecodedEvent) -> None:
    round_ = fold.round(event)
    members = {p.index: p for p in fold.participants_of(fold.task(event))}
    for index, update_hash, samples in unpack_relayed(event.args["updates"]):
        fold.add_update(round_, members[index], event, update_hash=update_hash, samples=samples)


def on_scoring_opened(fold: Fold, event: DecodedEvent) -> None:
    round_ = fold.round(event)
    round_.phase = Round.Phase.SCORING
    round_.phase_deadline = event.args["deadline"]


def on_scores_submitted(fold: Fold, event: DecodedEvent) -> None:
    packed = bytes.fromhex(event.args["scores"][2:])
    scores = [int.from_bytes(packed[i : i + 4], "big") for i in range(0, len(packed), 4)]
    fold.add_score_sheet(fold.round(event), event.args["evaluator"], scores, event.tx_hash)


def on_aggregating_opened(fold: Fold, event: DecodedEvent) -> None:
    round_ = fold.round(event)
    round_.phase = Round.Phase.AGGREGATING
    round_.phase_deadline = event.args["deadline"]


def on_round_finalized(fold: Fold, event: DecodedEvent) -> None:
    task, round_ = fold.task(event), fold.round(event)
    round_.phase = Round.Phase.FINALIZED
    round_.model_hash = event.args["modelHash"]
    round_.reward_root = event.args["rewardRoot"]
    round_.accuracy_ppm = event.args["accuracyPpm"]
    round_.reward = event.args["reward"]
    round_.finalized_block = event.block_number
    round_.finalized_time = event.block_time
    round_.finalized_tx = event.tx_hash
    task.model_hash = event.args["modelHash"]
    task.pool_allocated += event.args["reward"]
    if task.topped_up and round_.number < task.rounds:
        task.round_reward = task.pool_left // (task.rounds - round_.number)
        task.topped_up = False

    members = fold.participants_of(task)
    lines = round_rewards(
        mode=task.reward_mode,
        reward=round_.reward,
        addresses=[member.address for member in members],
        score_sheets=fold.score_sheets_of(round_),
        samples=fold.samples_of(round_),
        earned_before={member.address: member.earned for member in members},
    )
    cumulative = {line.address: line.cumulative for line in lines}
    round_.rewards_match = reward_root(event.args["taskId"], cumulative) == round_.reward_root
    if round_.rewards_match:
        # Only what the chain vouches for is shown as earned.
        for member, line in zip(members, lines, strict=True):
            member.earned = line.cumulative
            fold.touch(member)
            fold.add_reward(round_, member, line)


def on_task_completed(fold: Fold, event: DecodedEvent) -> None:
    task = fold.task(event)
    task.phase = Task.Phase.COMPLETED
    task.model_hash = event.args["modelHash"]
    task.ended_time = event.block_time


def on_task_cancelled(fold: Fold, event: DecodedEvent) -> None:
    task = fold.task(event)
    task.phase = Task.Phase.CANCELLED
    task.ended_time = event.block_time


def on_task_stopping(fold: Fold, event: DecodedEvent) -> None:
    fold.task(event).stopping = True


def on_pool_topped_up(fold: Fold, event: DecodedEvent) -> None:
    task = fold.task(event)
    task.pool_funded += event.args["amount"]
    if task.phase == Task.Phase.OPEN:
        task.round_reward = task.pool_left // task.rounds
    else:
        task.topped_up = True


def on_pool_returned(fold: Fold, event: DecodedEvent) -> None:
    fold.task(event).pool_returned += event.args["amount"]


def on_stake_returned(fold: Fold, event: DecodedEvent) -> None:
    fold.participant(event).stake_returned += event.args["amount"]


def on_reward_claimed(fold: Fold, event: DecodedEvent) -> None:
    participant = fold.participant(event)
    participant.claimed = event.args["cumulativeAmount"]
    fold.add_claim(participant, event)


def on_transfer(fold: Fold, event: DecodedEvent) -> None:
    fold.add_transfer(
        event,
        sender=event.args["from"],
        recipient=event.args["to"],
        amount=event.args["value"],
    )


HANDLERS: dict[tuple[str, str], Handler] = {
    ("FLCoordinator", "TaskCreated"): on_task_created,
    ("FLCoordinator", "ParticipantJoined"): on_participant_joined,
    ("FLCoordinator", "ParticipantLeft"): on_participant_left,
    ("FLCoordinator", "ParticipantSlashed"): on_participant_slashed,
    ("FLCoordinator", "TaskStarted"): on_task_started,
    ("FLCoordinator", "RoundOpened"): on_round_opened,
    ("FLCoordinator", "UpdateSubmitted"): on_update_submitted,
    ("FLCoordinator", "UpdatesRelayed"): on_updates_relayed,
    ("FLCoordinator", "ScoringOpened"): on_scoring_opened,
    ("FLCoordinator", "ScoresSubmitted"): on_scores_submitted,
    ("FLCoordinator", "AggregatingOpened"): on_aggregating_opened,
    ("FLCoordinator", "RoundFinalized"): on_round_finalized,
    ("FLCoordinator", "TaskCompleted"): on_task_completed,
    ("FLCoordinator", "TaskStopping"): on_task_stopping,
    ("FLCoordinator", "TaskCancelled"): on_task_cancelled,
    ("FLCoordinator", "PoolToppedUp"): on_pool_topped_up,
    ("FLCoordinator", "PoolReturned"): on_pool_returned,
    ("FLCoordinator", "StakeReturned"): on_stake_returned,
    ("FLCoordinator", "RewardClaimed"): on_reward_claimed,
    ("FLToken", "Transfer"): on_transfer,
}

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


def unpack_relayed(packed: str) -> list[tuple[int, str, int]]:
    """(member index, update hash, samples) of each update in an `UpdatesRelayed` event.

    38 bytes each, big-endian: uint16, bytes32, uint32 (see IFLCoordinatorTypes).
    """
    data = bytes.fromhex(packed[2:])
    entries = (data[i : i + 38] for i in range(0, len(data), 38))
    return [
        (int.from_bytes(e[:2], "big"), "0x" + e[2:34].hex(), int.from_bytes(e[34:], "big"))
        for e in entries
    ]


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


def rebuild(network: Network, *, chunk: int = 5_000) -> int:
    """Throw the projection of a network away and fold it again from the stored logs.

    One transaction: readers see the old rows until the new ones are complete. Returns the
    number of events folded. Tasks of contracts that were replaced since are closed: their ids
    mean other tasks in the new coordinator.
    """
    folded = 0
    current = _current_addresses(network)
    with transaction.atomic():
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
        projection, batch = TaskProjection(), []
        for log in logs.iterator(chunk_size=chunk):
            batch.append(log.decoded())
            if len(batch) == chunk:
                projection.apply(network, batch)
                folded += len(batch)
                batch = []
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
