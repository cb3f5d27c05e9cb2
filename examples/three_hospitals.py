"""Files for docs/three-hospitals.md: `python examples/three_hospitals.py FOLDER`.

The Wisconsin breast cancer data (569 tumours, with scikit-learn) as if three hospitals of
different size had collected it. The first sees mostly benign cases. `operator.csv` is what the
operator holds out; it is in nobody's file.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

HELD_OUT = 0.2
SIZES = (0.5, 0.3, 0.2)


def write(folder: Path) -> list[Path]:
    """The four files; the same each time."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in raw.feature_names]
    rng = np.random.Generator(np.random.PCG64(7))
    order = rng.permutation(len(raw.target))
    cut = int(HELD_OUT * len(order))
    held, rest = order[:cut], order[cut:]
    # Sorted by a noisy class: mostly benign first, mostly malignant last.
    rest = rest[np.argsort(-raw.target[rest] + rng.normal(0, 1.5, len(rest)), kind="stable")]
    ends = np.round(np.cumsum(SIZES)[:-1] * len(rest)).astype(int)
    parts = {"operator": held}
    parts |= {f"hospital-{i + 1}": part for i, part in enumerate(np.split(rest, ends))}
    paths = []
    for name, rows in parts.items():
        path = folder / f"{name}.csv"
        with path.open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["patient", *names, "diagnosis"])
            for row in rows:
                diagnosis = str(raw.target_names[raw.target[row]])
                lines.writerow([f"P{row:04d}", *(repr(float(v)) for v in raw.data[row]), diagnosis])
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write(Path(sys.argv[1] if len(sys.argv) > 1 else "hospitals")):
        print(written)  # noqa: T201
