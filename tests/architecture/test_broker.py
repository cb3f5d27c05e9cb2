"""Tasks sent from a page or a command go to our Redis, whatever thread sends them."""

import threading

from celery import current_app
from django.conf import settings


def test_every_thread_sends_through_our_app() -> None:
    brokers: list[str] = []
    thread = threading.Thread(target=lambda: brokers.append(current_app.conf.broker_url))
    thread.start()
    thread.join()
    assert brokers == [settings.CELERY_BROKER_URL]
