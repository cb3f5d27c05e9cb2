"""Jobs and their results: what crosses the broker, as frozen JSON-safe dataclasses. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeVar

from training.canonical import check_address, check_hash, check_range, known, set_field

_Item = TypeVar("_Item")

GROUP_SAMPLES = 512  # a small model trains on them in less than a second


def in_groups(
    items: Sequence[_Item], samples: Callable[[_Item], int], workers: int
) -> list[list[_Item]]:
    """Short trainings that go to a worker together, in their order.

    `samples` that one sees, over all epochs. A group has about GROUP_SAMPLES or is a single
    training, and each of the `workers` processes can have equally much.
    """
    total = sum(map(samples, items))
    each = max(1, -(-total // (workers * GROUP_SAMPLES)))  # groups of a process
    share = total / (workers * each)
    groups: list[list[_Item]] = []
    before = 0
    for item in items:
        if not groups or before + samples(item) / 2 > share * len(groups):
            groups.append([])
        groups[-1].append(item)
        before += samples(item)
    return groups


class _Record:
    """JSON-safe frozen dataclasses that cross the broker."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**known(cls, f"{cls.__name__}.", data))


@dataclass(frozen=True)
class TrainJob(_Record):
    """One participant's local training in one round.

    `slot` is the share of the data (0 ... participants - 1) and seeds the training; the address
    `participant` never does. `model_ref` is the hash of the global model's blob.
    """

    config: Mapping[str, Any] = field(hash=False)
    round: int
    slot: int
    participant: str
    task_id: int
    model_ref: str

    def __post_init__(self) -> None:
        check_range("round", self.round, 0, 2**16 - 1)
        check_range("slot", self.slot, 0, 999)
        check_address("participant", self.participant)
        check_range("task_id", self.task_id, 0, 2**256 - 1)
        check_hash("model_ref", self.model_ref)


@dataclass(frozen=True)
class TrainResult(_Record):
    """`loss` and `accuracy` are on the participant's own samples, as seen while training in the
    last epoch, and None where the task keeps them private; `seconds` is wall time of the whole
    job."""

    content_hash: str
    update_hash: str
    samples: int
    loss: float | None
    accuracy: float | None
    seconds: float
    participant: str
    task_id: int = 0
    round: int = 0
    slot: int = 0


@dataclass(frozen=True)
class UpdateRef(_Record):
    """An update as the chain knows it; `index` is the member index in the contract.

    With `update_hash`, the hash submitted on chain, the aggregator also checks that it binds
    this participant to this content.
    """

    participant: str
    content_hash: str
    samples: int
    index: int
    update_hash: str = ""

    def __post_init__(self) -> None:
        check_address("participant", self.participant)
        check_hash("content_hash", self.content_hash)
        if self.update_hash:
            check_hash("update_hash", self.update_hash)


@dataclass(frozen=True)
class AggregateJob(_Record):
    """Everything an evaluator needs for one round. `members` in member-index order.

    `state_ref` is the server optimiser's state after the round before ("" = none yet).
    `sheets` holds what other judges think, for BlockFLow: address → a score in ppm per member.
    """

    config: Mapping[str, Any] = field(hash=False)
    task_id: int
    round: int
    model_ref: str
    updates: Sequence[UpdateRef]
    members: Sequence[str]
    state_ref: str = ""
    sheets: Mapping[str, Sequence[int]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_range("task_id", self.task_id, 0, 2**256 - 1)
        check_range("round", self.round, 0, 2**16 - 1)
        check_hash("model_ref", self.model_ref)
        if self.state_ref:
            check_hash("state_ref", self.state_ref)
        for member in self.members:
            check_address("members", member)
        for judge, sheet in self.sheets.items():
            check_address("sheets", judge)
            check_range(f"sheets.{judge} (length)", len(sheet), *[len(self.members)] * 2)
            for score in sheet:
                check_range(f"sheets.{judge}", score, 0, 1_000_000)
        set_field(self, "members", tuple(self.members))
        set_field(
            self,
            "updates",
            tuple(
                update if isinstance(update, UpdateRef) else UpdateRef.from_dict(update)
                for update in self.updates
            ),
        )


@dataclass(frozen=True)
class AggregateResult(_Record):
    """What one evaluator found.

    `accuracy` 0 to 1 and `accuracy_ppm` of the new global model on the held-out samples.
    `rejected` pairs an address with its reason ("norm: ..."). `scores` has an integer for every
    accepted update: ppm by the task's scoring, 1 each for equal, the sample count for samples.
    `update_metrics[address]` = {accuracy, loss, norm, samples}. `state_ref` goes into the next
    round's job. `epsilon` is what rounds 1 to this one have spent of a participant's privacy (see
    `training.privacy`), None without noise. `evidence` is the hash of the document that names the
    rejected updates (`training.evidence`), "" when none was; its bytes are in the blob store.
    """

    model_hash: str
    accuracy: float
    accuracy_ppm: int
    loss: float
    accepted: Sequence[str]
    rejected: Sequence[tuple[str, str]]
    scores: Mapping[str, int] = field(hash=False)
    samples: Mapping[str, int] = field(hash=False)
    update_metrics: Mapping[str, Mapping[str, float]] = field(hash=False)
    seconds_score: float
    seconds_aggregate: float
    task_id: int = 0
    round: int = 0
    state_ref: str = ""
    epsilon: float | None = None
    evidence: str = ""
