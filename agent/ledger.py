"""A task folded from its events: members, updates, scores, and what everybody has earned. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.contract import REWARD_MODES
from chain.events import DecodedEvent
from chain.merkle import reward_root
from chain.typed import unpack_updates
from training.payout import RewardLine, round_rewards

NOBODY = "0x" + "0" * 40  # an index whose member left before the start


@dataclass
class Submitted:
    participant: str
    index: int
    update_hash: str
    samples: int


@dataclass
class RoundFacts:
    """`sheets`: evaluator -> one score per member index, in the order of the chain."""

    number: int
    base_model_hash: str
    members: tuple[str, ...]
    updates: dict[str, Submitted] = field(default_factory=dict)
    sheets: dict[str, list[int]] = field(default_factory=dict)
    voted: set[str] = field(default_factory=set)
    model_hash: str = ""
    reward_root: str = ""
    accuracy_ppm: int = 0
    reward: int = 0
    finalized: bool = False
    rewards_match: bool | None = None
    earned: dict[str, int] = field(default_factory=dict)  # in this round, wei


class Ledger:
    """`earned`: wei by address over all rounds whose reward root is what the scores give."""

    def __init__(self, task_id: int, events: Sequence[DecodedEvent]) -> None:
        self.task_id = task_id
        self.reward_mode = ""
        self.rounds: dict[int, RoundFacts] = {}
        self.earned: dict[str, int] = {}
        self._members: dict[int, str] = {}
        self._running = False
        for event in events:
            self._apply(event)

    @property
    def members(self) -> tuple[str, ...]:
        """By member index."""
        most = max(self._members, default=-1)
        return tuple(self._members.get(index, NOBODY) for index in range(most + 1))

    def lines(self, facts: RoundFacts, reward: int) -> dict[str, int]:
        """Cumulative wei by address if the round were finalised with the scores there are."""
        found = self._split(facts, reward)
        return {line.address: line.cumulative for line in found if line.address != NOBODY}

    def _split(self, facts: RoundFacts, reward: int) -> list[RewardLine]:
        return round_rewards(
            mode=self.reward_mode,
            reward=reward,
            addresses=facts.members,
            score_sheets=[facts.sheets[evaluator] for evaluator in sorted(facts.sheets)],
            samples={update.participant: update.samples for update in facts.updates.values()},
            earned_before=self.earned,
        )

    def _apply(self, event: DecodedEvent) -> None:
        args = event.args
        number = args.get("round", 0)
        if event.name == "TaskCreated":
            self.reward_mode = REWARD_MODES[args["params"]["rewardMode"]]
        elif event.name == "ParticipantJoined":
            self._members[args["index"]] = args["participant"]
        elif event.name == "ParticipantLeft" and not self._running:
            # The contract hands the index to the next one who joins.
            self._members = {i: a for i, a in self._members.items() if a != args["participant"]}
        elif event.name == "TaskStarted":
            self._running = True
        elif event.name == "RoundOpened":
            self.rounds[number] = RoundFacts(number, args["modelHash"], self.members)
        elif event.name == "UpdateSubmitted":
            index = self._index(args["participant"])
            self._submit(number, index, args["updateHash"], args["samples"])
        elif event.name == "UpdatesRelayed":
            for index, update_hash, samples in unpack_updates(args["updates"]):
                self._submit(number, index, update_hash, samples)
        elif event.name == "ScoresSubmitted":
            packed = bytes.fromhex(args["scores"][2:])
            self.rounds[number].sheets[args["evaluator"]] = [
                int.from_bytes(packed[at : at + 4], "big") for at in range(0, len(packed), 4)
            ]
        elif event.name == "AggregateSubmitted":
            self.rounds[number].voted.add(args["evaluator"])
        elif event.name == "RoundFinalized":
            self._finalize(event)

    def _submit(self, number: int, index: int, update_hash: str, samples: int) -> None:
        address = self._members[index]
        self.rounds[number].updates[address] = Submitted(address, index, update_hash, samples)

    def _finalize(self, event: DecodedEvent) -> None:
        facts = self.rounds[event.args["round"]]
        facts.model_hash = event.args["modelHash"]
        facts.reward_root = event.args["rewardRoot"]
        facts.accuracy_ppm = event.args["accuracyPpm"]
        facts.reward = event.args["reward"]
        facts.finalized = True
        found = self._split(facts, facts.reward)
        cumulative = {line.address: line.cumulative for line in found if line.address != NOBODY}
        facts.rewards_match = reward_root(self.task_id, cumulative) == facts.reward_root
        if facts.rewards_match:  # only what the chain vouches for is earned
            self.earned = cumulative
            facts.earned = {line.address: line.amount for line in found}

    def _index(self, address: str) -> int:
        return next(i for i, member in self._members.items() if member == address)
