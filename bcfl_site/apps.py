"""bcfl_site as a Django app: its commands, and Celery in every process."""

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "bcfl_site"

    def ready(self) -> None:
        """Make ours the app that shared tasks are sent through, in all threads."""
        from bcfl_site.celery import app

        app.set_default()
