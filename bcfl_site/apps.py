from django.apps import AppConfig


class BcflSiteConfig(AppConfig):
    name = "bcfl_site"
    verbose_name = "BCFL Console"

    def ready(self) -> None:
        # Whoever sends a task (a page, a command, the follower) must send it to our broker.
        import bcfl_site.celery  # noqa: F401
