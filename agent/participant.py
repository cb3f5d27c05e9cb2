"""A participant: join with a stake, train on one's own rows each round, verify, claim."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from agent.checks import FLT, OwnData, check_open, check_stake
from agent.contract import MEMBER_STATUS, ROUND_PHASES, TASK_PHASES
from agent.errors import CannotJoin, Mismatch, NotInTask
from agent.rounds import Verdict
from agent.session import Session, repeat
from bcfl_client.errors import Conflict
from chain.builds import TOKEN
from chain.errors import ContractReverted
from chain.merkle import reward_proof
from chain.typed import UpdateMessage
from training import data
from training.canonical import update_hash
from training.errors import DataError
from training.jobs import TrainJob

HAND_IN_AGAIN = 30.0  # seconds after which a signed update that nobody relayed is handed in again


def join(session: Session, own: OwnData) -> None:
    """Stake and join; does nothing for a member. Raises CannotJoin before anything is sent."""
    contract = session.contract
    status = MEMBER_STATUS[contract.read("member", session.task_id, session.me)["status"]]
    if status == "active":
        session.screen.say("You have joined already.")
        return
    if status != "none":
        raise CannotJoin(f"{session.me} has {status} in this task and cannot join it again.")
    view = check_open(contract, session.task_id)
    stake = int(view["stake"])
    check_stake(contract, stake)
    cap = own.samples or _largest_share(session)
    if stake and contract.read("allowance", session.me, contract.address, contract=TOKEN) < stake:
        session.screen.say(f"Allowing the coordinator to take the stake of {stake / FLT:g} FLT.")
        contract.send("approve", contract.address, stake, contract=TOKEN)
    receipt = contract.send("join", session.task_id, cap)
    session.screen.say(
        f"Joined with up to {cap} samples and a stake of {stake / FLT:g} FLT in block "
        f"{receipt.block_number}."
    )


@dataclass
class Participant:
    """`run` returns when the task has ended and all is claimed."""

    session: Session
    own: OwnData
    relay: bool = False
    claim_at_end: bool = True
    mismatches: list[Verdict] = field(default_factory=list)

    def run(self) -> None:
        """Raises Mismatch at the end when a finalised round was not what its updates give."""
        repeat(self.step, self.session.screen, self.session.poll)
        if self.mismatches:
            raise Mismatch("\n".join(_complaint(verdict) for verdict in self.mismatches))

    def step(self) -> bool:
        """Do what is due now, found out from the chain afresh. True when the task is over."""
        session, screen = self.session, self.session.screen
        contract, task_id = session.contract, session.task_id
        view = contract.read("task", task_id)
        member = contract.read("member", task_id, session.me)
        phase, status = TASK_PHASES[view["phase"]], MEMBER_STATUS[member["status"]]
        if status == "none":
            raise NotInTask(f"{session.me} is no member of task {task_id}. Join it first.")
        if phase == "open":
            screen.say_once(
                f"Waiting for the start: {view['active']} of {view['maxParticipants']} joined, "
                f"{view['minParticipants']} are enough."
            )
            return False
        if phase in ("completed", "cancelled"):
            self._verify(int(view["round"]) + 1)
            screen.say(f"The task is {phase} after round {view['round']}.")
            if self.claim_at_end:
                claim(session)
            return True
        state = contract.read("roundState", task_id)
        number = int(state["round"])
        self._verify(number)
        if status != "active":
            screen.say_once(f"You have {status}; the stake is returned when the task has ended.")
            return False
        updates = ROUND_PHASES[state["phase"]] == "updates"
        submitted = bool(contract.read("hasSubmitted", task_id, session.me))
        if not updates or submitted:
            screen.say_once(_waiting(number, state, submitted))
            return False
        if time.time() > state["deadline"]:
            screen.say_once(_too_late(number, state))
            return False
        try:
            self._contribute(number, str(view["modelHash"]), member)
        except (Conflict, ContractReverted) as error:  # the console's no, or the contract's
            refused = isinstance(error, Conflict) or error.name == "DeadlinePassed"
            if not refused or time.time() <= state["deadline"]:
                raise
            screen.say_once(_too_late(number, state))
        return False

    def _contribute(self, number: int, base: str, member: dict[str, Any]) -> None:
        session, home, screen = self.session, self.session.home, self.session.screen
        work = home.round(number)
        content = work.get("content_hash", "")
        if work.get("base") != base or not content or not home.blobs.exists(content):
            self._train(number, base, member)
            work = home.round(number)
            content = work["content_hash"]
        with screen.moving(f"round {number}: upload") as moved:
            session.console.upload(number, home.blobs.get(content), moved)
        bound = update_hash(session.me, session.task_id, number, content)
        samples = int(work["samples"])
        if self.relay:
            if time.time() - work.get("signed_at", 0.0) < HAND_IN_AGAIN:
                screen.say_once(f"Round {number}: signed; waiting for the console to submit it.")
                return
            message = UpdateMessage(
                chain_id=session.terms.chain_id,
                coordinator=session.contract.address,
                task_id=session.task_id,
                round=number,
                update_hash=bound,
                samples=samples,
            )
            assert session.contract.signer is not None
            signature = message.sign(session.contract.signer)
            session.console.hand_in(number, bound, samples, signature)
            home.note(number, signed_at=time.time())
            screen.say(f"Round {number}: signed the update for the console to submit.")
            return
        receipt = session.contract.send("submitUpdate", session.task_id, number, bound, samples)
        home.note(number, submitted_in=receipt.block_number)
        screen.say(
            f"Round {number}: submitted in block {receipt.block_number}, {receipt.gas_used} gas."
        )

    def _train(self, number: int, base: str, member: dict[str, Any]) -> None:
        session, screen = self.session, self.session.screen
        with screen.moving(f"round {number}: global model") as moved:
            session.console.fetch(base, session.home.blobs, moved)
        config, own, slot = session.config, None, int(member["index"])
        if config.dataset.schema is not None:
            session.console.fetch(config.dataset.schema.evaluation, session.home.blobs)
            assert self.own.table is not None
            own = data.own_share(config, self.own.table)
            if len(own) > member["samplesCap"]:
                raise DataError(
                    f"The file has {len(own)} samples, but you joined with at most "
                    f"{member['samplesCap']}. Use the file that you joined with."
                )
        else:
            found = session.console.terms().slot
            if found is None:
                raise NotInTask("The console does not know you as a member yet. Try again.")
            slot = found
        from training import local  # TensorFlow, about 10 s the first time

        job = TrainJob(
            config=config.to_dict(),
            round=number,
            slot=slot,
            participant=session.me,
            task_id=session.task_id,
            model_ref=base,
        )
        with screen.training(f"round {number}: training") as report:
            result = local.train(
                job, session.home.blobs, report, own, noise_secret=session.home.secret()
            )
        session.home.note(
            number,
            base=base,
            content_hash=result.content_hash,
            samples=result.samples,
            signed_at=0.0,
        )
        seen = (
            "" if result.accuracy is None else f", accuracy on them {100 * result.accuracy:.1f} %"
        )
        screen.say(
            f"Round {number}: trained on {result.samples} samples in {result.seconds:.1f} s{seen}."
        )

    def _verify(self, before: int) -> None:
        """Rounds finalised since the last look, each once."""
        session = self.session
        due = [n for n in range(1, before) if session.home.round(n).get("verified") is None]
        if not due:
            return
        ledger = session.ledger()
        recomputer = session.recomputer()
        for number in due:
            facts = ledger.rounds.get(number)
            if facts is None or not facts.finalized:
                continue
            verdict = recomputer.verify(ledger, number)
            session.home.note(number, verified=verdict.holds)
            earned = facts.earned.get(session.me, 0)
            if verdict.holds:
                without = "" if session.me in facts.updates else "; no update of yours was in it"
                session.screen.say(
                    f"Round {number} holds: model and rewards are what its updates and scores "
                    f"give. Accuracy {facts.accuracy_ppm / 10_000:.1f} %, you earned "
                    f"{earned / FLT:,.4f} FLT{without}."
                )
            else:
                self.mismatches.append(verdict)
                session.screen.say(_complaint(verdict), style="red")


def claim(session: Session) -> tuple[int, int]:
    """Take what was earned and, after the end, the stake. Returns both in wei."""
    contract, task_id = session.contract, session.task_id
    member = contract.read("member", task_id, session.me)
    if MEMBER_STATUS[member["status"]] == "none":
        raise NotInTask(f"{session.me} is no member of task {task_id}: there is nothing to claim.")
    ledger = session.ledger()
    earned = ledger.earned.get(session.me, 0)
    paid = max(earned - int(member["claimed"]), 0)
    if paid:
        proof = reward_proof(task_id, ledger.earned, session.me)
        contract.send("claim", task_id, session.me, earned, proof)
    ended = TASK_PHASES[contract.read("task", task_id)["phase"]] in ("completed", "cancelled")
    due = MEMBER_STATUS[member["status"]] in ("active", "left")
    stake = int(member["stake"]) if ended and due else 0
    if stake:
        contract.send("returnStake", task_id, session.me)
    session.screen.say(
        f"Claimed {paid / FLT:,.4f} FLT, {earned / FLT:,.4f} FLT in all; stake returned: "
        f"{stake / FLT:g} FLT."
    )
    return paid, stake


def leave(session: Session) -> None:
    """While the task is open the stake comes back at once, later after its end."""
    status = MEMBER_STATUS[session.contract.read("member", session.task_id, session.me)["status"]]
    if status == "none":
        raise NotInTask(
            f"{session.me} is no member of task {session.task_id}: nothing of yours is in it."
        )
    receipt = session.contract.send("leave", session.task_id)
    session.screen.say(f"Left in block {receipt.block_number}.")


def verify(session: Session) -> list[Verdict]:
    """Every finalised round, computed again."""
    ledger, recomputer = session.ledger(), session.recomputer()
    finalized = [n for n, facts in sorted(ledger.rounds.items()) if facts.finalized]
    return [recomputer.verify(ledger, number) for number in finalized]


def _largest_share(session: Session) -> int:
    """Samples of a public data set that a place may turn out to have."""
    config = session.config
    parts = data.partition(config.dataset, config.participants, config.seed)
    return max(len(part) for part in parts)


def _waiting(number: int, state: dict[str, Any], submitted: bool) -> str:
    phase = ROUND_PHASES[state["phase"]]
    if phase == "updates":
        return f"Round {number}: waiting for {state['awaited']} more updates."
    without = "" if submitted else " without an update of yours"
    return f"Round {number}: {phase}{without}; waiting for the evaluators."


def _too_late(number: int, state: dict[str, Any]) -> str:
    closed = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(state["deadline"]))
    return (
        f"Round {number}: too late, updates were taken until {closed} UTC. Yours is not in it and "
        "earns nothing; nothing was spent on it, and the stake stays yours. Waiting for the next "
        "round."
    )


def _complaint(verdict: Verdict) -> str:
    if not verdict.model:
        refused = "".join(f" Rejected here: {who} ({why})." for who, why in verdict.rejected)
        return (
            f"Round {verdict.number} does NOT hold: the evaluators published the model "
            f"{verdict.on_chain}, the updates that the console shows give {verdict.computed}."
            f"{refused} Tell the other participants."
        )
    return (
        f"Round {verdict.number} does NOT hold: the reward root on chain is not what the scores "
        "give. Tell the other participants."
    )
