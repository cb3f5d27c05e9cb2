"""Small weights, updates and stores for the tests of this room."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from training import data
from training.aggregation import Update
from training.specs import TaskConfig
from training.weights import Float32, Weights


def address(number: int) -> str:
    return f"0x{number:040x}"


def tensors(**values: Sequence[object]) -> dict[str, Float32]:
    return {name: np.array(value, dtype=np.float32) for name, value in values.items()}


def update(number: int, samples: int, weights: Weights) -> Update:
    return Update(address(number), samples, lambda: weights)


@dataclass(frozen=True)
class Evaluation:
    accuracy: float
    loss: float
    correct: int
    total: int
    right: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(1, np.bool_))


def logistic_weights(config: TaskConfig, rng: np.random.Generator) -> dict[str, Float32]:
    """Weights as training.zoo's logistic model names them."""
    dataset = data.load(config.dataset)
    features = int(np.prod(dataset.x.shape[1:]))
    return {
        "logits/kernel": rng.normal(0, 0.1, (features, dataset.classes)).astype(np.float32),
        "logits/bias": np.zeros(dataset.classes, dtype=np.float32),
    }


def evaluate_logistic(config: TaskConfig, weights: Mapping[str, Float32]) -> Evaluation:
    """Logistic regression on the held-out samples in NumPy: the real thing, minus TensorFlow."""
    held = data.holdout(config)
    logits = _logits(weights, held.x)
    right = logits.argmax(axis=1) == held.y
    correct = int(right.sum())
    losses = -np.log(softmax(logits)[np.arange(len(held)), held.y])
    return Evaluation(correct / len(held), float(losses.mean()), correct, len(held), right)


def gradient_logistic(
    weights: Mapping[str, Float32], x: npt.NDArray[np.float32], y: npt.NDArray[np.int32]
) -> dict[str, npt.NDArray[np.float64]]:
    """Gradient of the mean cross-entropy, by hand."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    error = softmax(_logits(weights, x))
    error[np.arange(len(y)), y] -= 1.0
    return {"logits/kernel": flat.T @ error / len(y), "logits/bias": error.mean(axis=0)}


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _logits(weights: Mapping[str, Float32], x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    flat = x.reshape(len(x), -1).astype(np.float64)
    return np.asarray(flat @ weights["logits/kernel"].astype(np.float64) + weights["logits/bias"])
