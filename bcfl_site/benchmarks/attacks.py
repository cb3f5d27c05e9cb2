"""What hostile participants do to each aggregation rule, and what they are paid for it."""

from __future__ import annotations

import tempfile
from argparse import ArgumentParser
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bcfl_site.benchmarks import columns
from training.attacks import ATTACKS, Attempt, flip_labels
from training.specs import ALGORITHMS, DATASETS, MODELS, SCORINGS

if TYPE_CHECKING:
    from training.blobs import BlobStore
    from training.specs import TaskConfig
    from training.weights import Weights

HELP = "Accuracy and pay with and without hostile participants, for each aggregation rule."

POOL = 10**21  # wei: 1,000 tokens
RULES = "fedavg,median,trimmed_mean,multi_krum,krum"
SCORING = "accuracy,leave_one_out,shapley"
TASK = 1


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--attack", choices=ATTACKS, default="sign_flip")
    parser.add_argument("--strength", type=float, help="default: the attack's usual one")
    parser.add_argument("--attackers", type=float, default=0.3, help="share of the participants")
    parser.add_argument("--participants", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rules", default=RULES, help=f"of {', '.join(ALGORITHMS)}")
    parser.add_argument("--scorings", default=SCORING, help=f"of {', '.join(SCORINGS)}")
    parser.add_argument("--dataset", choices=DATASETS, default="digits")
    parser.add_argument("--model", choices=MODELS, default="mlp")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)


def run(options: dict[str, Any]) -> dict[str, Any]:
    """{"attack", "attackers", ..., "rows": [{"rule", "clean", "attacked", "points", "rejected",
    "pay": {scoring: share of the pool}}]}, accuracies 0 to 1. `points` are lost against the same
    rule in an attack-free run: same data, seed, rounds and parameters. `held_out` samples and so
    one standard error of the accuracies, `error`, in points."""
    attack = ATTACKS[options["attack"]]
    strength = attack.strength if options["strength"] is None else options["strength"]
    hostile = round(options["attackers"] * options["participants"])
    rows = []
    for rule in options["rules"].split(","):
        config = _config(options, rule)
        with tempfile.TemporaryDirectory() as folder:
            from training.blobs import BlobStore

            blobs = BlobStore(folder)
            clean = _Task(config, blobs, attack.name, strength, 0).run([])
            attacked = _Task(config, blobs, attack.name, strength, hostile).run(
                options["scorings"].split(",")
            )
        rows.append(
            {
                "rule": rule,
                "clean": clean["accuracy"],
                "attacked": attacked["accuracy"],
                "points": 100 * (clean["accuracy"] - attacked["accuracy"]),
                "rejected": attacked["rejected"],
                "pay": attacked["pay"],
            }
        )
    names = ("dataset", "model", "participants", "rounds", "epochs", "seed")
    held_out = _held_out(config)
    best = max(row["clean"] for row in rows)
    return {
        "held_out": held_out,
        "error": 100 * (best * (1 - best) / held_out) ** 0.5,
        "attack": attack.name,
        "strength": strength,
        "attackers": hostile,
        **{name: options[name] for name in names},
        "rows": rows,
    }


def table(report: dict[str, Any]) -> str:
    scorings = list(report["rows"][0]["pay"])
    header = ["rule", "clean %", "attacked %", "points lost", "rejected"]
    header += [f"paid by {scoring} %" for scoring in scorings]
    rows = [
        [
            row["rule"],
            f"{100 * row['clean']:.1f}",
            f"{100 * row['attacked']:.1f}",
            f"{row['points']:.1f}",
            str(row["rejected"]),
            *(f"{100 * row['pay'][scoring]:.2f}" for scoring in scorings),
        ]
        for row in report["rows"]
    ]
    return (
        f"{report['attackers']} of {report['participants']} participants: {report['attack']} × "
        f"{report['strength']:g}; {report['dataset']}, {report['model']}, {report['rounds']} "
        f"rounds, E = {report['epochs']}, {report['held_out']:,} held-out samples (one standard "
        f"error: {report['error']:.1f} points). Accuracy after the last round, points lost "
        f"against the same rule without an attack, and what the attackers get of the pool.\n\n"
        + columns(header, rows)
    )


def _held_out(config: TaskConfig) -> int:
    from training import data

    return len(data.holdout(config))


def _config(options: dict[str, Any], rule: str) -> TaskConfig:
    from training.specs import TaskConfig

    known = {parameter.name for parameter in ALGORITHMS[rule].parameters}
    wanted = {"trim": options["attackers"], "liars": options["attackers"]}
    return TaskConfig.from_dict(
        {
            "dataset": {"name": options["dataset"]},
            "model": {"name": options["model"]},
            "algorithm": {
                "name": rule,
                "params": {name: value for name, value in wanted.items() if name in known},
            },
            "local": {"epochs": options["epochs"]},
            "participants": options["participants"],
            "rounds": options["rounds"],
            "seed": options["seed"],
        }
    )


class _Task:
    """A whole task in this process, through the code that a worker runs. The last `hostile`
    participants attack."""

    def __init__(
        self, config: TaskConfig, blobs: BlobStore, attack: str, strength: float, hostile: int
    ) -> None:
        self.config, self.blobs = config, blobs
        self.attack, self.strength = ATTACKS[attack], strength
        self.honest = config.participants - hostile
        self.members = [f"0x{slot + 1:040x}" for slot in range(config.participants)]

    def run(self, scorings: list[str]) -> dict[str, Any]:
        from training import local
        from training.round import aggregate_round
        from training.scoring import add_rewards, rewards, round_reward
        from training.weights import encode

        model_ref = self.blobs.put(encode(local.initial_weights(self.config)))
        earned: dict[str, dict[str, int]] = {scoring: {} for scoring in scorings}
        state_ref, rejected, accuracy = "", 0, 0.0
        for number in range(1, self.config.rounds + 1):
            job = self._job(number, model_ref, state_ref)
            result = aggregate_round(job, self.blobs, local.evaluate)
            for scoring in scorings:
                scored = result
                if scoring != self.config.scoring:
                    config = replace(self.config, scoring=scoring, scoring_params={}).to_dict()
                    scored = aggregate_round(
                        replace(job, config=config), self.blobs, local.evaluate
                    )
                amount = round_reward(POOL, self.config.rounds, number)
                paid = rewards(scored.scores, "score", scored.samples, amount)
                earned[scoring] = add_rewards(earned[scoring], paid)
            model_ref, state_ref = result.model_hash, result.state_ref
            rejected += len(result.rejected)
            accuracy = result.accuracy
        hostile = self.members[self.honest :]
        return {
            "accuracy": accuracy,
            "rejected": rejected,
            "pay": {
                scoring: sum(amounts.get(one, 0) for one in hostile) / POOL
                for scoring, amounts in earned.items()
            },
        }

    def _job(self, number: int, model_ref: str, state_ref: str) -> Any:
        from training import data, local
        from training.data import PURPOSE_SHUFFLE, generator
        from training.specs import AggregateJob, UpdateRef
        from training.weights import encode

        reference = self.blobs.open_weights(model_ref)
        learnt: list[Weights] = []
        for slot in range(self.config.participants):
            share = data.share(self.config, slot)
            if slot >= self.honest and self.attack.on_data:
                share = flip_labels(share, data.load(self.config.dataset).classes)
            rng = generator(self.config.seed, PURPOSE_SHUFFLE, number, slot)
            learnt.append(local.fit(self.config, reference, share, rng)[0])
        sent = [
            *learnt[: self.honest],
            *(
                self.attack.craft(
                    Attempt(
                        reference,
                        learnt[slot],
                        learnt[self.honest :],
                        learnt[: self.honest],
                        generator(self.config.seed, 99, number, slot),
                        self.strength,
                    )
                )
                for slot in range(self.honest, self.config.participants)
            ),
        ]
        updates = [
            UpdateRef(
                self.members[slot],
                self.blobs.put(encode(weights)),
                len(data.share(self.config, slot)),
                slot,
            )
            for slot, weights in enumerate(sent)
        ]
        return AggregateJob(
            self.config.to_dict(), TASK, number, model_ref, updates, self.members, state_ref
        )
