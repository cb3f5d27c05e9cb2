"""What each event means: one table from event names to handlers.

Each handler is a fold over (state, event): it reads and changes the rows that `Fold` keeps in
memory, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

from chain.events import DecodedEvent
from chain.typed import unpack_updates
from sessions_app.models import Participant, Round, Task
from sessions_app.projection.fold import Fold
from sessions_app.rewards import by_index, reward_root, round_rewards

Handler = Callable[[Fold, DecodedEvent], None]
REWARD_MODES = ("equal", "samples", "score")  # the contract's enum, in order

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
    operator = event.args["operator"]
    task = fold.task_created(event.args["taskId"], event.args["configHash"], operator)
    task.network = fold.network
    task.onchain_id = event.args["taskId"]
    task.phase = Task.Phase.OPEN
    task.operator_address = operator
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
    for index, update_hash, samples in unpack_updates(event.args["updates"]):
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
    sheets = fold.score_sheets_of(round_)
    places = ((member.index, member.address) for member in members)
    lines = round_rewards(
        mode=task.reward_mode,
        reward=round_.reward,
        addresses=by_index(places, max(map(len, sheets), default=0)),
        score_sheets=sheets,
        samples=fold.samples_of(round_),
        earned_before={member.address: member.earned for member in members},
    )
    cumulative = {line.address: line.cumulative for line in lines}
    round_.rewards_match = reward_root(event.args["taskId"], cumulative) == round_.reward_root
    if round_.rewards_match:
        # Only what the chain vouches for is shown as earned.
        of_address = {line.address: line for line in lines}
        for member in members:
            line = of_address[member.address]
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
