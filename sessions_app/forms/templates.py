"""Templates that every console offers. Values as in the wizard's fields; the rest has defaults.

Each is checked by the tests: it makes a valid task, and one round of it trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class BuiltIn:
    key: str
    name: str
    description: str
    values: Mapping[str, str]


BUILT_IN: dict[str, BuiltIn] = {
    template.key: template
    for template in (
        BuiltIn(
            "first",
            "First try: digits in a minute",
            "Three sites, five short rounds on handwritten digits. The quickest way to see a "
            "curve climb and rewards arrive.",
            {
                "title": "First try: digits",
                "participants": "3",
                "rounds": "5",
                "local__epochs": "2",
                "pool": "100",
                "stake": "1",
            },
        ),
        BuiltIn(
            "hospitals",
            "Five hospitals: breast cancer, robust",
            "Uneven tumour records at five hospitals; Multi-Krum holds when one of them sends "
            "rubbish, and leaving each out in turn shows what it adds.",
            {
                "title": "Breast cancer, five hospitals",
                "dataset": "breast_cancer",
                "partition": "dirichlet",
                "partition__alpha": "1",
                "participants": "5",
                "model": "mlp",
                "model__hidden": "16",
                "rounds": "15",
                "algorithm": "multi_krum",
                "algorithm__liars": "0.2",
                "scoring": "leave_one_out",
                "pool": "1500",
                "stake": "50",
            },
        ),
        BuiltIn(
            "mnist",
            "MNIST, ten sites, convolutional",
            "The benchmark everyone knows, with a small convolutional network on ten even shares. "
            "Needs the MNIST files.",
            {
                "title": "MNIST, ten sites",
                "dataset": "mnist",
                "participants": "10",
                "model": "cnn",
                "model__filters": "16, 32",
                "model__dense": "128",
                "rounds": "20",
                "local__epochs": "2",
                "local__batch_size": "32",
                "local__learning_rate": "0.001",
                "pool": "5000",
            },
        ),
        BuiltIn(
            "noniid",
            "Non-IID stress",
            "Ten sites that know two digits each. FedProx holds their training near the global "
            "model; clone it with another algorithm and compare.",
            {
                "title": "Two digits each, ten sites",
                "partition": "shards",
                "partition__shards_per_participant": "2",
                "participants": "10",
                "rounds": "40",
                "algorithm": "fedprox",
                "algorithm__mu": "0.1",
                "local__epochs": "2",
                "pool": "2000",
            },
        ),
        BuiltIn(
            "shapley",
            "Paid by what each adds: Shapley",
            "Six sites with very different amounts of data, paid by exact Shapley values: every "
            "subset of the updates is averaged and measured.",
            {
                "title": "Six sites, paid by Shapley value",
                "partition": "quantity",
                "partition__alpha": "0.5",
                "participants": "6",
                "rounds": "10",
                "local__epochs": "2",
                "scoring": "shapley",
                "pool": "1000",
            },
        ),
        BuiltIn(
            "open",
            "Open call: others bring wallets",
            "Two places are trained here, three are open for a day to anyone with a wallet and "
            "the agent. It starts with any three.",
            {
                "title": "Open call, digits",
                "partition": "dirichlet",
                "participants": "5",
                "rounds": "10",
                "hosted_places": "2",
                "min_participants": "3",
                "join_seconds": "1 d",
                "update_seconds": "1 h",
                "pool": "1000",
                "stake": "25",
            },
        ),
    )
}
