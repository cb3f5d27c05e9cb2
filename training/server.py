"""Server optimisers: the mean update is a gradient, and the server takes a step with memory. Pure.

Reddi et al. 2021 (arXiv 2003.00295), algorithm 2; FedAvgM is Hsu et al. 2019 (arXiv 1909.06335).
Elementwise float64 with correctly rounded square root and division, kept as float32: the same
bits everywhere, and after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import DataError
from training.updates import ServerState
from training.weights import Float32, Weights

_Step = Callable[[Any, Any], Any]
Float64 = npt.NDArray[np.float64]


def momentum_step(
    params: Mapping[str, Any], state: ServerState, mean: Mapping[str, Float64]
) -> ServerState:
    """v ← β v + Δ; w ← w + η v, with Δ = mean - w and v = 0 at first."""
    rate, beta = params["server_rate"], params["server_momentum"]
    weights: dict[str, Float32] = {}
    memory: dict[str, Float32] = {}
    for name, before in state.weights.items():
        delta = mean[name].reshape(before.shape) - before
        velocity = _recall(state, "velocity", name, 0.0).astype(np.float64) * beta + delta
        memory[f"velocity/{name}"] = velocity.astype(np.float32)
        weights[name] = (before + rate * velocity).astype(np.float32)
    return ServerState(weights, memory)


def adam_second(beta: float) -> _Step:
    return lambda second, square: beta * second + (1.0 - beta) * square


def yogi_second(beta: float) -> _Step:
    """Moves towards Δ² by a step that does not grow with the gap: Zaheer et al. 2018."""
    return lambda second, square: second - (1.0 - beta) * square * np.sign(second - square)


def adaptive_step(
    params: Mapping[str, Any],
    state: ServerState,
    mean: Mapping[str, Float64],
    second_moment: Callable[[float], _Step],
) -> ServerState:
    """m ← β₁ m + (1 - β₁) Δ; v by `second_moment`; w ← w + η m ÷ (√v + τ), v = τ² at first."""
    rate, tau, beta_1 = params["adaptive_rate"], params["tau"], params["beta_1"]
    follow = second_moment(params["beta_2"])
    weights: dict[str, Float32] = {}
    memory: dict[str, Float32] = {}
    for name, before in state.weights.items():
        delta = mean[name].reshape(before.shape) - before
        first = _recall(state, "first", name, 0.0).astype(np.float64)
        second = _recall(state, "second", name, tau * tau).astype(np.float64)
        first = beta_1 * first + (1.0 - beta_1) * delta
        second = follow(second, delta * delta)
        memory[f"first/{name}"] = first.astype(np.float32)
        memory[f"second/{name}"] = second.astype(np.float32)
        weights[name] = (before + rate * first / (np.sqrt(second) + tau)).astype(np.float32)
    return ServerState(weights, memory)


def _recall(state: ServerState, kind: str, name: str, first: float) -> Float32:
    """What the server remembers of a tensor; `first` everywhere before the first round."""
    like = state.weights[name]
    if not state.memory:
        return np.full(like.shape, first, dtype=np.float32)
    found = state.memory.get(f"{kind}/{name}")
    if found is None or found.shape != like.shape:
        has = "none" if found is None else f"shape {list(found.shape)}"
        raise DataError(
            f"the server's state has {has} for {kind}/{name}, but the model needs "
            f"{list(like.shape)}. Use the state of this task's round before."
        )
    return found


def check_memory(memory: Weights) -> None:
    """DataError unless all of it is finite (and so can be carried on with)."""
    for name, tensor in memory.items():
        if not np.isfinite(tensor).all():
            raise DataError(
                f"the server's state {name} overflowed. Use a smaller server step or norm bound."
            )
