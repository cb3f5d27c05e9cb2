"""A whole console as child processes: `make up`, `run_task --embedded` and the tests share it.

Redis and the chain first, then the database and the contracts, then everyone who uses them.
The training worker starts with the services: it imports TensorFlow (about 10 s) meanwhile.
"""

import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from .binaries import ROOT
from .console import Console
from .errors import EmbeddedError, NotReady
from .places import Places
from .process import end_group, free_port, last_words, wait_until
from .supervisor import Supervisor

# Addresses of outside services: a temporary stack must not inherit them.
EXTERNAL = ("REDIS_URL", "CHAIN_RPC_URL", "DATABASE_URL")
_NOT_INHERITED = (
    *EXTERNAL,
    "BLOB_ROOT",
    "SITE_URL",
    "ALLOWED_HOSTS",
    "SECRET_KEY",
    "BCFL_NOISE_SECRET",
    "BCFL_KEYSTORE_PASSWORD",
    "CHAIN_NETWORK",
    "CHAIN_ID",
)
PREPARE_SECONDS = 300.0
WEB_SECONDS = 120.0
SAVE_SECONDS = 120.0  # a chain of thousands of blocks is written while the machine is busy
SERVICES = ("redis", "chain")


class Stack:
    """``with Stack() as stack:`` gives a running console of its own and removes it after.

    ``home``: where it keeps everything; None makes a temporary folder, removed at the end.
    ``web``: whether pages are served (at ``stack.url``).
    ``settings``: further environment variables, e.g. ``{"TRAINING_PROCESSES": "1"}``.
    ``console``: None writes log files only.

    Raises EmbeddedError; nothing it started is left behind when it does.
    """

    def __init__(
        self,
        home: Path | None = None,
        *,
        web: bool = False,
        settings: Mapping[str, str] | None = None,
        console: Console | None = None,
    ) -> None:
        self._temporary = home is None
        folder = Path(tempfile.mkdtemp(prefix="bcfl-")) if home is None else home
        inherited = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
        inherited |= {
            "BCFL_HOME": str(folder),
            "BCFL_PORT": str(free_port()),
            "BCFL_CHAIN_PORT": str(free_port()),
            "BCFL_HOST": "127.0.0.1",
        }
        self._set_up(inherited | dict(settings or {}), web=web, console=console)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, console: Console) -> Self:
        """The stack the environment describes, with pages: what `make up` runs."""
        stack = cls.__new__(cls)
        stack._temporary = False
        stack._set_up(dict(environ), web=True, console=console)
        return stack

    def _set_up(self, environ: dict[str, str], *, web: bool, console: Console | None) -> None:
        self.places = Places.from_environment(environ)
        self.environment = child_environment(environ, self.places)
        self.web = web
        self._console = console or Console(log_dir=self.places.logs)
        self.supervisor = Supervisor(environment=self.environment, console=self._console)
        self._stopping = threading.Lock()

    @property
    def home(self) -> Path:
        return self.places.home

    @property
    def url(self) -> str:
        """Where the pages are, without a slash at the end."""
        return self.places.url.rstrip("/")

    @property
    def services(self) -> list[str]:
        """The embedded ones: those whose address the environment does not give."""
        given = {"redis": "REDIS_URL", "chain": "CHAIN_RPC_URL"}
        return [name for name in SERVICES if not self.environment.get(given[name])]

    @property
    def workers(self) -> list[str]:
        return [n for n in self.supervisor.names if n not in SERVICES and (self.web or n != "web")]

    def start(self, step: Callable[[str], None] = lambda _: None) -> Self:
        """Bring everything up; returns when it answers. ``step`` is told what happens."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            if self.services:
                step(f"starting {' and '.join(self.services)}")
                self.supervisor.start(*self.services)
            for name in self.services:
                self._await_service(name)
            self.supervisor.start("worker")
            step("preparing database, pages and contracts")
            self._prepare()
            step("starting control, follower" + (" and web" if self.web else ""))
            self.supervisor.start(*(n for n in self.workers if n != "worker"))
            if self.web:
                self._await_web()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End everyone: users of the services first, so that the chain saves a quiet state."""
        with self._stopping:
            self._console.muted = True
            self.supervisor.stop(*self.workers)
            self.supervisor.stop(*SERVICES, grace=SAVE_SECONDS)
            self._console.close()
            if "redis" in self.services:
                self.places.redis_socket.unlink(missing_ok=True)
            if self._temporary:
                shutil.rmtree(self.home, ignore_errors=True)

    def kill(self, name: str) -> None:
        """SIGKILL one process and its children, as a crash would."""
        self.supervisor.kill(name)

    def restart(self, name: str) -> None:
        """Start a process that ended."""
        self.supervisor.start(name)

    def manage(
        self, *arguments: str, input_text: str | None = None, seconds: float | None = None
    ) -> str:
        """Run a management command on this stack; returns what it printed on stdout.

        Raises EmbeddedError with the last telling line of stderr when it fails.
        """
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=self.environment,
            cwd=ROOT,
            input=input_text,
            text=True,
            capture_output=True,
            timeout=seconds,
        )
        if done.returncode != 0:
            words = [line for line in done.stderr.splitlines() if line.strip()] or ["(silent)"]
            raise EmbeddedError(
                f"manage.py {' '.join(arguments)} ended with {done.returncode}: {words[-1]}"
            )
        return done.stdout

    def run(self, *arguments: str) -> int:
        """Run a management command on this stack with our own stdin, stdout and stderr."""
        child = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), *arguments], env=self.environment, cwd=ROOT
        )
        try:
            return child.wait()
        except BaseException:
            child.terminate()
            child.wait()
            raise

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _await_service(self, name: str) -> None:
        service = self.places.redis() if name == "redis" else self.places.chain()
        wait_until(
            service.answers,
            what=service.name,
            alive=lambda: self.supervisor.running(name),
            hint=lambda: self._says(name),
        )

    def _await_web(self) -> None:
        wait_until(
            lambda: answers_http(self.places.web_port),
            what="the web server",
            alive=lambda: self.supervisor.running("web"),
            hint=lambda: self._says("web"),
            seconds=WEB_SECONDS,
        )

    def _says(self, name: str) -> str:
        path = self._console.log_path(name)
        return f"{path} says: {last_words(path)}"

    def _prepare(self) -> None:
        path = self._console.log_path("prepare")
        with path.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "bcfl_site.embedded.prepare"],
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            code = child.wait(PREPARE_SECONDS)
        except subprocess.TimeoutExpired:
            raise NotReady(
                f"preparing took more than {PREPARE_SECONDS:.0f} s; {self._says('prepare')}"
            ) from None
        finally:
            end_group(child)
        if code != 0:
            raise NotReady(f"preparing failed; {self._says('prepare')}")


def child_environment(environ: Mapping[str, str], places: Places) -> dict[str, str]:
    """What every process of a stack sees: this virtual environment first, these places."""
    programs = str(Path(sys.executable).parent)
    return {
        **environ,
        "PATH": os.pathsep.join([programs, environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "bcfl_site.settings",
        "BCFL_HOME": str(places.home),
        "BCFL_HOST": places.host,
        "BCFL_PORT": str(places.web_port),
        "BCFL_CHAIN_PORT": str(places.chain_port),
    }


def answers_http(port: int, *, path: str = "/", host: str = "127.0.0.1") -> bool:
    """Whether a page comes back without a server error. Raises OSError when nobody listens."""
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except http.client.HTTPException:
        return False
    finally:
        connection.close()
