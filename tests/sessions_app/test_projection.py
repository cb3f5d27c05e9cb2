"""The projection: any cut of the event stream, any reorg, and a rebuild give the same tables."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.events import DecodedEvent
from chain.models import Block, Log
from sessions_app.models import (
    Claim,
    Participant,
    Reward,
    Round,
    Task,
    TaskEvent,
    TokenBalance,
    TokenTransfer,
    Update,
    User,
)
from sessions_app.projection import handlers
from sessions_app.projection.fold import MissingHistory
from sessions_app.projection.tables import PARTS, TaskProjection, rebuild, rebuild_if_replaced
from sessions_app.rewards import NOBODY
from sessions_app.selectors.people.members import member_places
from tests.sessions_app.conftest import record_deployment
from tests.sessions_app.script import CONTRACT, OPERATOR, A, B, C, Script, two_rounds, word

pytestmark = pytest.mark.django_db


def tables() -> dict[str, list[Any]]:
    """Everything projected, without database ids."""
    return {
        "tasks": list(
            Task.objects.order_by("onchain_id").values_list(
                *sorted(set(Task.PROJECTED) - {"network"})
            )
        ),
        "rounds": list(
            Round.objects.order_by("task__onchain_id", "number").values_list(
                "number",
                "phase",
                "model_hash",
                "reward_root",
                "reward",
                "accuracy_ppm",
                "rewards_match",
                "finalized_block",
                "phase_deadline",
            )
        ),
        "members": list(
            Participant.objects.order_by("task__onchain_id", "index").values_list(
                "address", "index", "status", "earned", "claimed", "stake_returned"
            )
        ),
        "updates": list(
            Update.objects.order_by("block_number").values_list(
                "participant__address", "round__number", "update_hash", "samples"
            )
        ),
        "rewards": list(
            Reward.objects.order_by("round__number", "participant__index").values_list(
                "participant__address", "score", "amount", "cumulative"
            )
        ),
        "claims": list(Claim.objects.order_by("block_number").values_list("amount", "cumulative")),
        "events": list(
            TaskEvent.objects.order_by("block_number").values_list("name", "round_number", "actor")
        ),
        "balances": list(
            TokenBalance.objects.order_by("address").values_list(
                "address", "balance", "block_number"
            )
        ),
        "transfers": TokenTransfer.objects.count(),
    }


def replay_of(script: Script):  # type: ignore[no-untyped-def]
    def replay(task_ids: Collection[int]) -> Iterable[DecodedEvent]:
        logs = Log.objects.filter(network=script.network, task_id__in=task_ids)
        logs = logs.select_related("block", "transaction").order_by("block_number", "log_index")
        return [log.decoded() for log in logs]

    return replay


def test_a_whole_task_ends_in_the_tables() -> None:
    script = Script()
    two_rounds(script)
    TaskProjection().apply(script.network, script.events)

    task = Task.objects.get()
    assert (task.phase, task.current_round, task.pool_allocated) == ("completed", 2, 1_000)
    assert task.model_hash == word(502)
    first, second = task.round_set.all()
    assert (first.phase, first.accuracy_ppm, first.rewards_match) == ("finalized", 900_001, True)
    assert second.rewards_match is True
    earned = {m.address: (m.earned, m.claimed, m.stake_returned) for m in task.members.all()}
    assert earned == {A: (750, 750, 10), B: (250, 0, 0)}
    assert {b.address: b.balance for b in TokenBalance.objects.all()} == {
        OPERATOR: 4_000,
        CONTRACT: 250,
        A: 750,
    }


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.sets(st.integers(min_value=1, max_value=24), max_size=8))
def test_batches_of_any_size_fold_to_the_same_tables(
    cuts: set[int], django_db_blocker: Any
) -> None:
    from django.db import transaction

    with transaction.atomic():
        script = Script()
        two_rounds(script)
        TaskProjection().apply(script.network, script.events)
        whole = tables()
        rebuild(script.network)
        assert tables() == whole
        Task.objects.all().delete()
        TokenTransfer.objects.all().delete()
        TokenBalance.objects.all().delete()
        edges = [0, *sorted(cuts), len(script.events)]
        for start, end in itertools.pairwise(edges):
            TaskProjection().apply(script.network, script.events[start:end])
        assert tables() == whole
        transaction.set_rollback(True)


@pytest.mark.parametrize("depth", [1, 2, 5, 9, 14, 20])
def test_a_reorg_leaves_what_a_clean_replay_gives(depth: int) -> None:
    script = Script()
    two_rounds(script)
    projection = TaskProjection()
    projection.apply(script.network, script.events)

    keep = len(script.events) - depth
    orphaned = script.events[keep:]
    Block.objects.filter(network=script.network, number__gt=keep).delete()
    projection.revert(script.network, orphaned, replay_of(script))
    reverted = tables()

    rebuild(script.network)
    assert tables() == reverted

    # The chain goes on another way: B is updated first this time.
    script.fork, script.next, script.events = 1, keep + 1, []
    script.transfer(OPERATOR, B, 7)
    projection.apply(script.network, script.events)
    after = tables()
    rebuild(script.network)
    assert tables() == after
    assert TokenBalance.objects.get(address=B).balance == 7


def test_a_root_that_does_not_fit_the_scores_credits_nobody() -> None:
    script = Script()
    script.task()
    script.join(A, B)
    script.open_round(1)
    script.update(A, 1)
    script.update(B, 1)
    script.score(1, [3, 1])
    script.finalize(
        1, scores={A: 3, B: 1}, samples={A: 50, B: 50}, earned_before={}, root=word(666)
    )
    TaskProjection().apply(script.network, script.events)
    assert Round.objects.get().rewards_match is False
    assert not Reward.objects.exists()
    assert all(member.earned == 0 for member in Participant.objects.all())


def test_our_own_draft_is_the_task_that_appears_on_chain() -> None:
    owner = User.objects.create_user("mara", role=User.Role.OPERATOR)
    draft = Task.objects.create(
        title="Mine",
        owner=owner,
        config={"any": 1},
        config_hash=word(77),
        stage=Task.Stage.FUNDING,
        rounds=2,
    )
    script = Script()
    script.task(7, config_hash=word(77))
    script.task(8, config_hash=word(78))
    TaskProjection().apply(script.network, script.events)
    draft.refresh_from_db()
    assert (draft.onchain_id, draft.stage, draft.phase) == (7, "placed", "open")
    assert (draft.title, draft.owner) == ("Mine", owner)
    assert Task.objects.get(onchain_id=8).owner is None


def test_a_configuration_placed_twice_is_two_tasks() -> None:
    script = Script()
    script.task(1)
    script.task(2)
    TaskProjection().apply(script.network, script.events)
    assert list(Task.objects.order_by("onchain_id").values_list("onchain_id", flat=True)) == [1, 2]


def test_leaving_an_open_task_frees_the_index() -> None:
    script = Script()
    script.task()
    script.join(A, B)
    script.emit("ParticipantLeft", taskId=1, participant=A, stakeReturned=10)
    script.emit("ParticipantJoined", taskId=1, participant=C, index=0, samplesCap=5, stake=10)
    TaskProjection().apply(script.network, script.events[:3])
    TaskProjection().apply(script.network, script.events[3:])
    assert list(Participant.objects.values_list("index", "address")) == [(0, C), (1, B)]


def test_an_index_that_nobody_took_again_has_its_place_in_the_score_sheets() -> None:
    """B and D leave the open task: 1 stays free, 3 was the last one handed out."""
    d = "0x" + "4" * 40
    script = Script()
    script.task()
    script.join(A, B, C, d)
    for gone in (B, d):
        script.emit("ParticipantLeft", taskId=1, participant=gone, stakeReturned=10)
    script.emit("TaskStarted", taskId=1, participants=2)
    script.open_round(1)
    script.update(A, 1)
    script.update(C, 1)
    script.score(1, [3, 0, 1, 0])
    script.finalize(1, scores={A: 3, C: 1}, samples={A: 50, C: 50}, earned_before={})
    TaskProjection().apply(script.network, script.events)
    assert Round.objects.get().rewards_match
    earned = dict(Reward.objects.values_list("participant__address", "amount"))
    assert earned == {A: 375, C: 125}
    assert member_places(Task.objects.get()) == [A, NOBODY, C, NOBODY]


def test_relayed_updates_are_updates_of_their_signers() -> None:
    script = Script()
    script.task()
    script.join(A, B)
    script.open_round(1)
    packed = b"".join(
        index.to_bytes(2, "big") + bytes([index + 1]) * 32 + (40 + index).to_bytes(4, "big")
        for index in (1, 0)
    )
    script.emit("UpdatesRelayed", taskId=1, round=1, updates="0x" + packed.hex())
    TaskProjection().apply(script.network, script.events)
    stored = {u.participant.address: (u.update_hash, u.samples) for u in Update.objects.all()}
    assert stored == {A: ("0x" + "01" * 32, 40), B: ("0x" + "02" * 32, 41)}


def test_events_without_their_history_are_refused_by_name() -> None:
    script = Script()
    script.open_round(3)
    with pytest.raises(MissingHistory, match="task 1, whose TaskCreated is not stored"):
        TaskProjection().apply(script.network, script.events)


def test_every_handler_belongs_to_an_event_of_the_build() -> None:
    from chain.artifacts import load

    events = {
        (name, item["name"])
        for name in ("FLCoordinator", "FLToken")
        for item in load(name).abi
        if item["type"] == "event"
    }
    assert handlers.HANDLERS.keys() <= events
    assert {name for _, name in events} >= PARTS.keys()
    assert {name for _, name in events} >= handlers.ACTOR.keys()


def test_contracts_deployed_anew_close_the_tasks_of_the_former_ones() -> None:
    Task.objects.create(title="Mine", config={"any": 1}, config_hash=word(77), rounds=2)
    script = Script()
    two_rounds(script)
    TaskProjection().apply(script.network, script.events)
    assert not rebuild_if_replaced(script.network)

    record_deployment("0x" + "6" * 40)
    assert rebuild_if_replaced(script.network)
    task = Task.objects.get()
    assert (task.onchain_id, task.stage) == (None, "failed")
    assert "deployed anew" in task.failure
    assert not TokenBalance.objects.exists()
    assert not rebuild_if_replaced(script.network)


def test_a_task_that_is_stopping_says_so() -> None:
    script = Script()
    script.task()
    script.join(A, B)
    script.open_round(1)
    script.emit("TaskStopping", taskId=1, lastRound=1)
    TaskProjection().apply(script.network, script.events)
    assert Task.objects.get().stopping is True
