"""Percentiles as the benchmarks print them."""

from __future__ import annotations

from collections.abc import Iterable


def percentiles(values: Iterable[float], digits: int = 1) -> dict[str, float]:
    """p50, p95 and p99 of at least one value: the smallest that so many do not exceed."""
    ordered = sorted(values)
    return {
        f"p{share}": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], digits)
        for share in (50, 95, 99)
    }
