"""What comes out of the wizard's form: the configuration, the terms, the contract's parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chain.models import Account
from sessions_app.forms.tables import DEFAULT_LAYERS, TABLES, TASK
from training.errors import SpecError
from training.specs import LOCAL_PARAMETERS, TaskConfig

REWARD_MODE_NUMBERS = ("equal", "samples", "score")  # as the contract's enum


@dataclass(frozen=True)
class TaskTerms:
    """All that a task is made of; amounts in wei, times in seconds. None: all, or a majority."""

    title: str
    config: TaskConfig
    pool: int
    stake: int
    hosted_places: int | None
    min_participants: int | None
    evaluators: Sequence[Account]
    outside_evaluators: Sequence[str]
    quorum: int | None
    seconds: Mapping[str, int]
    invite_emails: Sequence[str] = ()
    invite_links: int = 0
    invite_message: str = ""


def chosen(data: Mapping[str, Any], kind: str) -> str:
    return str(data.get(kind) or TABLES[kind][2])


def config_dict(
    data: Mapping[str, Any],
    *,
    source: Mapping[str, Any] | None = None,
    schema: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The configuration of cleaned fields, as ``TaskConfig.from_dict`` checks it. ``source``: of
    one's own file, ``schema``: of private data."""
    model_params = _params(data, "model")
    if chosen(data, "model") == "layers":
        model_params = {"layers": data.get("model__layers") or DEFAULT_LAYERS}
    dataset: dict[str, Any] = {
        "name": chosen(data, "dataset"),
        "partition": chosen(data, "partition"),
        **_params(data, "partition"),
        **_given(data, {"holdout": "holdout"}),
    }
    if dataset["name"] == "own":
        dataset["source"] = source
    if dataset["name"] == "private":
        dataset["schema"] = schema
    return {
        "dataset": dataset,
        "model": {"name": chosen(data, "model"), "params": model_params},
        "algorithm": {"name": chosen(data, "algorithm"), "params": _params(data, "algorithm")},
        "local": _given(data, {p.name: f"local__{p.name}" for p in LOCAL_PARAMETERS}),
        "scoring": chosen(data, "scoring"),
        "scoring_params": _params(data, "scoring"),
        "privacy": {"name": chosen(data, "privacy"), "params": _params(data, "privacy")},
        "reward_mode": chosen(data, "reward_mode"),
        **_given(data, {name: name for name in TASK}),
    }


def field_of(error: SpecError, fields: Collection[str]) -> str | None:
    """The field an error speaks of (``model.params.hidden`` → ``model__hidden``)."""
    parts = [part.split("[")[0] for part in error.field.split(".") if part != "params"]
    if parts[0] == "scoring_params":
        parts[0] = "scoring"
    candidates = ["__".join(parts[:2]), f"partition__{parts[-1]}", parts[-1], parts[0]]
    if parts[-1] == "name":
        candidates.insert(0, parts[0])
    if parts[:2] == ["dataset", "source"]:
        candidates.insert(0, "own_file")
    if parts[:2] == ["dataset", "schema"]:
        part = parts[2].split(" ")[0]
        candidates = [f"private__{part}", "private__columns"]
    return next((c for c in candidates if c in fields), None)


def contract_params(terms: TaskTerms) -> dict[str, Any]:
    """The contract's TaskParams, but for the hashes that only a saved task has."""
    most = terms.config.participants
    evaluators = [*(a.address for a in terms.evaluators), *terms.outside_evaluators]
    return {
        "configHash": terms.config.hash(),
        "modelHash": "",
        "pool": terms.pool,
        "stake": terms.stake,
        "rounds": terms.config.rounds,
        "minParticipants": terms.min_participants or most,
        "maxParticipants": most,
        "quorum": terms.quorum or len(evaluators) // 2 + 1,
        "rewardMode": REWARD_MODE_NUMBERS.index(terms.config.reward_mode),
        "joinSeconds": terms.seconds["join_seconds"],
        "updateSeconds": terms.seconds["update_seconds"],
        "scoreSeconds": terms.seconds["score_seconds"],
        "aggregateSeconds": terms.seconds["aggregate_seconds"],
        "evaluators": evaluators,
    }


def _params(data: Mapping[str, Any], kind: str) -> dict[str, Any]:
    choice = TABLES[kind][1][chosen(data, kind)]
    return _given(data, {p.name: f"{kind}__{p.name}" for p in choice.parameters})


def _given(data: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Values that were filled in, under their names in the configuration."""
    return {name: data[found] for name, found in names.items() if data.get(found) not in (None, "")}
