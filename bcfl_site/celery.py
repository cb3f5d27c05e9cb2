"""The Celery application. Imported by parents of worker processes: never TensorFlow here."""

import os
from typing import Any

import structlog
from celery import Celery, bootsteps
from celery.beat import EmbeddedService
from celery.signals import setup_logging, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bcfl_site.settings")

log = structlog.get_logger(__name__)

app = Celery("bcfl")
app.config_from_object("django.conf:settings", namespace="CELERY")
# `training` is no Django app, so it is named beside the installed ones.
app.autodiscover_tasks(["training"])
app.autodiscover_tasks()


@setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Settings have configured logging; a receiver here keeps Celery from doing it again."""


@worker_ready.connect
def announce(**_: Any) -> None:
    log.info("worker ready", role=os.environ.get("BCFL_ROLE", ""))


class BeatBeside(bootsteps.StartStopStep):
    """Beat in a thread of the control worker.

    Celery's own ``-B`` forks a process out of one that already has threads.
    """

    requires = {"celery.worker.components:Pool"}

    def __init__(self, worker: Any, **_: Any) -> None:
        self.enabled = os.environ.get("BCFL_ROLE") == "control"
        self._beat: Any = None

    def start(self, worker: Any) -> None:
        # Service does not read beat_scheduler; its own default keeps a file.
        scheduler = worker.app.conf.beat_scheduler
        self._beat = EmbeddedService(worker.app, thread=True, scheduler_cls=scheduler)
        self._beat.start()

    def stop(self, worker: Any) -> None:
        if self._beat is not None:
            self._beat.stop()


app.steps["worker"].add(BeatBeside)
