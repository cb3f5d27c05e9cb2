"""What a task may choose to hide of its participants. Pure."""

from __future__ import annotations

from training.parameters import Choice, Parameter, table

PRIVACY: dict[str, Choice] = table(
    Choice("none", "None", "Updates are submitted as they were trained."),
    Choice(
        "gaussian",
        "Clip and add noise",
        "Each participant clips its update and adds Gaussian noise before anyone sees it: "
        "differential privacy for its whole data set. Costs accuracy; small models and many "
        "participants lose least (Abadi et al. 2016, McMahan et al. 2018).",
        (
            Parameter(
                "clip",
                "Clip length C",
                "Longer updates (L2 distance from the global model) are shortened to it.",
                "float",
                1.0,
                1e-4,
                1e4,
            ),
            Parameter(
                "noise",
                "Noise multiplier z",
                "Standard deviation of the noise on every weight, in clip lengths. 1 protects one "
                "round well; more rounds need more.",
                "float",
                1.0,
                1e-3,
                1e3,
            ),
            Parameter(
                "delta",
                "δ",
                "Chance that the promise of ε fails; below 1 ÷ participants.",
                "float",
                1e-5,
                1e-12,
                0.1,
            ),
        ),
    ),
)
