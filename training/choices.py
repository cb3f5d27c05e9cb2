"""What a task may choose from: one table per kind of choice.

The web form, the command line and the checks in `training.specs` all read these tables, so
an option is offered exactly when it works. Pure: no Django, Celery, web3 or TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.algorithm_choices import ALGORITHMS
from training.architecture import check_layers
from training.errors import SpecError
from training.parameters import Choice, DatasetChoice, ModelChoice, Parameter, table
from training.privacy_choices import PRIVACY

__all__ = [
    "ALGORITHMS",
    "DATASETS",
    "HOLDOUT",
    "LOCAL_PARAMETERS",
    "MODELS",
    "OPTIMIZERS",
    "PARTITIONS",
    "PRIVACY",
    "REWARD_MODES",
    "SCORINGS",
    "TASK_PARAMETERS",
    "Choice",
    "DatasetChoice",
    "ModelChoice",
    "Parameter",
]


class LayersChoice(ModelChoice):
    """A model whose one parameter is the list of its layers."""

    def check_params(self, field: str, params: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(params, Mapping) or params.keys() - {"layers"}:
            raise SpecError(field, params, 'an object with "layers" alone', "Remove the rest.")
        default = [{"layer": "Flatten"}, {"layer": "Dense", "units": 64, "activation": "relu"}]
        return {"layers": check_layers(f"{field}.layers", params.get("layers", default))}


DATASETS: dict[str, DatasetChoice] = table(
    DatasetChoice(
        "digits",
        "Handwritten digits",
        "1,797 handwritten digits of 8 × 8 grey pixels, ten classes (UCI, with scikit-learn).",
        samples=1797,
        classes=10,
        input_shape=(8, 8),
    ),
    DatasetChoice(
        "breast_cancer",
        "Breast cancer (Wisconsin)",
        "569 tumours described by 30 measurements, benign or malignant (UCI, with scikit-learn).",
        samples=569,
        classes=2,
        input_shape=(30,),
    ),
    DatasetChoice(
        "mnist",
        "MNIST",
        "70,000 handwritten digits of 28 × 28 grey pixels; its 10,000 test samples are held out. "
        "Needs its files in BCFL_DATA_DIR (LeCun et al. 1998).",
        samples=70_000,
        classes=10,
        input_shape=(28, 28),
        test_samples=10_000,
        from_files=True,
    ),
    DatasetChoice(
        "fashion_mnist",
        "Fashion-MNIST",
        "70,000 pieces of clothing of 28 × 28 grey pixels; its 10,000 test samples are held out. "
        "Needs its files in BCFL_DATA_DIR (Xiao et al. 2017).",
        samples=70_000,
        classes=10,
        input_shape=(28, 28),
        test_samples=10_000,
        from_files=True,
    ),
    DatasetChoice(
        "own",
        "Your own file",
        "A CSV or NPZ file in the data folder of this machine, dealt out like the other sets.",
        from_files=True,
    ),
    DatasetChoice(
        "private",
        "Everyone's own data",
        "Each participant trains on a file that never leaves their machine. You say which columns "
        "it has and give the held-out samples.",
    ),
)

PARTITIONS: dict[str, Choice] = table(
    Choice("iid", "Even and mixed", "Everyone gets the same amount, drawn at random."),
    Choice(
        "dirichlet",
        "Uneven classes (Dirichlet)",
        "Each class is split by a Dirichlet(α) draw: the smaller α, the more one-sided the shares.",
        (
            Parameter(
                "alpha",
                "Evenness α",
                "0.1 is very uneven, 1 mild, 100 nearly even.",
                "float",
                0.5,
                0.01,
                1000.0,
            ),
        ),
    ),
    Choice(
        "shards",
        "A few classes each (shards)",
        "Samples sorted by class and dealt in equal shards, as in McMahan et al. 2017.",
        (
            Parameter(
                "shards_per_participant",
                "Shards each",
                "2 gives most participants two classes.",
                "int",
                2,
                1,
                100,
            ),
        ),
    ),
    Choice(
        "quantity",
        "Uneven amounts",
        "Everyone has all classes, but amounts follow a Dirichlet(α) draw.",
        (
            Parameter(
                "alpha",
                "Evenness α",
                "0.1 is very uneven, 1 mild, 100 nearly even.",
                "float",
                0.5,
                0.01,
                1000.0,
            ),
        ),
    ),
)

MODELS: dict[str, ModelChoice] = table(
    ModelChoice(
        "logistic",
        "Logistic regression",
        "One linear layer: the smallest model, quick and hard to beat on tabular data.",
    ),
    ModelChoice(
        "mlp",
        "Multi-layer perceptron",
        "Fully connected layers with ReLU: a good first choice.",
        (
            Parameter(
                "hidden",
                "Hidden layers",
                "Units of each hidden layer, first to last.",
                "ints",
                [64],
                1,
                4096,
                max_items=8,
                unit="units",
            ),
        ),
    ),
    ModelChoice(
        "cnn",
        "Small convolutional network",
        "LeNet-like: blocks of convolution and pooling, then one dense layer. For images.",
        (
            Parameter(
                "filters",
                "Filters",
                "Filters of each convolution block; every block halves the picture.",
                "ints",
                [8, 16],
                1,
                256,
                max_items=4,
                unit="filters",
            ),
            Parameter("kernel", "Kernel", "Side of the filters.", "int", 3, 1, 7, unit="pixels"),
            Parameter(
                "dense", "Dense layer", "Units before the output.", "int", 64, 1, 4096, unit="units"
            ),
        ),
        image_only=True,
    ),
    ModelChoice(
        "resnet",
        "Small residual network",
        "Convolutions with shortcuts and group normalisation, after ResNet; for colour images of "
        "32 × 32 (He et al. 2016).",
        (
            Parameter(
                "stages",
                "Stages",
                "Filters of each stage; between two stages the picture is halved.",
                "ints",
                [16, 32, 64],
                4,
                256,
                max_items=4,
                unit="filters",
            ),
            Parameter(
                "blocks", "Blocks", "Residual blocks in each stage.", "int", 1, 1, 4, unit="blocks"
            ),
        ),
        image_only=True,
    ),
    LayersChoice(
        "layers",
        "Your own layers",
        "An architecture of your own, of the layers that everyone's agent knows.",
    ),
)

OPTIMIZERS: dict[str, Choice] = table(
    Choice("adam", "Adam", "Adapts the step per weight; needs little tuning."),
    Choice("sgd", "SGD", "Plain gradient steps, with momentum if wanted."),
)

_ERRORS = Parameter(
    "errors",
    "Beyond chance",
    "A gain counts when it is more than so many standard errors above zero, on these held-out "
    "samples: by luck 1 of 740 is beyond 3, 1 of 44 beyond 2. 0 counts luck too. Where no gain "
    "counts, the updates' own accuracy does.",
    "float",
    2.0,
    0.0,
    10.0,
    quiet=True,
)

SCORINGS: dict[str, Choice] = table(
    Choice(
        "accuracy",
        "Accuracy",
        "Each update is scored by its own accuracy on the held-out samples; one evaluation each.",
    ),
    Choice(
        "marginal_gain",
        "Marginal gain",
        "By how much an update alone beats the global model it started from; one evaluation each "
        "and one more.",
        (_ERRORS,),
    ),
    Choice(
        "leave_one_out",
        "Leave one out",
        "By how much the new global model gets worse without the update; as many averages and "
        "evaluations as updates, and one more.",
        (_ERRORS,),
    ),
    Choice(
        "shapley",
        "Shapley, exact",
        "An update's gain over every subset of the others; 2ⁿ averages and evaluations for n "
        "updates, so at most 10 participants (1,024).",
        (_ERRORS,),
    ),
    Choice(
        "shapley_sampled",
        "Shapley, sampled",
        "The same, over random orders that stop once nothing more is gained; up to n averages "
        "and evaluations per order (Ghorbani and Zou 2019).",
        (
            Parameter(
                "permutations",
                "Orders",
                "Random orders of the updates; the error halves with four times as many.",
                "int",
                20,
                1,
                10_000,
            ),
            Parameter(
                "tolerance",
                "Tolerance",
                "An order stops when its accuracy is this close to everyone's together.",
                "float",
                0.002,
                0.0,
                0.5,
            ),
            _ERRORS,
        ),
    ),
)

REWARD_MODES: dict[str, Choice] = table(
    Choice("score", "By score", "The round's reward is split in proportion to the scores."),
    Choice("samples", "By samples", "Split in proportion to the samples each trained on."),
    Choice("equal", "Equally", "Everyone whose update was accepted earns the same."),
)

HOLDOUT = Parameter(
    "holdout",
    "Held out",
    "Share of the samples nobody trains on, kept to measure accuracy.",
    "float",
    0.2,
    0.05,
    0.5,
)

LOCAL_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "epochs",
        "Local epochs",
        "Passes over a participant's own samples per round.",
        "int",
        5,
        1,
        100,
    ),
    Parameter(
        "batch_size", "Batch size", "Samples per gradient step.", "int", 16, 1, 4096, unit="samples"
    ),
    Parameter("learning_rate", "Learning rate", "Length of a step.", "float", 0.005, 1e-6, 10.0),
    Parameter(
        "optimizer",
        "Optimizer",
        "How a gradient becomes a step; its state starts fresh in every round.",
        "choice",
        "adam",
        options=tuple(OPTIMIZERS),
    ),
    Parameter("momentum", "Momentum", "For SGD only; Adam ignores it.", "float", 0.0, 0.0, 0.999),
)

TASK_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "participants",
        "Participants",
        "Places: one share of the data each, or a file of their own.",
        "int",
        5,
        1,
        1000,
    ),
    Parameter("rounds", "Rounds", "Server rounds until the task completes.", "int", 5, 1, 1000),
    Parameter(
        "seed",
        "Seed",
        "Everything random follows from it: the same seed gives the same model hashes.",
        "int",
        1,
        0,
        2**53 - 1,
    ),
)
