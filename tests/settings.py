"""The settings under test: the real ones, with a home of this run's own.

pytest-django loads settings before any conftest, so the environment is prepared here.
"""

import atexit
import os
import shutil
import tempfile

# Short, because a unix socket goes in it.
_home = tempfile.mkdtemp(prefix="bcfl-test-")
_owner = os.getpid()


def _remove_home() -> None:
    if os.getpid() == _owner:  # not in a forked child
        shutil.rmtree(_home, ignore_errors=True)


atexit.register(_remove_home)
for _name in (
    "REDIS_URL",
    "CHAIN_RPC_URL",
    "DATABASE_URL",
    "BLOB_ROOT",
    "SITE_URL",
    "SECRET_KEY",
    "ALLOWED_HOSTS",
    "DEBUG",
):
    os.environ.pop(_name, None)
os.environ["BCFL_HOME"] = _home
os.environ.setdefault("LOG_LEVEL", "WARNING")
# Synchronous Playwright runs an event loop in the test's thread; Django would refuse the ORM.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")

from bcfl_site.settings import *  # noqa: E402, F403
from bcfl_site.settings import BCFL_HOME, DATABASES  # noqa: E402

# A file, not memory: threads and WAL behave as in production.
DATABASES["default"]["TEST"] = {"NAME": str(BCFL_HOME / "test.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Pages are tested without Redis.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
