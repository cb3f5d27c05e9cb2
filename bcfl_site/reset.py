"""`make reset`: forget the database, the chain and the models of BCFL_HOME; keep the packages."""

import os
import shutil
import sys

from bcfl_site.embedded.errors import EmbeddedError
from bcfl_site.embedded.places import Places
from bcfl_site.up import Lock

# By name, so that a BCFL_HOME pointing somewhere else costs nothing that is not ours.
OURS = (
    "db.sqlite3",
    "db.sqlite3-shm",
    "db.sqlite3-wal",
    "redis.sock",
    "anvil",
    "blobs",
    "deployments",
    "keystores",
    "static",
    "logs",
    "keystore.secret",
    "secret.key",
)


def main() -> int:
    try:
        home = Places.from_environment(os.environ).home
        with Lock(home / "up.lock", url="make reset"):
            for name in OURS:
                path = home / name
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
    except (EmbeddedError, ValueError) as error:
        print(f"make reset: {error}")  # noqa: T201
        return 1
    print(f"{home} is empty; `make up` starts from nothing")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
