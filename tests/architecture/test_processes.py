"""Which process loads TensorFlow: only children of the training and serving workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
START = "import django; django.setup()"
WEB = f"{START}; import bcfl_site.urls, bcfl_site.asgi"
CELERY = "from bcfl_site.celery import app; app.loader.import_default_modules()"


@pytest.mark.parametrize(
    ("code", "role"), [(WEB, ""), (CELERY, "training"), (CELERY, "serving"), (CELERY, "control")]
)
def test_tensorflow_is_not_loaded(code: str, role: str, tmp_path: Path) -> None:
    shown = "import sys; print(*{name.split('.')[0] for name in sys.modules})"
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}; {shown}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "bcfl_site.settings",
            "BCFL_HOME": str(tmp_path),
            "BCFL_ROLE": role,
        },
    )
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stdout.split())
    assert {"django", "sessions_app", "chain"} <= loaded
    assert loaded & {"tensorflow", "keras"} == set()


def test_every_periodic_task_exists() -> None:
    from django.conf import settings

    from bcfl_site.celery import app

    app.loader.import_default_modules()
    named = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert named <= set(app.tasks)


def test_training_goes_to_the_processes_that_can_train() -> None:
    from bcfl_site.celery import app

    app.loader.import_default_modules()
    queues = {name: app.amqp.router.route({}, name)["queue"].name for name in app.tasks}
    ours = {n: q for n, q in queues.items() if not n.startswith("celery.")}
    assert ours, "no task of ours is registered"
    for name, queue in ours.items():
        room, module, *_ = name.split(".")
        assert queue == (module.replace("tasks", "training") if room == "training" else "control")
