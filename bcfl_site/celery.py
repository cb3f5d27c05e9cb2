"""The Celery application. Imported by parents of worker processes: never TensorFlow here."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bcfl_site.settings")

app = Celery("bcfl")
app.config_from_object("django.conf:settings", namespace="CELERY")
# `training` is no Django app, so it is named beside the installed ones.
app.autodiscover_tasks(["training"])
app.autodiscover_tasks()
