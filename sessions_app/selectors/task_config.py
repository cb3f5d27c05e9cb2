"""A task's configuration and terms as names and values for people. No queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sessions_app.formats import amount, duration
from sessions_app.models import Task
from training.errors import SpecError
from training.specs import (
    ALGORITHMS,
    DATASETS,
    HOLDOUT,
    LOCAL_PARAMETERS,
    MODELS,
    PARTITIONS,
    REWARD_MODES,
    SCORINGS,
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
    return [
        Fact("Data set", DATASETS[data.name].label),
        Fact("Split", split),
        Fact(HOLDOUT.label, f"{data.holdout:.0%} of the samples".replace("%", "\u00a0%")),
        Fact("Model", _with_parameters(model.label, model.parameters, config.model.params)),
        Fact(
            "Algorithm",
            _with_parameters(algorithm.label, algorithm.parameters, config.algorithm.params),
        ),
        *(Fact(p.label, _value(getattr(config.local, p.name))) for p in LOCAL_PARAMETERS),
        Fact("Scoring", SCORINGS[config.scoring].label),
        Fact("Seed", str(config.seed)),
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


def _with_parameters(label: str, parameters: Iterable[Parameter], values: Mapping[str, Any]) -> str:
    told = [f"{p.label.lower()} {_value(values[p.name])}" for p in parameters if p.name in values]
    return f"{label} ({', '.join(told)})" if told else label


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " × ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
