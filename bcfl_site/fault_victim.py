"""A process to kill: `python -m bcfl_site.fault_victim` reads one JSON line per death.

It holds neither a thread nor a connection, so for each line it forks a child that opens its own,
works on the chain and the database as the follower or the sender does, and at the labelled line
ends itself with SIGKILL: no handler, no rollback, no goodbye. The answer is that child's exit
status: -9 when it died there, 0 when it never came by the line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Death:
    """`work`: "follow" or "send". `url`, `timeout`: of the node. `label`: of `chain.lines`."""

    work: str
    label: str
    url: str
    timeout: float
    network: int
    account: int


class Victims:
    """Starts the process above and has its children die. A context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bcfl_site.fault_victim"],
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def kill(self, death: Death) -> bool:
        """Whether the child reached the line, and died there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(death)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        status = int(answer) if answer.strip() else self._process.wait(30)
        if status not in (0, -signal.SIGKILL):
            raise RuntimeError(f"a process that was to die at “{death.label}” ended with {status}")
        return status == -signal.SIGKILL


def _environment() -> dict[str, str]:
    """What a process needs to find this process's database, queue, keys and deployment."""
    from django.conf import settings
    from django.db import connection

    used = connection.settings_dict
    if connection.vendor == "sqlite":
        database = f"sqlite:///{used['NAME']}"
    else:
        user = f"{quote(used['USER'])}:{quote(used['PASSWORD'])}"
        # A socket's folder stands in OPTIONS when the URL named it as ?host=.
        host = quote(used["HOST"] or used["OPTIONS"].get("host", ""), safe="")
        port = f":{used['PORT']}" if used["PORT"] else ""
        database = f"postgres://{user}@{host}{port}/{used['NAME']}"
    return os.environ | {
        "DATABASE_URL": database,
        "REDIS_URL": settings.REDIS_URL,
        "BCFL_HOME": str(settings.BCFL_HOME),
        "CHAIN_RPC_URL": settings.NETWORKS[settings.CHAIN_NETWORK]["rpc_url"],
        "DJANGO_SETTINGS_MODULE": "bcfl_site.settings",
        "LOG_LEVEL": "ERROR",
    }


def _die(death: Death) -> None:
    """In the forked child."""
    from bcfl_site.fault_projection import Silent
    from chain import lines
    from chain.artifacts import revert_decoder
    from chain.client import ChainClient
    from chain.errors import ChainError
    from chain.models import Network
    from chain.outbox import account_send
    from chain.sync import Follower

    def hook(reached: str) -> None:
        if reached == death.label:
            os.kill(os.getpid(), signal.SIGKILL)

    client = ChainClient(death.url, timeout=death.timeout, reverts=revert_decoder())
    lines.watch(hook)
    try:
        if death.work == "send":
            account_send(death.account, client=client)
        else:
            network = Network.objects.get(pk=death.network)
            Follower(client, network, Silent()).sync_once()
    except ChainError:
        return  # the node refused before the line was reached, as it may


def main() -> None:
    import django

    django.setup()
    for line in sys.stdin:
        death: dict[str, Any] = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                _die(Death(**death))
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
