"""The processes of the Procfile, started in any order, ended all together.

Built from honcho's parts (Procfile, Process, Printer). honcho's own Manager starts
everything at once and cannot migrate a database between the database and its users.
"""

import os
import queue
import shlex
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from honcho.environ import parse_procfile
from honcho.process import Process

from .binaries import ROOT
from .console import Console
from .errors import EmbeddedError, NotReady
from .process import signal_group

LEASH = Path(__file__).with_name("leash.py")


@dataclass
class _Entry:
    """One run of one Procfile line. ``pid`` leads a session; ``code`` is set once it ended."""

    name: str
    thread: threading.Thread | None = None
    pid: int | None = None
    code: int | None = None
    expected: bool = False  # we asked it to end
    started: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def group(self) -> int:
        if self.pid is None:
            raise NotReady(f"{self.name} was not started")
        return self.pid


class Supervisor:
    """Runs Procfile entries as children of this process.

    ``ended`` is a queue of (name, exit code) of processes that ended without being asked.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        console: Console,
        procfile: Path = ROOT / "Procfile",
        folder: Path = ROOT,
    ) -> None:
        self._commands: dict[str, str] = dict(parse_procfile(procfile.read_text()).processes)
        self._environment = environment
        self._console = console
        self._folder = folder
        self._entries: dict[str, _Entry] = {}
        self.ended: queue.Queue[tuple[str, int]] = queue.Queue()

    @property
    def names(self) -> list[str]:
        return list(self._commands)

    def running(self, name: str) -> bool:
        entry = self._entries.get(name)
        return entry is not None and entry.pid is not None and not entry.ended.is_set()

    def pid(self, name: str) -> int:
        """The process id, which is also the process group's. Raises NotReady."""
        entry = self._entries.get(name)
        if entry is None or entry.pid is None or entry.ended.is_set():
            raise NotReady(f"{name} is not running")
        return entry.pid

    def start(self, *names: str) -> None:
        """Start Procfile entries; returns once each has a process id."""
        for name in names:
            if name not in self._commands:
                raise EmbeddedError(f"the Procfile has no '{name}', only {', '.join(self.names)}")
            if self.running(name):
                raise EmbeddedError(f"{name} is already running (pid {self.pid(name)})")
            self._entries[name] = self._launch(name)
        for name in names:
            entry = self._entries[name]
            while not entry.started.wait(0.05):
                if entry.thread is not None and not entry.thread.is_alive():
                    raise NotReady(f"{name} could not be started; see {self.log_path(name)}")

    def stop(self, *names: str, grace: float = 6.0) -> None:
        """SIGTERM to the groups of the named processes, SIGKILL after ``grace`` seconds."""
        entries = [self._entries[name] for name in names if self.running(name)]
        for entry in entries:
            entry.expected = True
            signal_group(entry.group, signal.SIGTERM)
        deadline = time.monotonic() + grace
        for entry in entries:
            if not entry.ended.wait(max(0.0, deadline - time.monotonic())):
                signal_group(entry.group, signal.SIGKILL)
        for entry in entries:
            if entry.thread is not None:
                entry.thread.join(10)

    def kill(self, name: str) -> None:
        """SIGKILL a process and its children, as a crash would, and wait for the end."""
        entry = self._entries[name]
        entry.expected = True
        signal_group(self.pid(name), signal.SIGKILL)
        entry.ended.wait()

    def log_path(self, name: str) -> Path:
        return self._console.log_path(name)

    def _launch(self, name: str) -> _Entry:
        entry = _Entry(name)
        command = f"exec {_quoted(sys.executable)} -I -S {_quoted(LEASH)} {self._commands[name]}"
        process = Process(
            command,
            name=name,
            colour=None,
            env={**self._environment, "BCFL_SUPERVISOR_PID": str(os.getpid())},
            cwd=str(self._folder),
        )
        events = _Events(entry, self._console, self.ended)
        entry.thread = threading.Thread(
            target=process.run, args=(events,), name=f"run-{name}", daemon=True
        )
        entry.thread.start()
        return entry


class _Events:
    """The queue honcho's Process puts its messages in: handled at once, in its thread."""

    def __init__(
        self, entry: _Entry, console: Console, ended: "queue.Queue[tuple[str, int]]"
    ) -> None:
        self._entry = entry
        self._console = console
        self._ended = ended

    def put(self, message: Any) -> None:
        if message.type == "line":
            self._console.line(message)
        elif message.type == "start":
            self._entry.pid = message.data["pid"]
            self._entry.started.set()
            threading.Thread(
                target=_end_group_with_leader, args=(self._entry.pid,), daemon=True
            ).start()
        elif message.type == "stop":
            code = int(message.data["returncode"])
            self._entry.code = code
            self._entry.ended.set()
            if not self._entry.expected:
                self._ended.put((self._entry.name, code))


def _end_group_with_leader(pid: int) -> None:
    """When a process dies, end what it leaves in its group.

    Orphans hold its output pipe open: honcho would take it for alive, and a killed worker's
    children would go on training.
    """
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return  # already collected, its group with it
    signal_group(pid, signal.SIGKILL)


def _quoted(value: object) -> str:
    return shlex.quote(str(value))
