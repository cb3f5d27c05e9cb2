"""Redis on a unix socket that only its owner can open. No TCP port, nothing kept on disk.

Nothing is lost by keeping nothing: queues and live messages are rebuilt from the database
by the orchestrator's tick.
"""

import socket
from collections.abc import Sequence
from pathlib import Path

from .binaries import redis_binary
from .process import ManagedProcess


class Redis(ManagedProcess):
    """``with Redis(socket_path=...) as redis`` gives it ready and ends it after."""

    name = "Redis"

    def __init__(self, *, socket_path: Path, log_path: Path) -> None:
        super().__init__(log_path=log_path)
        self.socket_path = socket_path

    @property
    def url(self) -> str:
        return f"unix://{self.socket_path}"

    def prepare(self) -> None:
        self.socket_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _command(self) -> Sequence[str | Path]:
        return [
            redis_binary(),
            "--port",
            "0",
            "--unixsocket",
            self.socket_path,
            "--unixsocketperm",
            "700",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            self.socket_path.parent,
            "--loglevel",
            "warning",
        ]

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")

    def stop(self) -> None:
        super().stop()
        self.socket_path.unlink(missing_ok=True)
