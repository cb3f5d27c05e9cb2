"""A task's configuration and terms as names and values for people. No queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chain.artifacts import COORDINATOR, load
from chain.calls import decode_result, encode_call
from chain.network import client_current
from chain.selectors import contract_address
from sessions_app.formats import amount, duration
from sessions_app.models import Task
from training.canonical import keccak_hex
from training.errors import SpecError
from training.schema import DataSchema
from training.specs import (
    ALGORITHMS,
    DATASETS,
    HOLDOUT,
    LOCAL_PARAMETERS,
    MODELS,
    PARTITIONS,
    PRIVACY,
    REWARD_MODES,
    SCORINGS,
    DatasetSpec,
    Parameter,
    TaskConfig,
)


@dataclass(frozen=True)
class Fact:
    name: str
    value: str


def task_config(task: Task) -> TaskConfig | None:
    """None for a task of another client, or one written by a version that allowed more."""
    if task.config is None:
        return None
    try:
        return TaskConfig.from_dict(task.config)
    except SpecError:
        return None


def config_labels(config: TaskConfig) -> list[str]:
    """Algorithm, model and data set, as the head of a page names them."""
    return [
        ALGORITHMS[config.algorithm.name].label,
        MODELS[config.model.name].label,
        DATASETS[config.dataset.name].label,
    ]


def configuration_facts(config: TaskConfig | None) -> list[Fact]:
    if config is None:
        return []
    data = config.dataset
    partition = PARTITIONS[data.partition]
    split = _with_parameters(
        partition.label,
        partition.parameters,
        {"alpha": data.alpha, "shards_per_participant": data.shards_per_participant},
    )
    model = MODELS[config.model.name]
    algorithm = ALGORITHMS[config.algorithm.name]
    scoring, privacy = SCORINGS[config.scoring], PRIVACY[config.privacy.name]
    return [
        Fact("Data set", DATASETS[data.name].label),
        *(_private_facts(data.schema) if data.schema else [Fact("Split", split), _held_out(data)]),
        Fact("Model", _with_parameters(model.label, model.parameters, config.model.params)),
        Fact(
            "Algorithm",
            _with_parameters(algorithm.label, algorithm.parameters, config.algorithm.params),
        ),
        *(Fact(p.label, _value(getattr(config.local, p.name))) for p in LOCAL_PARAMETERS),
        Fact("Scoring", _with_parameters(scoring.label, scoring.parameters, config.scoring_params)),
        Fact("Privacy", _with_parameters(privacy.label, privacy.parameters, config.privacy.params)),
        Fact("Seed", str(config.seed)),
    ]


def _held_out(data: DatasetSpec) -> Fact:
    return Fact(HOLDOUT.label, f"{data.holdout:.0%} of the samples".replace("%", "\u00a0%"))


def _private_facts(schema: DataSchema) -> list[Fact]:
    names = ", ".join(feature.name for feature in schema.features[:6])
    more = "" if len(schema.features) <= 6 else ", …"
    return [
        Fact("Columns", f"{len(schema.features)}: {names}{more}"),
        Fact("Label", f"{schema.label}: {', '.join(schema.classes[:8])}"),
        Fact(HOLDOUT.label, f"{schema.evaluation_samples:,} samples of the operator"),
    ]


def term_facts(task: Task) -> list[Fact]:
    """What the contract enforces."""
    mode = REWARD_MODES.get(task.reward_mode)
    people = f"{task.min_participants} to {task.max_participants}"
    if task.min_participants == task.max_participants:
        people = str(task.max_participants)
    return [
        Fact("Rounds", str(task.rounds)),
        Fact("Participants", people),
        Fact("Pool", f"{amount(task.pool_funded or task.pool)} FLT"),
        Fact(
            "Reward a round",
            f"{amount((task.pool_funded or task.pool) // max(task.rounds, 1))} FLT",
        ),
        Fact("Stake each", f"{amount(task.stake)} FLT"),
        Fact("Rewards", mode.label if mode else "–"),
        Fact("Evaluators", f"{len(task.evaluators) or 1}, quorum {task.quorum}"),
        Fact("Time to submit", duration(task.update_seconds)),
        Fact("Time to score", duration(task.score_seconds)),
        Fact("Time to aggregate", duration(task.aggregate_seconds)),
    ]


@dataclass(frozen=True)
class ConfigCheck:
    """``computed``: keccak256 of the ``size`` canonical bytes stored here; ``onchain``: what the
    contract holds, read at ``block``."""

    computed: str
    onchain: str
    block: int
    size: int

    @property
    def matches(self) -> bool:
        return self.computed == self.onchain


def check_config(task: Task) -> ConfigCheck:
    """Asks the node now. Raises ChainError, and ValueError for a task without the one or other."""
    config = task_config(task)
    if config is None or task.onchain_id is None:
        raise ValueError(
            "There is nothing to compare: the task is not on chain yet, or its configuration is "
            "not stored here."
        )
    content = config.canonical_bytes()
    client = client_current()
    block = client.head().number
    abi = load(COORDINATOR).abi
    data = encode_call(abi, "task", [task.onchain_id])
    answer = client.call(contract_address(COORDINATOR), data, block=block)
    (view,) = decode_result(abi, "task", 1, answer).values()
    return ConfigCheck(keccak_hex(content), view["configHash"], block, len(content))


def _with_parameters(label: str, parameters: Iterable[Parameter], values: Mapping[str, Any]) -> str:
    told = [f"{p.label.lower()} {_value(values[p.name])}" for p in parameters if p.name in values]
    return f"{label} ({', '.join(told)})" if told else label


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " × ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
