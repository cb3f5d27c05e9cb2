"""One federated task from start to end without a browser."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sessions_app.errors import BcflError, NothingToClaim
from sessions_app.models import Task, User
from sessions_app.selectors.task.report import task_report
from sessions_app.services import demo
from sessions_app.services import tasks as task_services
from sessions_app.services.claims import rewards_claim
from sessions_app.services.hosted import default_evaluators
from training import private
from training.blobs import BlobStore
from training.canonical import keccak_hex
from training.errors import TrainingError
from training.schema import DataSchema
from training.specs import (
    ALGORITHMS,
    DATASETS,
    MODELS,
    PARTITIONS,
    REWARD_MODES,
    TaskConfig,
)

EXAMPLE = (
    "manage.py run_task --dataset digits --model mlp --participants 5 --rounds 5 "
    "--algorithm fedavg --seed 1 --wait --json"
)


class Command(BaseCommand):
    help = (
        "Create, fund and run a task on the running stack, or with --embedded on a temporary one "
        f"of its own. Progress goes to stderr. Example: {EXAMPLE}"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        default = TaskConfig()
        parser.add_argument("--title", default="", help="default: made from the settings")
        parser.add_argument("--dataset", choices=DATASETS, default=default.dataset.name)
        parser.add_argument(
            "--schema",
            metavar="FILE",
            help="JSON of the columns for --dataset private; without it, drawn from --evaluation",
        )
        parser.add_argument(
            "--evaluation", metavar="FILE", help="held-out samples for --dataset private"
        )
        parser.add_argument("--label", default="", help="the label's column in --evaluation")
        parser.add_argument("--partition", choices=PARTITIONS, default=default.dataset.partition)
        parser.add_argument("--alpha", type=float, default=default.dataset.alpha)
        parser.add_argument("--model", choices=MODELS, default=default.model.name)
        parser.add_argument("--algorithm", choices=ALGORITHMS, default=default.algorithm.name)
        parser.add_argument("--participants", type=int, default=default.participants)
        parser.add_argument("--rounds", type=int, default=default.rounds)
        parser.add_argument("--epochs", type=int, default=default.local.epochs)
        parser.add_argument("--batch-size", type=int, default=default.local.batch_size)
        parser.add_argument("--learning-rate", type=float, default=default.local.learning_rate)
        parser.add_argument("--reward-mode", choices=REWARD_MODES, default=default.reward_mode)
        parser.add_argument("--seed", type=int, default=default.seed)
        parser.add_argument("--pool", type=float, default=1_000.0, help="FLT (default 1000)")
        parser.add_argument("--stake", type=float, default=10.0, help="FLT each (default 10)")
        parser.add_argument("--evaluators", type=int, default=1, help="hosted ones (default 1)")
        parser.add_argument(
            "--outside-evaluator",
            action="append",
            default=[],
            metavar="ADDRESS",
            help="one who scores from their own machine; may be repeated",
        )
        parser.add_argument(
            "--hosted",
            type=int,
            default=None,
            metavar="N",
            help="places trained for here (default all); wallets and agents join the others",
        )
        parser.add_argument(
            "--least", type=int, default=None, metavar="N", help="participants that may start"
        )
        parser.add_argument("--join-seconds", type=int, default=3600)
        parser.add_argument("--update-seconds", type=int, default=600)
        parser.add_argument("--wait", action="store_true", help="until it has ended and is paid")
        parser.add_argument("--seconds", type=float, default=600.0, help="longest wait")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument(
            "--embedded", action="store_true", help="on a temporary stack, removed afterwards"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["embedded"]:
            sys.exit(_run_embedded())
        try:
            task = self._start(options)
            if options["wait"]:
                self._wait(task, options["seconds"])
        except (BcflError, TrainingError, TimeoutError) as error:
            raise CommandError(str(error)) from error
        task.refresh_from_db()
        if options["json"]:
            self.stdout.write(json.dumps(task_report(task), indent=2))
        else:
            self.stdout.write(f"task {task.pk}: {task.get_phase_display()}")

    def _start(self, options: dict[str, Any]) -> Task:
        config = TaskConfig.from_dict(
            {
                "dataset": {
                    "name": options["dataset"],
                    "partition": options["partition"],
                    "alpha": options["alpha"],
                    **_private(options),
                },
                "model": {"name": options["model"]},
                "algorithm": {"name": options["algorithm"]},
                "local": {
                    "epochs": options["epochs"],
                    "batch_size": options["batch_size"],
                    "learning_rate": options["learning_rate"],
                },
                "participants": options["participants"],
                "rounds": options["rounds"],
                "reward_mode": options["reward_mode"],
                "seed": options["seed"],
            }
        )
        demo.seed()
        owner = User.objects.select_related("account").get(username=demo.LOGINS[0].username)
        assert owner.account is not None
        pool = int(options["pool"] * task_services.FLT)
        demo.wait_for_tokens(owner.account.address, pool, seconds=60)
        title = options["title"] or (
            f"{options['dataset']}, {options['model']}, {options['participants']} participants"
        )
        task = task_services.task_create(
            owner=owner,
            title=title,
            config=config,
            pool=pool,
            stake=int(options["stake"] * task_services.FLT),
            evaluators=(default_evaluators(options["evaluators"]) if options["evaluators"] else ()),
            outside_evaluators=options["outside_evaluator"],
            hosted_places=options["hosted"],
            min_participants=options["least"],
            join_seconds=options["join_seconds"],
            update_seconds=options["update_seconds"],
        )
        return task_services.task_launch(task=task, by=owner)

    def _wait(self, task: Task, seconds: float) -> None:
        until = time.monotonic() + seconds
        bar = _Bar(self.stderr, task.rounds)
        while True:
            task.refresh_from_db()
            bar.show(task)
            if task.stage == Task.Stage.FAILED:
                raise TimeoutError(f"Task {task.pk} failed: {task.failure}")
            if task.is_finished:
                break
            self._check_time(task, until)
            time.sleep(0.05)
        self._claim(task, until)
        bar.end()

    def _claim(self, task: Task, until: float) -> None:
        owner = task.owner
        assert owner is not None
        # Those who joined from outside hold their keys and claim by themselves.
        hosted = task.seats.values_list("account__address", flat=True)
        members = task.members.filter(address__in=list(hosted))
        for member in members:
            try:
                rewards_claim(task=task, address=member.address, by=owner)
            except NothingToClaim:
                continue
        while (
            any(
                member.claimed < member.earned or member.stake_returned < member.stake
                for member in members.all()
            )
            or task.round_runs.filter(finalized_at=None).exists()
        ):
            self._check_time(task, until)
            time.sleep(0.05)

    @staticmethod
    def _check_time(task: Task, until: float) -> None:
        if time.monotonic() > until:
            raise TimeoutError(
                f"Task {task.pk} is still {task.get_phase_display().lower()} in round "
                f"{task.current_round} of {task.rounds}. Its page says what it waits for; "
                "--seconds allows more time."
            )


def _private(options: dict[str, Any]) -> dict[str, Any]:
    """The schema of a task on everyone's own data; its held-out samples go into the store."""
    if options["dataset"] != "private":
        return {}
    if not options["evaluation"]:
        raise CommandError("--dataset private needs --evaluation FILE and --label COLUMN.")
    path = Path(options["evaluation"])
    if options["schema"]:
        try:
            plain = json.loads(Path(options["schema"]).read_text())
        except (OSError, ValueError) as error:
            raise CommandError(f"{options['schema']} is no JSON file: {error}") from error
        # The hash and the number come from the samples themselves.
        draft = {"evaluation": "0x" + "0" * 64, "evaluation_samples": 2, **plain}
        schema = DataSchema.from_dict(draft)
        table = private.read(path, schema, options["label"])
        blob = private.evaluation_blob(table)
        schema = replace(schema, evaluation=keccak_hex(blob), evaluation_samples=len(table.y))
    else:
        schema, blob = private.describe(path, options["label"])
    BlobStore.default().put(blob)
    return {"schema": asdict(schema)}


class _Bar:
    """`round 3 of 5 [######----] accuracy 91.2 %`, on one line where a person watches."""

    WIDTH = 24

    def __init__(self, stream: Any, rounds: int) -> None:
        self._stream = stream
        self._rounds = rounds
        self._last = ""

    def show(self, task: Task) -> None:
        done = task.round_set.exclude(accuracy_ppm=None).order_by("-number").first()
        finished = done.number if done else 0
        filled = self.WIDTH * finished // self._rounds
        ppm = done.accuracy_ppm if done else None
        accuracy = task.stage if ppm is None else f"accuracy {ppm / 10_000:.1f} %"
        line = (
            f"round {finished} of {self._rounds} "
            f"[{'#' * filled}{'-' * (self.WIDTH - filled)}] {accuracy}"
        )
        if line == self._last:
            return
        self._last = line
        if self._stream.isatty():
            self._stream.write(f"\r\033[K{line}", ending="")
        else:
            self._stream.write(line)
        self._stream.flush()

    def end(self) -> None:
        if self._stream.isatty():
            self._stream.write("")


def _run_embedded() -> int:
    """The same command, without --embedded, on a stack of its own."""
    from bcfl_site.embedded.errors import EmbeddedError
    from bcfl_site.embedded.stack import Stack

    arguments = [a for a in sys.argv[1:] if a != "--embedded"]
    if "--wait" not in arguments:
        arguments.append("--wait")  # the stack ends with the command
    try:
        with Stack() as stack:
            return stack.run(*arguments)
    except EmbeddedError as error:
        raise CommandError(str(error)) from error
