"""Rows for tests of pages: people, accounts, and a task told event by event.

A ``TaskStory`` writes blocks, transactions and logs as sync would and lets the real projection
fold them, so what a page shows is what it would show after the same events on a chain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.conf import settings
from django.utils import timezone
from eth_utils.address import to_checksum_address

from chain.events import DecodedEvent
from chain.models import (
    Account,
    Block,
    Log,
    Network,
    OutgoingTransaction,
    SyncCursor,
    SyncState,
    Transaction,
)
from sessions_app.models import RoundRun, Seat, Task, TrainingRun, User
from sessions_app.projection.tables import TaskProjection
from sessions_app.rewards import reward_root, round_rewards
from training.blobs import BlobStore
from training.canonical import keccak_hex
from training.specs import TaskConfig
from training.weights import encode

FLT = 10**18
GWEI = 10**9
SECONDS_A_BLOCK = 2
NAMES = ("Eastfield", "Harbour", "Southbank", "Northgate", "Riverside", "Westmere", "Hillcrest")
GAS = {
    "transfer": 51_700,
    "approve": 46_364,
    "createTask": 221_842,
    "join": 79_624,
    "start": 58_912,
    "submitUpdate": 32_645,
    "submitScores": 46_269,
    "submitAggregate": 83_905,
    "claim": 57_343,
    "cancel": 61_020,
}
COORDINATOR = to_checksum_address("0x" + "c0" * 20)
TOKEN = to_checksum_address("0x" + "70" * 20)
ZERO = "0x" + "0" * 40


def hash_of(*parts: Any) -> str:
    """A hash that depends on its arguments alone."""
    return keccak_hex(":".join(map(str, parts)).encode())


def address_of(name: str) -> str:
    return to_checksum_address("0x" + hash_of("address", name)[-40:])


def network() -> Network:
    chain_id = settings.NETWORKS[settings.CHAIN_NETWORK]["chain_id"]
    found, _ = Network.objects.get_or_create(
        chain_id=chain_id, defaults={"name": settings.CHAIN_NETWORK}
    )
    return found


def account(label: str, kind: str = "participant") -> Account:
    """An account whose keystore opens nothing: pages never sign."""
    found, _ = Account.objects.get_or_create(
        address=address_of(label), defaults={"label": label, "kind": kind, "keystore": {}}
    )
    return found


def user(
    role: str = "operator", *, name: str = "", password: str = "pass-word-1", **extra: Any
) -> User:
    names = {"operator": "Mara", "participant": "Eastfield", "admin": "Ada"}
    label = name or names[role]
    kind = "operator" if role == "operator" else "participant"
    return User.objects.create_user(
        username=label.lower(),
        password=password,
        first_name=label,
        role=role,
        account=None if role == "admin" else account(label, kind),
        is_staff=role == "admin",
        **extra,
    )


def draft(owner: User, title: str = "Retina screening, five clinics", **changes: Any) -> Task:
    """A task nobody has started, with the configuration's real hash."""
    config = TaskConfig(
        participants=changes.pop("participants", 5), rounds=changes.pop("rounds", 20), seed=1
    )
    task = Task(
        owner=owner,
        title=title,
        operator_account=owner.account,
        pool=changes.pop("pool", 1_000 * FLT),
        stake=changes.pop("stake", 10 * FLT),
        rounds=config.rounds,
        min_participants=config.participants,
        max_participants=config.participants,
        hosted_places=changes.pop("hosted_places", config.participants),
        reward_mode=config.reward_mode,
        **changes,
    )
    config = replace(config, salt=task.uuid.hex)
    task.config, task.config_hash = config.to_dict(), config.hash()
    task.save()
    return task


class TaskStory:
    """Tells a task's life on chain. Each method appends blocks; time moves with them."""

    def __init__(self, task: Task, *, seconds_ago: float = 0) -> None:
        self.task = task
        self.network = network()
        self.time = int(timezone.now().timestamp() - seconds_ago)
        last = Block.objects.filter(network=self.network).order_by("-number").first()
        self.number = last.number if last else 18_000
        self.parent = last.hash if last else hash_of("genesis")
        self.onchain_id = Task.objects.exclude(onchain_id=None).count() + 1
        self.operator = task.operator_account or account("Mara", "operator")
        self.evaluator = account("Evaluator 1", "evaluator")
        task.evaluator_accounts.add(self.evaluator)
        self.seats: list[Seat] = []
        self.earned: dict[str, int] = {}

    # --- the chain --------------------------------------------------------------------------

    def mine(
        self,
        sender: str,
        function: str,
        events: Sequence[tuple[str, str, dict[str, Any]]],
        *,
        to: str = COORDINATOR,
        reverted: str = "",
    ) -> Transaction:
        """One block with one transaction; ``events``: (contract, name, args)."""
        self.number += 1
        self.time += SECONDS_A_BLOCK
        gas = GAS.get(function, 50_000) + self.number % 97
        block = Block.objects.create(
            network=self.network,
            number=self.number,
            hash=hash_of("block", self.number),
            parent_hash=self.parent,
            timestamp=self.time,
            gas_used=gas,
            gas_limit=30_000_000,
            base_fee=GWEI,
            transaction_count=1,
        )
        self.parent = block.hash
        sent = Transaction.objects.create(
            network=self.network,
            block=block,
            block_number=block.number,
            index=0,
            hash=hash_of("tx", self.number),
            from_address=sender,
            to_address=to,
            nonce=self.number,
            contract="FLToken" if to == TOKEN else "FLCoordinator",
            function=function,
            succeeded=not reverted,
            error_name="WrongPhase" if reverted else "",
            error=reverted,
            gas_limit=gas + 10_000,
            gas_used=gas,
            effective_gas_price=12 * GWEI,
        )
        decoded: list[DecodedEvent] = []
        for index, (contract, name, args) in enumerate(events):
            log = Log.objects.create(
                network=self.network,
                block=block,
                transaction=sent,
                block_number=block.number,
                log_index=index,
                address=TOKEN if contract == "FLToken" else COORDINATOR,
                contract=contract,
                event=name,
                args=args,
                task_id=args.get("taskId"),
            )
            decoded.append(log.decoded())
        TaskProjection().apply(self.network, decoded)
        SyncCursor.objects.update_or_create(
            network=self.network,
            defaults={
                "block_number": self.number,
                "head_number": self.number,
                "state": SyncState.LIVE,
            },
        )
        return sent

    def _transfer(
        self, sender: str, recipient: str, amount: int
    ) -> tuple[str, str, dict[str, Any]]:
        return "FLToken", "Transfer", {"from": sender, "to": recipient, "value": amount}

    def _event(self, name: str, **args: Any) -> tuple[str, str, dict[str, Any]]:
        return "FLCoordinator", name, {"taskId": self.onchain_id, **args}

    # --- the task ---------------------------------------------------------------------------

    def fund(self) -> TaskStory:
        task = self.task
        mint = [self._transfer(ZERO, self.operator.address, 1_000_000 * FLT)]
        self.mine(self.operator.address, "transfer", mint, to=TOKEN)
        Task.objects.filter(pk=task.pk).update(
            stage=Task.Stage.FUNDING,
            initial_model_hash=hash_of("model", 0),
            launched_at=datetime.fromtimestamp(self.time, tz=UTC),
        )
        params = {
            "configHash": task.config_hash,
            "modelHash": hash_of("model", 0),
            "pool": task.pool,
            "stake": task.stake,
            "rounds": task.rounds,
            "minParticipants": task.min_participants,
            "maxParticipants": task.max_participants,
            "quorum": 1,
            "rewardMode": 2,
            "joinSeconds": 3600,
            "updateSeconds": 600,
            "scoreSeconds": 600,
            "aggregateSeconds": 600,
            "evaluators": [self.evaluator.address],
        }
        self.mine(
            self.operator.address,
            "createTask",
            [
                self._transfer(self.operator.address, COORDINATOR, task.pool),
                self._event(
                    "TaskCreated",
                    operator=self.operator.address,
                    configHash=task.config_hash,
                    params=params,
                ),
            ],
        )
        self.task.refresh_from_db()
        return self

    def seat(self, number: int | None = None) -> TaskStory:
        """Seats for hosted participants, not on chain yet."""
        for slot in range(number or self.task.max_participants):
            name = NAMES[slot % len(NAMES)] + (f" {slot // len(NAMES) + 1}" * (slot >= len(NAMES)))
            seat = Seat.objects.create(
                task=self.task, slot=slot, account=account(name), samples=200 + 210 * slot % 1400
            )
            self.seats.append(seat)
        return self

    def join(self, number: int | None = None) -> TaskStory:
        if not self.seats:
            self.seat()
        for seat in self.seats[:number]:
            address = seat.account.address
            grant = [self._transfer(ZERO, address, 100 * FLT)]
            self.mine(self.operator.address, "transfer", grant, to=TOKEN)
            joined = self._event(
                "ParticipantJoined",
                participant=address,
                index=seat.slot,
                samplesCap=seat.samples,
                stake=self.task.stake,
            )
            stake = self._transfer(address, COORDINATOR, self.task.stake)
            self.mine(address, "join", [stake, joined])
            self.earned[address] = 0
        return self

    def start(self) -> TaskStory:
        started = self._event("TaskStarted", participants=len(self.earned))
        self.mine(self.operator.address, "start", [started, self._opened(1)])
        self._open_run(1)
        self.task.refresh_from_db()
        return self

    def _opened(self, number: int) -> tuple[str, str, dict[str, Any]]:
        return self._event(
            "RoundOpened",
            round=number,
            modelHash=hash_of("model", number - 1),
            updateDeadline=self.time + 600,
        )

    def _open_run(self, number: int) -> RoundRun:
        opened = datetime.fromtimestamp(self.time, tz=UTC)
        return RoundRun.objects.create(task=self.task, number=number, opened_at=opened)

    def train(self, number: int, slot: int, *, share: float, status: str = "training") -> None:
        """Local training under way (or failed) in a round."""
        TrainingRun.objects.update_or_create(
            seat=self.seats[slot],
            round_number=number,
            defaults={
                "status": status,
                "done": round(share * 1000),
                "total": 1000,
                "samples_per_second": 412.0,
                "started_at": timezone.now(),
                "accuracy": 0.88 + 0.01 * slot,
                "loss": 0.4,
            },
        )

    def update(self, number: int, slot: int) -> None:
        seat = self.seats[slot]
        self.train(number, slot, share=1.0, status="trained")
        submitted = self._event(
            "UpdateSubmitted",
            participant=seat.account.address,
            round=number,
            updateHash=hash_of("update", number, slot),
            samples=seat.samples,
        )
        self.mine(seat.account.address, "submitUpdate", [submitted])

    def finish_round(self, number: int, *, accuracy: float | None = None) -> None:
        """Every seat's update, the scores, the aggregate; opens the next round if one follows."""
        members = list(self.task.members.order_by("index"))
        done = set(
            self.task.round_set.get(number=number).updates.values_list(
                "participant__index", flat=True
            )
        )
        for seat in self.seats:
            if seat.slot not in done:
                self.update(number, seat.slot)
        if accuracy is None:
            accuracy = 0.94 - 0.36 * math.exp(-number / 2.2)
        scores = [round(1e6 * (accuracy - 0.07 * slot)) for slot in range(len(members))]
        packed = b"".join(score.to_bytes(4, "big") for score in scores)
        evaluator = self.evaluator.address
        self.mine(
            evaluator,
            "submitScores",
            [
                self._event(
                    "ScoringOpened", round=number, updates=len(members), deadline=self.time
                ),
                self._event(
                    "ScoresSubmitted", round=number, evaluator=evaluator, scores="0x" + packed.hex()
                ),
                self._event("AggregatingOpened", round=number, deadline=self.time + 600),
            ],
        )
        rounds, pool = self.task.rounds, self.task.pool
        last = number == rounds
        reward = pool - pool // rounds * (rounds - 1) if last else pool // rounds
        addresses = [member.address for member in members]
        lines = round_rewards(
            mode="score",
            reward=reward,
            addresses=addresses,
            score_sheets=[scores],
            samples={seat.account.address: seat.samples or 0 for seat in self.seats},
            earned_before=self.earned,
        )
        self.earned = {line.address: line.cumulative for line in lines}
        result = {
            "round": number,
            "modelHash": hash_of("model", number),
            "rewardRoot": reward_root(self.onchain_id, self.earned),
            "accuracyPpm": round(accuracy * 1e6),
        }
        events = [
            self._event("AggregateSubmitted", evaluator=evaluator, **result),
            self._event("RoundFinalized", reward=reward, **result),
        ]
        if last:
            events.append(self._event("TaskCompleted", modelHash=hash_of("model", number)))
        else:
            events.append(self._opened(number + 1))
        self.mine(evaluator, "submitAggregate", events)
        self._close_run(number, accuracy, lines)
        if not last:
            self._open_run(number + 1)
        self.task.refresh_from_db()

    def _close_run(self, number: int, accuracy: float, lines: Sequence[Any]) -> None:
        opened = RoundRun.objects.get(task=self.task, number=number).opened_at
        RoundRun.objects.filter(task=self.task, number=number).update(
            status=RoundRun.Status.FINALIZED,
            trained_at=opened + timedelta(seconds=11.2 + number % 3 * 0.4),
            updates_seen_at=opened + timedelta(seconds=11.4),
            aggregated_at=opened + timedelta(seconds=13),
            finalized_at=opened + timedelta(seconds=13.2 + number % 3 * 0.4),
            accuracy=accuracy,
            loss=1.4 * math.exp(-number / 3) + 0.25,
            model_hash=hash_of("model", number),
            seconds_score=1.1,
            seconds_aggregate=0.42,
            result={
                "rejected": [],
                "epsilon": None,
                "evidence": "",
                "update_metrics": {
                    line.address: {"accuracy": line.score / 1e6, "loss": 0.4, "norm": 1.0}
                    for line in lines
                },
            },
        )

    def claim(self, slot: int) -> None:
        address = self.seats[slot].account.address
        member = self.task.members.get(address=address)
        paid = member.earned - member.claimed
        claimed = self._event(
            "RewardClaimed",
            participant=address,
            amount=paid,
            cumulativeAmount=member.earned,
        )
        self.mine(address, "claim", [self._transfer(COORDINATOR, address, paid), claimed])

    def refuse(self, function: str = "join", *, slot: int = 0, error: str = "") -> None:
        """A transaction of this task that the contract refused before it was sent."""
        OutgoingTransaction.objects.create(
            network=self.network,
            account=self.seats[slot].account,
            contract="FLCoordinator",
            function=function,
            idempotency_key=f"task:{self.task.pk}:{function}:{slot}",
            reference=self.task.reference,
            status="failed",
            error_name="StakeMissing",
            error=error or "The stake of 10 FLT is not covered: the allowance is 0 FLT.",
        )


def running_task(
    owner: User, *, rounds: int = 6, participants: int = 5, **changes: Any
) -> TaskStory:
    """Some finished rounds, the next half way: two submitted, one training, one queued, one
    not begun."""
    task = draft(owner, participants=participants, **changes)
    blocks = 5 + 2 * participants + rounds * (participants + 2) + 4
    story = TaskStory(task, seconds_ago=blocks * SECONDS_A_BLOCK).fund().seat().join().start()
    for number in range(1, rounds + 1):
        story.finish_round(number)
    now = rounds + 1
    story.claim(min(2, participants - 1))
    for slot in range(min(2, participants)):
        story.update(now, slot)
    if participants > 3:
        story.train(now, 2, share=0.72)
        story.train(now, 3, share=0.0, status="queued")
    return story


def finished_task(
    owner: User, *, rounds: int = 3, participants: int = 3, **changes: Any
) -> TaskStory:
    task = draft(owner, participants=participants, rounds=rounds, **changes)
    story = TaskStory(task, seconds_ago=600).fund().seat().join().start()
    for number in range(1, rounds + 1):
        story.finish_round(number)
    return story


def model_bytes(number: float) -> bytes:
    """Weights of the default model (digits, MLP), all of them `number`."""
    shapes = {
        "hidden_1/kernel": (64, 64),
        "hidden_1/bias": (64,),
        "logits/kernel": (64, 10),
        "logits/bias": (10,),
    }
    return encode({name: np.full(shape, number, np.float32) for name, shape in shapes.items()})


def store_models(task: Task, store: BlobStore) -> list[str]:
    """Bytes for every version of a story's task, and rows that name them; their hashes."""
    rounds = list(task.round_set.filter(phase="finalized").order_by("number"))
    refs = [store.put(model_bytes(number)) for number in range(len(rounds) + 1)]
    for found in rounds:
        found.base_model_hash, found.model_hash = refs[found.number - 1 : found.number + 1]
        found.save()
        events = task.events.filter(name="AggregateSubmitted", round_number=found.number)
        for event in events.select_related("log"):
            event.log.args = {**event.log.args, "modelHash": found.model_hash}
            event.log.save()
    Task.objects.filter(pk=task.pk).update(model_hash=refs[-1])
    task.refresh_from_db()
    return refs
