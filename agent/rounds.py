"""A round computed again from its updates: an evaluator votes for it, anyone verifies by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.console import Console
from agent.errors import ConsoleLies
from agent.home import Home
from agent.ledger import Ledger, RoundFacts
from chain.merkle import reward_root
from training.jobs import AggregateJob, AggregateResult, UpdateRef
from training.round import aggregate_round
from training.scoring import pack_scores
from training.specs import TaskConfig

NO_CONTENT = "0x" + "0" * 64
Say = Callable[[str], None]


@dataclass(frozen=True)
class Verdict:
    """`model` and `rewards`: whether the chain's are what the updates and scores give."""

    number: int
    model: bool
    rewards: bool
    computed: str
    on_chain: str
    rejected: tuple[tuple[str, str], ...]

    @property
    def holds(self) -> bool:
        return self.model and self.rewards


class Recomputer:
    """Aggregates rounds of one task as every honest evaluator does."""

    def __init__(self, console: Console, home: Home, config: TaskConfig, task_id: int) -> None:
        self._console = console
        self._home = home
        self._config = config
        self._task_id = task_id

    def result(self, ledger: Ledger, number: int) -> AggregateResult:
        """What the updates of a closed round give. Raises ApiProblem while they are sealed."""
        from training import local  # TensorFlow, about 10 s the first time

        facts = ledger.rounds[number]
        contents = self._console.published(number)
        self._fetch_model(facts.base_model_hash)
        updates = []
        for address in sorted(facts.updates):
            submitted = facts.updates[address]
            content = contents.get(address, "")
            if content:
                try:
                    self._console.fetch(content, self._home.blobs)
                except ConsoleLies as error:
                    raise ConsoleLies(
                        f"Round {number}, the update of {address}: {error}"
                    ) from error
            updates.append(
                UpdateRef(
                    participant=address,
                    content_hash=content or NO_CONTENT,
                    samples=submitted.samples,
                    index=submitted.index,
                    update_hash=submitted.update_hash,
                )
            )
        job = AggregateJob(
            config=self._config.to_dict(),
            task_id=self._task_id,
            round=number,
            model_ref=facts.base_model_hash,
            updates=updates,
            members=facts.members,
            state_ref=self._state_before(ledger, number),
        )
        found = aggregate_round(job, self._home.blobs, local.evaluate)
        self._home.note(number, state_ref=found.state_ref, computed=found.model_hash)
        return found

    def verify(self, ledger: Ledger, number: int) -> Verdict:
        """A finalised round against its updates (model) and its scores (rewards)."""
        facts = ledger.rounds[number]
        found = self.result(ledger, number)
        return Verdict(
            number=number,
            model=found.model_hash == facts.model_hash,
            rewards=bool(facts.rewards_match),
            computed=found.model_hash,
            on_chain=facts.model_hash,
            rejected=tuple((str(who), str(why)) for who, why in found.rejected),
        )

    def _fetch_model(self, ref: str) -> None:
        self._console.fetch(ref, self._home.blobs)
        schema = self._config.dataset.schema
        if schema is not None:
            self._console.fetch(schema.evaluation, self._home.blobs)

    def _state_before(self, ledger: Ledger, number: int) -> str:
        """What the server's optimiser remembers, computed here from round 1 on where needed."""
        params = self._config.algorithm.params
        if number == 1 or not {"server_rate", "adaptive_rate"} & params.keys():
            return ""
        known = self._home.round(number - 1).get("state_ref")
        if known and self._home.blobs.exists(known):
            return str(known)
        return self.result(ledger, number - 1).state_ref


def scores_of(found: AggregateResult, facts: RoundFacts) -> bytes:
    """`scores` of submitScores."""
    return pack_scores(dict(found.scores), facts.members)


def root_of(ledger: Ledger, facts: RoundFacts, reward: int) -> str:
    """`rewardRoot` of submitAggregate, from the scores that stand on chain."""
    return reward_root(ledger.task_id, ledger.lines(facts, reward))
