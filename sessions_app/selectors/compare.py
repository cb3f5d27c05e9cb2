"""Several tasks side by side. The number of queries does not depend on the number of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from django.db.models import Count, Sum

from sessions_app.models import Round, RoundRun, Task, TaskEvent
from sessions_app.selectors.pills import Pill, task_pill
from sessions_app.selectors.task.config import configuration_facts, task_config, term_facts

FEWEST, MOST = 2, 20
OFFERED = 60  # in the picker
COLOURS = 10
# Stroke patterns, so that lines differ without their colour: one for each run of the colours,
# and neighbours differ too.
DASHES = ("", "7 4", "2 3", "10 3 2 3")
FIGURE_COLUMNS = (
    "task",
    "title",
    "state",
    "participants",
    "rounds",
    "rounds_planned",
    "accuracy_percent",
    "best_accuracy_percent",
    "loss",
    "seconds",
    "seconds_a_round",
    "gas",
    "gas_a_round",
    "gas_per_accuracy_point",
    "pool_flt",
    "rewards_flt",
)
CURVE_COLUMNS = ("task", "title", "round", "accuracy_percent", "loss", "seconds", "gas")


@dataclass(frozen=True)
class ComparePoint:
    """Of a finished round: ``accuracy`` in per cent, held out; ``seconds`` and ``gas`` since the
    task began, summed over its rounds."""

    round: int
    accuracy: float | None
    loss: float | None
    seconds: float | None
    gas: int


@dataclass(frozen=True)
class Compared:
    """One task. ``key`` and ``dash`` are how its lines look."""

    task: Task
    pill: Pill
    key: int
    dash: str
    members: int
    points: Sequence[ComparePoint]
    rewards: int  # wei

    @property
    def last(self) -> ComparePoint | None:
        return self.points[-1] if self.points else None

    @property
    def accuracy(self) -> float | None:
        return self.last.accuracy if self.last else None

    @property
    def loss(self) -> float | None:
        return self.last.loss if self.last else None

    @property
    def seconds(self) -> float | None:
        return self.last.seconds if self.last else None

    @property
    def best(self) -> float | None:
        known = [p.accuracy for p in self.points if p.accuracy is not None]
        return max(known) if known else None

    @property
    def gas(self) -> int:
        return self.last.gas if self.last else 0

    @property
    def seconds_a_round(self) -> float | None:
        sums = [p.seconds for p in self.points if p.seconds is not None]
        steps = [b - a for a, b in zip([0.0, *sums], sums, strict=False)]
        return median(steps) if steps else None

    @property
    def gas_a_round(self) -> int | None:
        return round(self.gas / len(self.points)) if self.points else None

    @property
    def gas_per_point(self) -> int | None:
        """Gas of all rounds ÷ the best accuracy in per cent."""
        return round(self.gas / self.best) if self.best else None


@dataclass(frozen=True)
class ConfigRow:
    name: str
    values: Sequence[str]

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


@dataclass(frozen=True)
class RoundRow:
    """One round in all tasks; None where a task has not come so far."""

    round: int
    points: Sequence[ComparePoint | None]


@dataclass(frozen=True)
class Comparison:
    tasks: Sequence[Compared]
    config: Sequence[ConfigRow]

    @property
    def differing(self) -> list[ConfigRow]:
        return [row for row in self.config if row.differs]

    @property
    def rounds(self) -> list[RoundRow]:
        by_task = [{p.round: p for p in one.points} for one in self.tasks]
        last = max((max(points, default=0) for points in by_task), default=0)
        return [
            RoundRow(number, [points.get(number) for points in by_task])
            for number in range(1, last + 1)
        ]

    @property
    def query(self) -> str:
        return ",".join(str(one.task.pk) for one in self.tasks)

    def curves_json(self) -> list[dict[str, Any]]:
        return [
            {
                "task": one.task.pk,
                "title": one.task.title,
                "key": one.key,
                "dash": [int(part) for part in one.dash.split()],
                "points": [vars(point) for point in one.points],
            }
            for one in self.tasks
        ]

    def setting_records(self) -> tuple[list[str], list[dict[str, Any]]]:
        """The columns, and a record a setting: its value in each task."""
        names = [f"task_{one.task.pk}" for one in self.tasks]
        records = [
            {
                "setting": row.name,
                "differs": row.differs,
                **dict(zip(names, row.values, strict=True)),
            }
            for row in self.config
        ]
        return ["setting", "differs", *names], records

    def figures(self) -> list[dict[str, Any]]:
        """A record a task, under FIGURE_COLUMNS."""
        records = []
        for one in self.tasks:
            records.append(
                dict(
                    zip(
                        FIGURE_COLUMNS,
                        (
                            one.task.pk,
                            one.task.title,
                            one.pill.label,
                            one.members,
                            len(one.points),
                            one.task.rounds,
                            one.accuracy,
                            one.best,
                            one.loss,
                            one.seconds,
                            one.seconds_a_round,
                            one.gas,
                            one.gas_a_round,
                            one.gas_per_point,
                            (one.task.pool_funded or one.task.pool) / 10**18,
                            one.rewards / 10**18,
                        ),
                        strict=True,
                    )
                )
            )
        return records

    def curve_records(self) -> list[dict[str, Any]]:
        return [
            dict(
                zip(
                    CURVE_COLUMNS,
                    (one.task.pk, one.task.title, p.round, p.accuracy, p.loss, p.seconds, p.gas),
                    strict=True,
                )
            )
            for one in self.tasks
            for p in one.points
        ]


def compare_offered() -> list[Task]:
    """The newest tasks, for the picker."""
    return list(Task.objects.order_by("-pk").only("pk", "title", "stage", "phase")[:OFFERED])


def compare(pks: Sequence[int]) -> Comparison:
    """In the order given; tasks that do not exist are left out. Five queries."""
    found = Task.objects.select_related("owner").annotate(member_count=Count("members"))
    by_pk = {task.pk: task for task in found.filter(pk__in=pks)}
    tasks = [by_pk[pk] for pk in pks if pk in by_pk]
    points = _points(tasks)
    compared = [
        Compared(
            task=task,
            pill=task_pill(task),
            key=at % COLOURS + 1,
            dash=DASHES[(at + at // COLOURS) % len(DASHES)],
            members=task.member_count,
            points=points[task.pk],
            rewards=task.pool_allocated,
        )
        for at, task in enumerate(tasks)
    ]
    return Comparison(compared, _config_rows(tasks))


def _points(tasks: Sequence[Task]) -> dict[int, list[ComparePoint]]:
    pks = [task.pk for task in tasks]
    gas = {
        (row["task_id"], row["round_number"]): row["gas"]
        for row in TaskEvent.objects.filter(
            task__in=pks,
            round_number__isnull=False,
            name__in=(
                "UpdateSubmitted",
                "UpdatesRelayed",
                "ScoresSubmitted",
                "AggregateSubmitted",
            ),
        )
        .values("task_id", "round_number")
        .annotate(gas=Sum("log__transaction__gas_used"))
        .order_by()
    }
    runs = {
        (run.task_id, run.number): run
        for run in RoundRun.objects.filter(task__in=pks).defer("result")
    }
    points: dict[int, list[ComparePoint]] = {pk: [] for pk in pks}
    seconds: dict[int, float] = dict.fromkeys(pks, 0.0)
    spent: dict[int, int] = dict.fromkeys(pks, 0)
    finished = Round.objects.filter(task__in=pks, phase=Round.Phase.FINALIZED)
    for round_ in finished.order_by("task_id", "number"):
        pk, run = round_.task_id, runs.get((round_.task_id, round_.number))
        took = run.seconds if run else None
        seconds[pk] += took or 0.0
        spent[pk] += gas.get((pk, round_.number), 0)
        ppm = round_.accuracy_ppm
        points[pk].append(
            ComparePoint(
                round=round_.number,
                accuracy=None if ppm is None else ppm / 10_000,
                loss=run.loss if run else None,
                seconds=None if took is None else round(seconds[pk], 3),
                gas=spent[pk],
            )
        )
    return points


def _config_rows(tasks: Sequence[Task]) -> list[ConfigRow]:
    """Facts of all tasks by name; a dash where a task has none of that name."""
    facts = [
        {fact.name: fact.value for fact in (*configuration_facts(task_config(t)), *term_facts(t))}
        for t in tasks
    ]
    names = list(dict.fromkeys(name for of_task in facts for name in of_task))
    return [ConfigRow(name, [of_task.get(name, "–") for of_task in facts]) for name in names]
