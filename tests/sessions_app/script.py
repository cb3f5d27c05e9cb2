"""A chain written by hand: events as sync would store them, for tests of the projection."""

from __future__ import annotations

from typing import Any

from chain.events import DecodedEvent
from chain.models import Block, Log, Network, Transaction
from sessions_app.rewards import reward_root, round_rewards

A, B, C = ("0x" + digit * 40 for digit in "123")
OPERATOR = "0x" + "9" * 40
EVALUATOR = "0x" + "8" * 40
CONTRACT = "0x" + "7" * 40


def word(number: int) -> str:
    return "0x" + number.to_bytes(32, "big").hex()


class Script:
    """Appends one block per event; `events` are what the projection is given."""

    def __init__(self, network: Network | None = None, *, fork: int = 0) -> None:
        self.network = network or Network.objects.create(name="test", chain_id=31337)
        self.fork = fork
        self.events: list[DecodedEvent] = []
        self.next = 1

    def emit(self, name: str, *, contract: str = "FLCoordinator", **args: Any) -> DecodedEvent:
        number, self.next = self.next, self.next + 1
        block = Block.objects.create(
            network=self.network,
            number=number,
            hash=word(number + 1_000_000 * self.fork),
            parent_hash=word(number - 1),
            timestamp=1_000 + number,
            gas_used=50_000,
            gas_limit=30_000_000,
        )
        sent = Transaction.objects.create(
            network=self.network,
            block=block,
            block_number=number,
            index=0,
            hash=word(10_000 + number + 1_000_000 * self.fork),
            from_address=OPERATOR,
            to_address=CONTRACT,
            nonce=number,
            succeeded=True,
            gas_limit=60_000,
            gas_used=50_000,
            effective_gas_price=10**9,
            contract=contract,
            function="submitUpdate" if name == "UpdateSubmitted" else "other",
        )
        log = Log.objects.create(
            network=self.network,
            block=block,
            transaction=sent,
            block_number=number,
            log_index=0,
            address=CONTRACT,
            contract=contract,
            event=name,
            args=args,
            task_id=args.get("taskId"),
        )
        event = log.decoded()
        self.events.append(event)
        return event

    def transfer(self, sender: str, recipient: str, value: int) -> DecodedEvent:
        return self.emit(
            "Transfer", contract="FLToken", **{"from": sender, "to": recipient, "value": value}
        )

    def task(
        self,
        task_id: int = 1,
        *,
        config_hash: str = word(77),
        operator: str = OPERATOR,
        **changes: Any,
    ) -> None:
        params = {
            "configHash": config_hash,
            "modelHash": word(500),
            "pool": 1_000,
            "stake": 10,
            "rounds": 2,
            "minParticipants": 2,
            "maxParticipants": 3,
            "quorum": 1,
            "rewardMode": 2,
            "joinSeconds": 60,
            "updateSeconds": 60,
            "scoreSeconds": 60,
            "aggregateSeconds": 60,
            "evaluators": [EVALUATOR],
            **changes,
        }
        self.emit(
            "TaskCreated",
            taskId=task_id,
            operator=operator,
            configHash=config_hash,
            params=params,
        )

    def join(self, *addresses: str, task_id: int = 1) -> None:
        for index, address in enumerate(addresses):
            self.emit(
                "ParticipantJoined",
                taskId=task_id,
                participant=address,
                index=index,
                samplesCap=100,
                stake=10,
            )

    def open_round(self, number: int, *, task_id: int = 1) -> None:
        self.emit(
            "RoundOpened",
            taskId=task_id,
            round=number,
            modelHash=word(499 + number),
            updateDeadline=5_000,
        )

    def update(self, address: str, number: int, *, samples: int = 50, task_id: int = 1) -> None:
        self.emit(
            "UpdateSubmitted",
            taskId=task_id,
            participant=address,
            round=number,
            updateHash=word(int(address, 16) % 997 + number),
            samples=samples,
        )

    def score(self, number: int, scores: list[int], *, task_id: int = 1) -> None:
        packed = b"".join(score.to_bytes(4, "big") for score in scores)
        self.emit(
            "ScoringOpened",
            taskId=task_id,
            round=number,
            updates=len(scores),
            deadline=6_000,
        )
        self.emit(
            "ScoresSubmitted",
            taskId=task_id,
            round=number,
            evaluator=EVALUATOR,
            scores="0x" + packed.hex(),
        )
        self.emit("AggregatingOpened", taskId=task_id, round=number, deadline=7_000)

    def finalize(
        self,
        number: int,
        *,
        scores: dict[str, int],
        samples: dict[str, int],
        earned_before: dict[str, int],
        reward: int = 500,
        root: str | None = None,
        task_id: int = 1,
    ) -> dict[str, int]:
        """Returns what everyone has earned by then; `root` overrides the honest one."""
        lines = round_rewards(
            mode="score",
            reward=reward,
            addresses=list(scores),
            score_sheets=[list(scores.values())],
            samples=samples,
            earned_before=earned_before,
        )
        cumulative = {line.address: line.cumulative for line in lines}
        self.emit(
            "RoundFinalized",
            taskId=task_id,
            round=number,
            modelHash=word(500 + number),
            rewardRoot=root or reward_root(task_id, cumulative),
            accuracyPpm=900_000 + number,
            reward=reward,
        )
        return cumulative


def two_rounds(script: Script) -> None:
    """A whole task of two members: A scores 3 to B's 1, everyone is paid at the end."""
    script.transfer("0x" + "0" * 40, OPERATOR, 5_000)
    script.transfer(OPERATOR, CONTRACT, 1_000)
    script.task()
    script.join(A, B)
    script.emit("TaskStarted", taskId=1, participants=2)
    earned: dict[str, int] = {}
    for number in (1, 2):
        script.open_round(number)
        script.update(A, number)
        script.update(B, number)
        script.score(number, [3, 1])
        earned = script.finalize(
            number, scores={A: 3, B: 1}, samples={A: 50, B: 50}, earned_before=earned
        )
    script.emit("TaskCompleted", taskId=1, modelHash=word(502))
    script.emit(
        "RewardClaimed", taskId=1, participant=A, amount=earned[A], cumulativeAmount=earned[A]
    )
    script.transfer(CONTRACT, A, earned[A])
    script.emit("StakeReturned", taskId=1, participant=A, amount=10)
