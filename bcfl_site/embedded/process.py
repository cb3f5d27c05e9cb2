"""Starting and ending one child process, and the checks around it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Self

from .errors import DiskFull, NotReady, PortBusy

STOP_SECONDS = 8.0
READY_SECONDS = 30.0
_TROUBLE = re.compile(r"error|fatal|panic|exception|denied|in use|can't|cannot", re.IGNORECASE)


def free_port() -> int:
    """A TCP port nobody listens on right now, chosen by the system."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether ``host:port`` can be listened on."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def port_owner(port: int) -> str | None:
    """``name (pid n)`` of the process listening on a TCP port, where Linux tells us cheaply."""
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            listening = fields[3] == "0A"
            if listening and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in inodes for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue  # gone meanwhile, or another user's
    return None


def require_port(port: int, *, variable: str, purpose: str, host: str = "127.0.0.1") -> None:
    """Raise PortBusy, naming the port, its holder and the variable that changes it."""
    if port_is_free(port, host):
        return
    owner = port_owner(port)
    held = f"held by {owner}" if owner else "held by another program"
    raise PortBusy(
        f"port {port} ({purpose}) is {held}; stop it, or choose another port with {variable}=…"
    )


def require_space(folder: Path, *, megabytes: int) -> None:
    """Raise DiskFull when the disk under ``folder`` has less than ``megabytes`` MB free."""
    probe = folder
    while not probe.exists():
        probe = probe.parent
    free = shutil.disk_usage(probe).free // 1_000_000
    if free < megabytes:
        raise DiskFull(
            f"only {free} MB free on the disk of {folder}, {megabytes} MB are needed; "
            "make room, or choose another folder with BCFL_HOME=…"
        )


class ManagedProcess:
    """One child in a session of its own, its output in a log file.

    The base of the embedded services. ``start`` returns when the service really answers;
    ``stop`` sends SIGTERM to the child's whole group and SIGKILL after ``STOP_SECONDS``.
    """

    name = "process"

    def __init__(self, *, log_path: Path) -> None:
        self.log_path = log_path
        self._child: subprocess.Popen[bytes] | None = None

    def _command(self) -> Sequence[str | Path]:
        raise NotImplementedError

    def _answers(self) -> bool:
        """Whether the service answers; OSError counts as "not yet"."""
        raise NotImplementedError

    def _environment(self) -> Mapping[str, str]:
        return os.environ

    @property
    def pid(self) -> int:
        if self._child is None:
            raise NotReady(f"{self.name} was not started")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> Self:
        """Start the program and wait until it answers. Raises NotReady with the log's last line."""
        self.prepare()
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(
                [str(part) for part in self._command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self._environment()),
                start_new_session=True,
            )
        try:
            wait_until(
                self._answers,
                what=self.name,
                alive=lambda: self.running,
                hint=lambda: f"{self.log_path} says: {last_words(self.log_path)}",
            )
        except BaseException:
            self.stop()
            raise
        return self

    def prepare(self) -> None:
        """What must be on disk before the program starts."""

    def answers(self) -> bool:
        """Whether the service answers now."""
        try:
            return self._answers()
        except OSError:
            return False

    def become(self) -> NoReturn:
        """Replace this process by the program. Raises BinaryMissing."""
        self.prepare()
        command = [str(part) for part in self._command()]
        os.execve(command[0], command, dict(self._environment()))

    def stop(self) -> None:
        """End the child and all of its group. Does nothing when it is already gone."""
        if self._child is not None:
            end_group(self._child)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def end_group(child: "subprocess.Popen[bytes]", *, grace: float = STOP_SECONDS) -> None:
    """SIGTERM to the group of a child that leads its own session, SIGKILL for what stays."""
    if child.poll() is None:
        signal_group(child.pid, signal.SIGTERM)
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            signal_group(child.pid, signal.SIGKILL)
            child.wait()
    # The leader may have gone and left grandchildren in its group.
    signal_group(child.pid, signal.SIGKILL)


def signal_group(pgid: int, number: int) -> bool:
    """Signal a process group; False when nobody is left in it."""
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        return False
    return True


def wait_until(
    answers: Callable[[], bool],
    *,
    what: str,
    alive: Callable[[], bool] = lambda: True,
    hint: Callable[[], str] = lambda: "",
    seconds: float = READY_SECONDS,
) -> None:
    """Poll ``answers`` until it is true. Raises NotReady when the process died or time is up."""
    deadline = time.monotonic() + seconds
    pause = 0.01
    while True:
        try:
            if answers():
                return
        except OSError:
            pass  # "connection refused" while it is coming up is the normal case
        if not alive():
            raise NotReady(f"{what} ended while starting; {hint()}")
        if time.monotonic() > deadline:
            raise NotReady(f"{what} did not answer within {seconds:.0f} s; {hint()}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)


def last_words(path: Path) -> str:
    """The line of a log's end that says most: the last one naming an error, else the last one."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 4096))
            tail = log.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        return f"(unreadable: {error.strerror})"
    lines = [line.strip() for line in tail if line.strip()]
    telling = [line for line in lines if _TROUBLE.search(line)]
    return (telling or lines or ["(empty)"])[-1]
