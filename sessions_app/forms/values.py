"""Fields as text, as they were typed or as a task or a configuration fills them in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sessions_app.formats import exact_amount
from sessions_app.forms.columns import schema_fields
from sessions_app.forms.fields import as_text, duration_text
from sessions_app.forms.tables import SECONDS, TASK
from sessions_app.forms.task import TaskForm
from sessions_app.models import Task
from training.errors import SpecError
from training.schema import DataSchema
from training.specs import LOCAL_PARAMETERS, TaskConfig

Values = dict[str, Any]  # field → text as typed (a list for evaluators)


def form_of(values: Mapping[str, Any]) -> TaskForm:
    """The form of a draft, bound and checked; what is not in ``values`` has its default. One
    query, for the evaluators."""
    form = TaskForm()
    defaults = {name: found.initial or "" for name, found in form.fields.items()}
    form.data = {**defaults, **_with_columns(values)}
    form.is_bound = True
    form.full_clean()
    return form


def _with_columns(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Drafts and templates of private data from when no field could show its columns."""
    if values.get("dataset") != "private" or "private__columns" in values:
        return values
    try:
        schema = DataSchema.from_dict(json.loads(values["schema"]))
    except (KeyError, ValueError, SpecError):
        return values
    return {**schema_fields(schema), **values}


def config_values(config: TaskConfig) -> Values:
    """A configuration as the fields show it."""
    data = config.dataset
    values: Values = {
        "dataset": data.name,
        "partition": data.partition,
        "partition__alpha": as_text(data.alpha),
        "partition__shards_per_participant": as_text(data.shards_per_participant),
        "holdout": as_text(data.holdout),
        "model": config.model.name,
        "algorithm": config.algorithm.name,
        "scoring": config.scoring,
        "privacy": config.privacy.name,
        "reward_mode": config.reward_mode,
        **{name: as_text(getattr(config, name)) for name in TASK},
    }
    if data.source is not None:
        values["own_file"] = data.source.file
    if data.schema is not None:
        values |= schema_fields(data.schema)
    for kind, params in (
        ("model", config.model.params),
        ("algorithm", config.algorithm.params),
        ("scoring", config.scoring_params),
        ("privacy", config.privacy.params),
    ):
        values |= {f"{kind}__{name}": as_text(value) for name, value in params.items()}
    for parameter in LOCAL_PARAMETERS:
        values[f"local__{parameter.name}"] = as_text(getattr(config.local, parameter.name))
    return values


def task_values(task: Task) -> Values:
    """A task as the fields show it. One query."""
    config = TaskConfig.from_dict(task.config or {})
    most = task.max_participants
    judges = task.evaluator_accounts.count() + len(task.outside_evaluators)
    values: Values = {
        **config_values(config),
        "title": task.title,
        "pool": exact_amount(task.pool),
        "stake": exact_amount(task.stake),
        "hosted_places": "" if task.hosted_places == most else str(task.hosted_places),
        "min_participants": "" if task.min_participants == most else str(task.min_participants),
        "evaluators": [a.address for a in task.evaluator_accounts.order_by("pk")],
        "outside_evaluators": "\n".join(task.outside_evaluators),
        "quorum": "" if task.quorum == judges // 2 + 1 else str(task.quorum),
    }
    return values | {name: duration_text(getattr(task, name)) for name in SECONDS}
