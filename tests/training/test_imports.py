"""TensorFlow, Django and Celery stay where they belong."""

import subprocess
import sys
from pathlib import Path

import pytest

import training

ROOT = Path(training.__file__).parent
WITH_TENSORFLOW = {"local", "programs", "zoo", "export", "runtime"}
WITH_CELERY = {"tasks"}
ALL = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}


def modules_loaded_by(names: set[str]) -> set[str]:
    imports = "; ".join(f"import training.{name}" for name in sorted(names))
    code = f"{imports}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
    )
    return set(ran.stdout.split())


@pytest.mark.parametrize(
    ("names", "absent"),
    [
        (ALL - WITH_TENSORFLOW, {"tensorflow", "keras", "web3", "sessions_app", "chain"}),
        # Celery imports a corner of Django by itself, so Django is looked for without it.
        (ALL - WITH_TENSORFLOW - WITH_CELERY, {"celery", "kombu", "sklearn", "django"}),
    ],
    ids=["worker parent", "pure"],
)
def test_heavy_packages_are_not_imported(names: set[str], absent: set[str]) -> None:
    loaded = modules_loaded_by(names)
    assert "training" in loaded
    assert loaded & absent == set()
