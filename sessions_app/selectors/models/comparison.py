"""Two versions of a model beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sessions_app.selectors.models.registry import Version, bytes_of
from training.blobs import BlobStore
from training.errors import BlobCorrupt, TrainingError


@dataclass(frozen=True)
class Comparison:
    """`distance`: L2 norm of the difference of all weights, and relative to version `a`'s norm;
    None unless both are stored and intact."""

    a: Version
    b: Version
    accuracy_change_ppm: int | None
    loss_change: float | None
    distance: float | None
    relative: float | None
    trouble: str


def compare_versions(a: Version, b: Version) -> Comparison:
    distance = relative = None
    trouble = " ".join(found.trouble for found in (bytes_of(a), bytes_of(b)) if found.trouble)
    if not trouble:
        try:
            distance, norm = _distance(a.model_hash, b.model_hash)
            relative = distance / norm if norm else None
        except TrainingError as error:
            trouble = str(error)
    known = a.accuracy_ppm is not None and b.accuracy_ppm is not None
    return Comparison(
        a=a,
        b=b,
        accuracy_change_ppm=(b.accuracy_ppm or 0) - (a.accuracy_ppm or 0) if known else None,
        loss_change=b.loss - a.loss if a.loss is not None and b.loss is not None else None,
        distance=distance,
        relative=relative,
        trouble=trouble,
    )


@lru_cache(maxsize=256)
def _distance(first: str, second: str) -> tuple[float, float]:
    """‖second - first‖ and ‖first‖ over all tensors, in float64."""
    import numpy as np

    store = BlobStore.default()
    a, b = store.open_weights(first), store.open_weights(second)
    if {n: t.shape for n, t in a.items()} != {n: t.shape for n, t in b.items()}:
        raise BlobCorrupt("The two versions have other tensors, so no distance can be told.")
    squares = sum(float(np.square(b[n].astype(np.float64) - a[n]).sum()) for n in a)
    norm = sum(float(np.square(a[n].astype(np.float64)).sum()) for n in a)
    return squares**0.5, norm**0.5
