"""What the task wizard is made of: its steps, and the tables whose choices it offers."""

from __future__ import annotations

from collections.abc import Mapping

from training.specs import (
    ALGORITHMS,
    DATASETS,
    MODELS,
    PARTITIONS,
    PRIVACY,
    REWARD_MODES,
    SCORINGS,
    TASK_PARAMETERS,
    Choice,
)

STEPS = {
    "data": "Data and model",
    "training": "Training",
    "terms": "People and money",
    "review": "Review and fund",
}
REQUIRED = ("title", "participants", "rounds", "pool")
DEFAULT_POOL = "1000"
DEFAULT_STAKE = "10"
SECONDS = {
    "join_seconds": ("Time to join", "Then it starts with who is there, or ends.", 3600),
    "update_seconds": ("Time to submit", "Who is later misses the round.", 600),
    "score_seconds": ("Time to score", "For the evaluators, in each round.", 600),
    "aggregate_seconds": ("Time to aggregate", "For the evaluators, in each round.", 600),
}
TASK = {parameter.name: parameter for parameter in TASK_PARAMETERS}
# Kind of choice → its table and default; the parameters of each stand as kind__name.
TABLES: dict[str, tuple[str, Mapping[str, Choice], str]] = {
    "dataset": ("Data set", DATASETS, "digits"),
    "partition": ("Who has what", PARTITIONS, "iid"),
    "model": ("Model", MODELS, "mlp"),
    "algorithm": ("Algorithm", ALGORITHMS, "fedavg"),
    "scoring": ("Scoring", SCORINGS, "accuracy"),
    "privacy": ("Privacy", PRIVACY, "none"),
    "reward_mode": ("Rewards are shared", REWARD_MODES, "score"),
}
WITH_PARAMETERS = ("partition", "model", "algorithm", "scoring", "privacy")
DEFAULT_LAYERS = [{"layer": "Flatten"}, {"layer": "Dense", "units": 64, "activation": "relu"}]
