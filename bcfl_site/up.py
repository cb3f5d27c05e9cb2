"""`make up`: the whole console on this machine, until Ctrl-C.

Says what it does in a few lines, then only what asks for attention. Every refusal is one line.
"""

import fcntl
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import IO, Any
from urllib.parse import urlsplit

from bcfl_site.embedded.binaries import foundry_binary, redis_binary
from bcfl_site.embedded.console import Console
from bcfl_site.embedded.errors import AlreadyRunning, EmbeddedError, NotReady
from bcfl_site.embedded.places import Places
from bcfl_site.embedded.process import require_port, require_space
from bcfl_site.embedded.stack import SERVICES, Stack

FREE_MEGABYTES = 300
SEED_SECONDS = 120
# A process that ends is started again, this often within a minute; then the console gives up.
RESTARTS = 4
RESTART_WINDOW = 60.0
DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "http": 80, "ws": 80, "https": 443, "wss": 443}


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: end everything and leave."""


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _up(os.environ)
    except EmbeddedError as error:
        _print(f"make up: {error}")
        return 1
    except OSError as error:
        _print(f"make up: {error.strerror}: {error.filename or ''}".rstrip(": "))
        return 1
    except Interrupted:
        return 0


def _interrupt(signum: int, frame: FrameType | None) -> None:
    # Once: a second Ctrl-C must not cut off the orderly end of the children.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted


def _up(environ: Mapping[str, str]) -> int:
    try:
        places = Places.from_environment(environ)
    except ValueError as error:
        raise EmbeddedError(str(error)) from None
    with Lock(places.home / "up.lock", url=places.url):
        check(places, environ)
        verbose = bool(environ.get("VERBOSE"))
        console = Console(log_dir=places.logs, output=sys.stdout, all_lines=verbose)
        stack = Stack.from_environment(environ, console=console)
        try:
            stack.start(step=console.say)
            logins = seed(stack, console)
            _print(banner(stack, logins))
            return watch(stack, console)
        finally:
            console.muted = True
            _print("ending …")
            stack.stop()
            _print("ended")


class Lock:
    """One `make up` per folder. The system lets go of it when the holder dies, however it dies."""

    def __init__(self, path: Path, *, url: str) -> None:
        self._path = path
        self._url = url
        self._file: IO[str] | None = None

    def __enter__(self) -> "Lock":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "by another process"
            self._file.close()
            raise AlreadyRunning(
                f"already running in {self._path.parent}: {holder}; end it with Ctrl-C there, "
                "or choose another folder and ports with BCFL_HOME=… BCFL_PORT=… BCFL_CHAIN_PORT=…"
            ) from None
        self._file.truncate(0)
        self._file.write(f"{self._url} (pid {os.getpid()})")
        self._file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()


def check(places: Places, environ: Mapping[str, str]) -> None:
    """Everything that can be known before starting. Raises EmbeddedError with one line."""
    require_space(places.home, megabytes=FREE_MEGABYTES)
    require_port(places.web_port, variable="BCFL_PORT", purpose="web pages", host=places.host)
    if url := environ.get("CHAIN_RPC_URL"):
        require_answer("CHAIN_RPC_URL", url)
    else:
        foundry_binary("anvil")
        require_port(places.chain_port, variable="BCFL_CHAIN_PORT", purpose="development chain")
    if url := environ.get("REDIS_URL"):
        require_answer("REDIS_URL", url)
    else:
        redis_binary()
    if (url := environ.get("DATABASE_URL")) and not url.startswith("sqlite"):
        require_answer("DATABASE_URL", url)


def require_answer(variable: str, url: str) -> None:
    """Raise NotReady when nobody listens at an outside service's address.

    The message names host and port only: the URL may hold a password.
    """
    parts = urlsplit(url)
    try:
        if parts.scheme in {"unix", "redis+socket"}:
            address = parts.path
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(5)
                probe.connect(address)
            return
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 5432)
        address = f"{parts.hostname}:{port}"
        with socket.create_connection((parts.hostname or "", port), timeout=5):
            return
    except (OSError, ValueError) as error:
        raise NotReady(
            f"{variable} names {address}, which does not answer ({error}); start it, correct the "
            "address, or unset the variable to use the embedded service"
        ) from None


def seed(stack: Stack, console: Console) -> list[dict[str, str]]:
    """Logins and the demo task on the development chain. Empty on any other network.

    The chain's own trouble (a follower that refuses to go on) is more useful than the
    time-out it causes, so the console has shown it by then.
    """
    if stack.environment.get("CHAIN_NETWORK", "dev") != "dev":
        return []
    console.say("logins and demo task")
    wanted = ["seed_demo", "--json", "--seconds", str(SEED_SECONDS)]
    if stack.environment.get("BCFL_DEMO", "1") != "0":
        wanted.append("--task")
    try:
        answer = stack.manage(*wanted, seconds=SEED_SECONDS + 60)
    except EmbeddedError as error:
        console.say(f"the demo could not be set up: {error}")
        return []
    logins: list[dict[str, str]] = json.loads(answer.splitlines()[-1])
    return logins


def banner(stack: Stack, logins: list[dict[str, str]]) -> str:
    """The block a user looks for: address, logins, where the logs are, how to end."""
    lines = [f"BCFL Console   {stack.url}", ""]
    if logins:
        widths = [max(len(login[key]) for login in logins) for key in ("role", "username")]
        lines += [
            f"{login['role']:<{widths[0]}}   {login['username']:<{widths[1]}}   {login['password']}"
            for login in logins
        ]
    else:
        lines.append("make an admin login: python manage.py createsuperuser")
    lines += ["", f"logs  {stack.home / 'logs'}", "end   Ctrl-C"]
    width = max(map(len, lines))
    rule = "─" * (width + 2)
    body = "\n".join(f"│ {line:<{width}} │" for line in lines)
    return f"\n┌{rule}┐\n{body}\n└{rule}┘\n"


def watch(stack: Stack, console: Console) -> int:
    """Until a service is lost or a process will not stay up. Ctrl-C leaves by Interrupted."""
    history: dict[str, deque[float]] = {}
    while True:
        try:
            # With a time limit, so that signals are handled on every system.
            name, code = stack.supervisor.ended.get(timeout=0.5)
        except queue.Empty:
            continue
        log = stack.supervisor.log_path(name)
        if name in SERVICES:
            console.say(f"{name} ended with {code}; see {log}. Start again with `make up`.")
            return 1
        times = history.setdefault(name, deque(maxlen=RESTARTS))
        now = time.monotonic()
        if len(times) == RESTARTS and now - times[0] < RESTART_WINDOW:
            console.say(f"{name} ended {RESTARTS + 1} times within a minute; see {log}.")
            return 1
        times.append(now)
        console.say(f"{name} ended with {code}; starting it again (log: {log})")
        threading.Event().wait(1.0)
        stack.restart(name)


def _print(text: Any) -> None:
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:
        # The terminal or pipe is gone; what must end still ends.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


if __name__ == "__main__":
    sys.exit(main())
