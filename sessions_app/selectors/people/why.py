"""Why somebody earned what they earned in a round: every number from the score to the root.

The division is worked out again from the events, by the functions that the payout uses; the page
shows it beside what was credited, and gives the browser all it needs to check by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chain.artifacts import COORDINATOR, load
from chain.calls import decode_result, encode_call
from chain.errors import InconsistentAnswer, NotDeployed
from chain.events import event_topic
from chain.merkle import leaf as leaf_of
from chain.network import client_current
from chain.selectors import contract_address
from sessions_app.errors import BcflError
from sessions_app.models import Claim, Participant, Reward, Round, ScoreSheet, Task, Update
from sessions_app.rewards import by_index, combined_scores, reward_proof, round_shares
from sessions_app.selectors.ledger.rows import chain_id
from sessions_app.selectors.ledger.values import find_item
from sessions_app.selectors.people.people import Names, Party, names_of
from training.scoring import Share

MODES = {"equal": "Equal", "samples": "By samples", "score": "By score"}
ROOT_WORD = 5  # of the words that task(taskId) returns; see TaskView in docs/standard.md


class NoReward(BcflError):
    """There is nothing to explain (yet); the text says why."""


@dataclass(frozen=True)
class Line:
    """One member's part of the round. ``share`` is None for whom no update counts."""

    party: Party
    index: int
    scores: Sequence[int]  # one for each evaluator
    score: int  # their lower median
    samples: int | None  # None: no update
    share: Share | None
    amount: int
    cumulative: int
    subject: bool


@dataclass(frozen=True)
class Evaluator:
    party: Party
    tx_hash: str


@dataclass(frozen=True)
class Why:
    """Amounts in wei. ``credited``: whether the chain's root holds these amounts."""

    task: Task
    round: Round
    mode: str
    party: Party
    subject: Line
    lines: Sequence[Line]
    evaluators: Sequence[Evaluator]
    update: Update | None
    member: Participant
    claims: Sequence[Claim]
    counted: int
    total_weight: int
    left_over: int
    leaf: str
    proof: Sequence[str]
    credited: bool
    latest_round: int

    @property
    def before(self) -> int:
        return self.subject.cumulative - self.subject.amount

    @property
    def is_latest(self) -> bool:
        return self.round.number == self.latest_round

    @property
    def share_ppm(self) -> int:
        return self.subject.amount * 1_000_000 // self.round.reward if self.round.reward else 0

    @property
    def zero_weights(self) -> bool:
        """All scores (or samples) were 0, so that everyone counted as 1."""
        return self.mode != "equal" and all(
            line.share is None or line.share.weight == 1 for line in self.lines
        )


@dataclass(frozen=True)
class ChainRoot:
    """What the contract says now: by its state, or by the event of an earlier round."""

    root: str
    how: str
    block: int | None


def why(task_pk: int, number: int, address: str) -> Why:
    """A constant number of queries. Raises NoReward."""
    round_ = Round.objects.select_related("task").filter(task_id=task_pk, number=number).first()
    if round_ is None:
        raise NoReward(
            f"Task {task_pk} has no round {number}. Its page lists the rounds there are."
        )
    if round_.phase != Round.Phase.FINALIZED:
        raise NoReward(
            f"Round {number} of “{round_.task.title}” is not final yet "
            f"({round_.get_phase_display().lower()}); rewards are worked out when it is."
        )
    task = round_.task
    members = list(task.members.order_by("index"))
    member = next((m for m in members if m.address == address), None)
    if member is None:
        raise NoReward(f"{address} is not a participant of “{task.title}”.")
    rewards = {row.participant_id: row for row in Reward.objects.filter(round=round_)}
    sheets = list(ScoreSheet.objects.filter(round=round_).order_by("evaluator"))
    updates = {row.participant_id: row for row in Update.objects.filter(round=round_)}
    samples = {m.address: updates[m.pk].samples for m in members if m.pk in updates}
    seats = by_index((m.index, m.address) for m in members)
    scores = combined_scores([sheet.scores for sheet in sheets], len(seats))
    shares = round_shares(
        mode=task.reward_mode,
        reward=round_.reward,
        addresses=seats,
        scores=scores,
        samples=samples,
    )
    names = names_of({*(m.address for m in members), *(s.evaluator for s in sheets)}, chain_id())
    before = _earned_before(task, number) if not rewards else {}
    lines = [
        _line(m, names, sheets, scores, samples, shares, rewards, before, address) for m in members
    ]
    subject = next(line for line in lines if line.subject)
    cumulative = {line.party.address: line.cumulative for line in lines}
    assert task.onchain_id is not None  # it has a finalised round
    latest = (
        task.round_set.filter(phase=Round.Phase.FINALIZED)
        .order_by("-number")
        .values_list("number", flat=True)[0]
    )
    return Why(
        task=task,
        round=round_,
        mode=task.reward_mode,
        party=subject.party,
        subject=subject,
        lines=lines,
        evaluators=[Evaluator(names.party(s.evaluator), s.tx_hash) for s in sheets],
        update=updates.get(member.pk),
        member=member,
        claims=list(member.claims.select_related("log__block").order_by("block_number")),
        counted=len(shares),
        total_weight=next(iter(shares.values())).total if shares else 0,
        left_over=sum(share.extra for share in shares.values()),
        leaf="0x" + leaf_of(task.onchain_id, address, subject.cumulative).hex(),
        proof=reward_proof(task.onchain_id, cumulative, address) if subject.cumulative else [],
        credited=bool(round_.rewards_match),
        latest_round=latest,
    )


def check_data(found: Why) -> Mapping[str, Any]:
    """For the check in the browser: big numbers as text, and how to ask the chain."""
    item = find_item(COORDINATOR, "event", "RoundFinalized")
    assert item is not None
    assert found.task.onchain_id is not None
    task_id = found.task.onchain_id
    word = f"{task_id:064x}"
    return {
        "task": str(task_id),
        "participant": found.party.address,
        "mode": found.mode,
        "reward": str(found.round.reward),
        "amount": str(found.subject.amount),
        "before": str(found.before),
        "cumulative": str(found.subject.cumulative),
        "leaf": found.leaf,
        "proof": list(found.proof),
        "root": found.round.reward_root,
        "members": [
            {
                "address": line.party.address,
                "name": line.party.name,
                "scores": list(line.scores),
                "score": line.score,
                "samples": line.samples,
                "amount": str(line.amount),
            }
            for line in found.lines
        ],
        "chain": {
            "id": chain_id(),
            "coordinator": _coordinator(),
            "latest": found.is_latest,
            "call": "0x" + encode_call(load(COORDINATOR).abi, "task", [task_id]).hex(),
            "rootWord": ROOT_WORD if found.is_latest else 1,
            "topics": [event_topic(item), f"0x{word}", f"0x{found.round.number:064x}"],
            "block": hex(found.round.finalized_block or 0),
        },
    }


def chain_root(found: Why) -> ChainRoot:
    """The root that the contract holds, asked of the node now. Raises ChainError.

    The contract keeps the latest root alone; that of an earlier round stands in its
    RoundFinalized event, which the node is asked for instead.
    """
    client = client_current()
    address = contract_address(COORDINATOR)
    if found.is_latest:
        abi = load(COORDINATOR).abi
        answer = client.call(address, encode_call(abi, "task", [found.task.onchain_id]))
        view = next(iter(decode_result(abi, "task", 1, answer).values()))
        return ChainRoot(view["rewardRoot"], f"task({found.task.onchain_id}).rewardRoot", None)
    block = found.round.finalized_block or 0
    topics = check_data(found)["chain"]["topics"]
    for log in client.logs(block, block, [address]):
        if list(log.topics[:3]) == topics:
            words = log.data.removeprefix("0x")
            return ChainRoot("0x" + words[64:128], "RoundFinalized.rewardRoot", block)
    raise InconsistentAnswer(
        f"The node has no RoundFinalized of round {found.round.number} in block {block:,}: either "
        "the block was replaced and the follower has not caught up, or it serves another chain."
    )


def _coordinator() -> str:
    """Empty while the contracts are not deployed: the browser then asks our server alone."""
    try:
        return contract_address(COORDINATOR)
    except NotDeployed:
        return ""


def _line(
    member: Participant,
    names: Names,
    sheets: Sequence[ScoreSheet],
    scores: Sequence[int],
    samples: Mapping[str, int],
    shares: Mapping[str, Share],
    rewards: Mapping[int, Reward],
    before: Mapping[int, int],
    subject: str,
) -> Line:
    share = shares.get(member.address)
    credited = rewards.get(member.pk)
    worked_out = share.amount if share else 0
    return Line(
        party=names.party(member.address),
        index=member.index,
        scores=[s.scores[member.index] if member.index < len(s.scores) else 0 for s in sheets],
        score=scores[member.index],
        samples=samples.get(member.address),
        share=share,
        amount=credited.amount if credited else worked_out,
        cumulative=credited.cumulative if credited else before.get(member.pk, 0) + worked_out,
        subject=member.address == subject,
    )


def _earned_before(task: Task, number: int) -> dict[int, int]:
    """By participant, over the credited rounds before this one."""
    earned: dict[int, int] = {}
    rows = Reward.objects.filter(round__task=task, round__number__lt=number)
    for participant, amount in rows.values_list("participant_id", "amount"):
        earned[participant] = earned.get(participant, 0) + amount
    return earned
