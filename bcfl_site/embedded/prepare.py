"""``python -m bcfl_site.embedded.prepare``: what must be done before a stack's processes run.

Migrations, static files, and on the development chain the contracts. One process for all of
it, because starting Django is most of the time. Each step is a no-op when nothing changed.
"""

import hashlib
import os
from pathlib import Path


def prepare() -> None:
    from django.conf import settings
    from django.core.management import call_command

    say("migrations")
    call_command("migrate", interactive=False, verbosity=0)
    say("static files")
    collect_static(Path(settings.STATIC_ROOT))
    if settings.CHAIN_NETWORK == "dev":
        say("contracts")
        call_command("deploy_contracts", network=settings.CHAIN_NETWORK)
    say("done")


def say(step: str) -> None:
    print(f"prepare: {step}", flush=True)  # noqa: T201


def collect_static(root: Path) -> None:
    """Run `collectstatic` when a source file changed since the last time."""
    from django.core.management import call_command

    stamp, digest = root / ".sources", _sources_digest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    call_command("collectstatic", interactive=False, verbosity=0, clear=True)
    stamp.write_text(digest)


def _sources_digest() -> str:
    from django.contrib.staticfiles.finders import get_finders

    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list(None):
            path = storage.path(name)
            status = os.stat(path)
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bcfl_site.settings")
    import django

    django.setup()
    prepare()


if __name__ == "__main__":
    main()
