"""An evaluator: score each round's updates and vote for the model and rewards they give.

Every honest evaluator computes the same bits, so a quorum of independent ones agrees without a
word to each other.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from agent.contract import ROUND_PHASES, TASK_PHASES
from agent.errors import NotInTask
from agent.ledger import Ledger
from agent.rounds import root_of, scores_of
from agent.session import Session, repeat
from training.jobs import AggregateResult

LATE = 2  # seconds after a deadline in which its last block may still come


@dataclass
class Evaluator:
    """`run` returns when the task has ended."""

    session: Session
    _known: dict[tuple[int, tuple[str, ...]], AggregateResult] = field(default_factory=dict)

    def run(self) -> None:
        listed = self.session.contract.read("evaluators", self.session.task_id)
        if self.session.me not in listed:
            raise NotInTask(
                f"{self.session.me} is not among the {len(listed)} evaluators of task "
                f"{self.session.task_id}; its operator names them when it is created."
            )
        self._bit = 1 << listed.index(self.session.me)
        repeat(self.step, self.session.screen, self.session.poll)

    def step(self) -> bool:
        """Do what is due now. True when the task is over."""
        session, screen = self.session, self.session.screen
        view = session.contract.read("task", session.task_id)
        phase = TASK_PHASES[view["phase"]]
        if phase == "open":
            screen.say_once("Waiting for the task to start.")
            return False
        if phase != "running":
            screen.say(f"The task is {phase} after round {view['round']}.")
            return True
        state = session.contract.read("roundState", session.task_id)
        number = int(state["round"])
        if self._may_score(state):
            ledger = session.ledger()
            found = self._result(ledger, number)
            packed = scores_of(found, ledger.rounds[number])
            session.contract.send("submitScores", session.task_id, number, packed)
            _say_scores(session, number, found)
            return False
        if self._may_vote(state, int(view["quorum"])):
            ledger = session.ledger()
            found = self._result(ledger, number)
            reward = int(session.contract.read("roundReward", session.task_id))
            root = root_of(ledger, ledger.rounds[number], reward)
            session.contract.send(
                "submitAggregate",
                session.task_id,
                number,
                found.model_hash,
                root,
                found.accuracy_ppm,
            )
            screen.say(
                f"Round {number}: voted for {found.model_hash[:12]}…, accuracy "
                f"{100 * found.accuracy:.1f} %."
            )
            return False
        screen.say_once(f"Round {number}: {ROUND_PHASES[state['phase']]}.")
        return False

    def _may_score(self, state: dict[str, Any]) -> bool:
        if state["scored"] & self._bit:
            return False
        if ROUND_PHASES[state["phase"]] == "scoring":
            return True
        closed = state["awaited"] == 0 or time.time() > state["deadline"] + LATE
        return ROUND_PHASES[state["phase"]] == "updates" and state["updates"] > 0 and closed

    def _may_vote(self, state: dict[str, Any], quorum: int) -> bool:
        if state["voted"] & self._bit:
            return False
        if ROUND_PHASES[state["phase"]] == "aggregating":
            return True
        scored = bin(state["scored"]).count("1")
        over = time.time() > state["deadline"] + LATE
        return ROUND_PHASES[state["phase"]] == "scoring" and over and scored >= quorum

    def _result(self, ledger: Ledger, number: int) -> AggregateResult:
        """Once for each set of updates: a reorg may change them."""
        updates = ledger.rounds[number].updates.values()
        key = (number, tuple(sorted(update.update_hash for update in updates)))
        if key not in self._known:
            self._known = {key: self.session.recomputer().result(ledger, number)}
        return self._known[key]


def _say_scores(session: Session, number: int, found: AggregateResult) -> None:
    session.screen.say(f"Round {number}: scored {len(found.accepted)} updates.")
    for who, why in found.rejected:
        session.screen.say(f"Round {number}: rejected the update of {who}: {why}", style="red")
