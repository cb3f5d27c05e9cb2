"""Local training: our engine as the workers run it, beside a model rebuilt and `fit` per client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from django.conf import settings

from bcfl_site.benchmarks.workers import Round, Workers, jobs, train, workers
from training.specs import DATASETS

if TYPE_CHECKING:
    from training.specs import TaskConfig

HELP = "A round of local training: our engine beside a Keras model rebuilt for every client."

# name: (model, its parameters); McMahan et al. 2017 has 1,663,370 weights on 28 × 28 pixels.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "lenet": ("cnn", {"filters": [6, 16], "kernel": 5, "dense": 120}),
    "mcmahan": ("cnn", {"filters": [32, 64], "kernel": 5, "dense": 512}),
    "mlp": ("mlp", {"hidden": [64]}),
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--participants", type=int, default=10)
    parser.add_argument("--samples", type=int, default=600, help="of each participant")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--model", choices=MODELS, default="lenet")
    parser.add_argument("--dataset", choices=DATASETS, default="fashion_mnist")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--many", action="store_true", help="also ten times the participants with a tenth each"
    )


def run(options: dict[str, Any]) -> dict[str, Any]:
    """Seconds per round of both sides, alternating, and their medians' ratio."""
    config = _config(options, options["participants"], options["samples"])
    with (
        tempfile.TemporaryDirectory() as folder,
        workers(options["workers"], folder) as pool,
        _plain(config, options["participants"], folder) as plain,
    ):
        model_ref = pool.start(config)
        plain()  # both sides have compiled once before anything is timed
        many = _Many(pool, options) if options["many"] else None
        ours, theirs, cpu, losses = [], [], [], []
        for number in range(1, options["rounds"] + 1):
            done = pool.one_round(config, range(options["participants"]), number, model_ref)
            model_ref = done.model_ref
            ours.append(done.seconds)
            if many:
                many.round(number, beside=done)
            answer = plain()
            theirs.append(answer["seconds"])
            cpu.append((done.cpu_seconds, answer["cpu_seconds"]))
            losses.append((done.loss, answer["loss"]))
        samples = options["participants"] * options["samples"] * options["epochs"]
        report = {
            **{name: options[name] for name in ("dataset", "model", "participants", "samples")},
            **{name: options[name] for name in ("batch_size", "epochs", "workers")},
            "ours_seconds": ours,
            "plain_seconds": theirs,
            "ours_samples_per_second": samples / median(ours),
            "plain_samples_per_second": samples / median(theirs),
            "speedup": median(theirs) / median(ours),
            "cpu_seconds": cpu,
            "cpu_ratio": median(plain for _, plain in cpu) / median(mine for mine, _ in cpu),
            "losses": losses,
            "overhead_ms": 1000 * pool.ask(_overhead, _tenth(options).to_dict(), model_ref),
        }
        if many:
            report["many"] = many.report()
    return report


def table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['model']} on {report['dataset']}: {report['participants']} participants × "
        f"{report['samples']} samples, B = {report['batch_size']}, E = {report['epochs']}, "
        f"{report['workers']} worker processes; seconds per round",
        "ours   "
        + " ".join(f"{value:8.3f}" for value in report["ours_seconds"])
        + f"   {report['ours_samples_per_second']:8,.0f} samples/s",
        "plain  "
        + " ".join(f"{value:8.3f}" for value in report["plain_seconds"])
        + f"   {report['plain_samples_per_second']:8,.0f} samples/s",
        f"{report['speedup']:.2f} times as fast (medians), "
        f"{report['cpu_ratio']:.2f} times by processor time; "
        f"{report['overhead_ms']:.1f} ms per participant beyond the gradient steps",
        "mean training loss of the rounds, ours and plain: "
        + ", ".join(f"{ours:.3f} {plain:.3f}" for ours, plain in report["losses"]),
    ]
    if "many" in report:
        many = report["many"]
        lines.append(
            f"{many['participants']} participants × {many['samples']} samples: "
            f"{median(many['seconds']):.3f} s a round, {many['ratio']:.2f} times the one of few "
            f"before it (medians); training alone {many['training_ratio']:.2f} times"
        )
    return "\n".join(lines)


def _config(options: dict[str, Any], participants: int, samples: int) -> TaskConfig:
    """A task whose first `participants` shares have `samples` each."""
    from training.specs import DatasetSpec, TaskConfig

    name, params = MODELS[options["model"]]
    shares = DatasetSpec(options["dataset"]).training_samples // samples
    return TaskConfig.from_dict(
        {
            "dataset": {"name": options["dataset"]},
            "model": {"name": name, "params": params},
            "local": {
                "epochs": options["epochs"],
                "batch_size": options["batch_size"],
                "learning_rate": 0.05,
                "optimizer": "sgd",
            },
            "participants": max(participants, min(shares, 1000)),
            "seed": options["seed"],
        }
    )


def _tenth(options: dict[str, Any]) -> TaskConfig:
    """Ten times the participants with a tenth of the samples each."""
    return _config(options, 10 * options["participants"], options["samples"] // 10)


@contextmanager
def _plain(config: TaskConfig, participants: int, folder: str) -> Iterator[Any]:
    import numpy as np

    from training import data

    shares = [data.share(config, slot) for slot in range(participants)]
    arrays: dict[str, Any] = {f"x{slot}": share.x for slot, share in enumerate(shares)}
    arrays |= {f"y{slot}": share.y for slot, share in enumerate(shares)}
    np.savez(Path(folder) / "shares.npz", **arrays)
    task = {
        "data": str(Path(folder) / "shares.npz"),
        "model": config.to_dict()["model"],
        "batch_size": config.local.batch_size,
        "epochs": config.local.epochs,
        "learning_rate": config.local.learning_rate,
        "classes": config.dataset.classes,
        "seed": config.seed,
    }
    script = Path(settings.BASE_DIR) / "examples" / "plain_keras.py"
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout
        stdin.write(json.dumps(task) + "\n")

        def plain_round() -> dict[str, float]:
            stdin.write("round\n")
            stdin.flush()
            answer: dict[str, float] = json.loads(stdout.readline())
            return answer

        yield plain_round
        stdin.close()


def _overhead(config: dict[str, Any], model_ref: str) -> float:
    """Processor seconds of a participant's job that do not grow with its steps:
    2·T(E) - T(2·E). On a busy machine wall time would mostly measure the others, and with many
    steps their own noise would be larger than what is left."""
    from training.specs import TaskConfig

    once = TaskConfig.from_dict(config)
    twice = dict(config, local={**config["local"], "epochs": 2 * once.local.epochs})
    seconds: list[list[float]] = [[], []]
    for number in range(42):
        for at, spec in enumerate((once, TaskConfig.from_dict(twice))):
            seconds[at].append(train(jobs(spec, [0], number, model_ref))[1])
    single, double = (median(values[2:]) for values in seconds)  # the first two compile
    return 2 * single - double


class _Many:
    """The rounds of `_tenth`."""

    def __init__(self, pool: Workers, options: dict[str, Any]) -> None:
        self._pool = pool
        self._samples = options["samples"] // 10
        self._slots = range(10 * options["participants"])
        self._config = _tenth(options)
        self._model_ref = pool.start(self._config)
        self._pairs: list[tuple[Round, Round]] = []  # many, few

    def round(self, number: int, beside: Round) -> None:
        done = self._pool.one_round(self._config, self._slots, number, self._model_ref)
        self._model_ref = done.model_ref
        self._pairs.append((done, beside))

    def report(self) -> dict[str, Any]:
        """The ratios are medians of the rounds', each beside the round of few just before it."""
        return {
            "participants": len(self._slots),
            "samples": self._samples,
            "seconds": [many.seconds for many, _ in self._pairs],
            "ratio": median(many.seconds / few.seconds for many, few in self._pairs),
            "training_ratio": median(
                many.training_seconds / few.training_seconds for many, few in self._pairs
            ),
        }
