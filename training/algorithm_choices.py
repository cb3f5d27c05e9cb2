"""The aggregation algorithms a task may choose from. Pure."""

from __future__ import annotations

from training.parameters import Choice, Parameter, table

# The norm bound belongs to every algorithm: it is what keeps one huge update from deciding all.
_NORM_BOUND = Parameter(
    "norm_bound",
    "Largest update",
    "Updates further than this (L2) from the global model are rejected.",
    "float",
    100.0,
    0.001,
    1e6,
)

# One object per name: forms show a parameter once for all the algorithms that have it.
_LIARS = Parameter(
    "liars",
    "Liars",
    "Share of the updates that may be hostile, rounded down. Of n updates at most (n - 3) ÷ 2.",
    "float",
    0.2,
    0.0,
    0.49,
)

_ADAPTIVE = (
    Parameter(
        "adaptive_rate",
        "Server step η",
        "Length of the server's step; 0.01 to 0.1 suit most tasks.",
        "float",
        0.05,
        1e-6,
        10.0,
    ),
    Parameter(
        "beta_1", "Memory β₁", "How slowly the mean update is forgotten.", "float", 0.9, 0.0, 0.999
    ),
    Parameter(
        "beta_2", "Memory β₂", "How slowly its square is forgotten.", "float", 0.99, 0.0, 0.9999
    ),
    Parameter(
        "tau", "Adaptivity τ", "The smaller, the more the step adapts.", "float", 1e-3, 1e-9, 1.0
    ),
)

ALGORITHMS: dict[str, Choice] = table(
    Choice(
        "fedavg",
        "FedAvg",
        "Averages the participants' models, weighted by their samples (McMahan et al. 2017).",
        (_NORM_BOUND,),
    ),
    Choice(
        "fedsgd",
        "FedSGD",
        "One plain gradient step on all of a participant's samples per round, then averaged: "
        "local epochs, batch size and optimizer are not used (McMahan et al. 2017).",
        (_NORM_BOUND,),
    ),
    Choice(
        "fedprox",
        "FedProx",
        "FedAvg whose local training is held near the global model; for uneven data "
        "(Li et al. 2020).",
        (
            Parameter(
                "mu",
                "Pull μ",
                "Strength of the pull to the global model; 0 is FedAvg.",
                "float",
                0.01,
                0.0,
                10.0,
            ),
            _NORM_BOUND,
        ),
    ),
    Choice(
        "fedavgm",
        "FedAvgM",
        "FedAvg whose server keeps moving the way it was going; steadier on uneven data "
        "(Hsu et al. 2019).",
        (
            Parameter(
                "server_rate",
                "Server rate η",
                "Length of the server's step; with momentum β the steps add up to η ÷ (1 - β).",
                "float",
                0.5,
                1e-6,
                10.0,
            ),
            Parameter(
                "server_momentum",
                "Server momentum β",
                "Share of the last step that is taken again.",
                "float",
                0.5,
                0.0,
                0.999,
            ),
            _NORM_BOUND,
        ),
    ),
    Choice(
        "fedadam",
        "FedAdam",
        "The server treats the mean update as a gradient for Adam (Reddi et al. 2021).",
        (*_ADAPTIVE, _NORM_BOUND),
    ),
    Choice(
        "fedyogi",
        "FedYogi",
        "As FedAdam, but its step sizes change more calmly (Reddi et al. 2021).",
        (*_ADAPTIVE, _NORM_BOUND),
    ),
    Choice(
        "median",
        "Coordinate median",
        "Takes the middle value of each weight, so fewer than half can lie; samples do not "
        "count (Yin et al. 2018).",
        (_NORM_BOUND,),
    ),
    Choice(
        "trimmed_mean",
        "Trimmed mean",
        "Drops the highest and lowest values of each weight, then averages; samples do not "
        "count (Yin et al. 2018).",
        (
            Parameter(
                "trim",
                "Trim",
                "Share of the updates dropped at each end, rounded down.",
                "float",
                0.2,
                0.0,
                0.49,
            ),
            _NORM_BOUND,
        ),
    ),
    Choice(
        "krum",
        "Krum",
        "Takes the one update that is nearest to its neighbours; survives liars, wastes the "
        "rest (Blanchard et al. 2017).",
        (_LIARS, _NORM_BOUND),
    ),
    Choice(
        "multi_krum",
        "Multi-Krum",
        "Drops as many updates as there may be liars, the outermost first, and averages the "
        "rest; samples do not count (Blanchard et al. 2017).",
        (_LIARS, _NORM_BOUND),
    ),
    Choice(
        "score_mean",
        "Score-weighted mean",
        "Averages, weighted by each update's own accuracy on the held-out samples.",
        (_NORM_BOUND,),
    ),
    Choice(
        "score_median",
        "Score-weighted median",
        "The middle value of each weight, counting updates by their accuracy on the held-out "
        "samples.",
        (_NORM_BOUND,),
    ),
    Choice(
        "blockflow",
        "BlockFLow",
        "Averages, weighted by the median of all judges' scores and by how honestly a "
        "participant judged; with one evaluator the same as the score-weighted mean "
        "(Mugunthan et al. 2020).",
        (_NORM_BOUND,),
    ),
)
