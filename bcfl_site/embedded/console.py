"""What a user sees of the processes: their warnings and errors, one line each.

Everything they print goes to a log file each; the terminal gets what asks for attention.
"""

import datetime
import re
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from honcho.printer import Message, Printer

_LOUD = re.compile(r"\[(warning|error|critical)\s*\]|^Traceback |^Error: |^CRITICAL|^ERROR")
_OURS = re.compile(r"^\d\d:\d\d:\d\d \[")
_TRACEBACK = "Traceback (most recent call last):"
# What differs between two reports of one fault: task ids, hashes, counts.
_VARIABLE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|0x[0-9a-f]+|\d+", re.I)
REPEAT_SECONDS = 30.0
WIDEST_LINE = 400


class Console:
    """Takes honcho's messages, writes log files, prints the loud lines through honcho's Printer.

    ``all_lines``: print everything (``make up VERBOSE=1``). Safe to call from several threads.
    """

    def __init__(
        self,
        *,
        log_dir: Path,
        output: IO[str] | None = None,
        all_lines: bool = False,
        width: int = 8,
    ) -> None:
        log_dir.mkdir(parents=True, exist_ok=True)
        self._log_dir = log_dir
        self._all = all_lines
        self.muted = output is None
        self._printer = Printer(output or sys.stderr, width=width)
        self._lock = threading.Lock()
        self._logs: dict[str, IO[bytes]] = {}
        self._in_traceback: set[str] = set()
        self._shown_at: dict[tuple[str, str], float] = {}

    def log_path(self, name: str) -> Path:
        return self._log_dir / f"{name}.log"

    def line(self, message: Any) -> None:
        """One line a process printed (honcho Message of type ``line``)."""
        data = message.data
        raw = data if isinstance(data, bytes) else data.encode()
        with self._lock:
            log = self._logs.get(message.name)
            if log is None:
                log = self._logs[message.name] = self.log_path(message.name).open("ab", buffering=0)
            log.write(raw)
            if self.muted:
                return
            text = raw.decode("utf-8", "replace").rstrip()
            if self._all or (
                self._is_loud(message.name, text) and self._is_new(message.name, text)
            ):
                shown = text if len(text) <= WIDEST_LINE else text[:WIDEST_LINE] + " …"
                self._printer.write(message._replace(data=shown))

    def say(self, text: str, *, name: str = "up") -> None:
        """A line of our own."""
        if self.muted:
            return
        with self._lock:
            self._printer.write(
                Message(
                    type="line", data=text, time=datetime.datetime.now(), name=name, colour=None
                )
            )

    def close(self) -> None:
        with self._lock:
            for log in self._logs.values():
                log.close()
            self._logs.clear()

    def _is_loud(self, name: str, text: str) -> bool:
        """Whether a line asks for attention. Of a traceback only its last line does."""
        if text.startswith(_TRACEBACK):
            self._in_traceback.add(name)
            return False
        if name in self._in_traceback:
            if not text or text[0].isspace() or text.startswith(("During handling", "The above")):
                return False
            self._in_traceback.discard(name)
            return True
        return bool(_LOUD.search(text))

    def _is_new(self, name: str, text: str) -> bool:
        """False for a line like one shown a moment ago: a fault is reported, not hammered."""
        now = time.monotonic()
        key = (name, _VARIABLE.sub("#", _OURS.sub("", text)))
        last = self._shown_at.get(key)
        if last is not None and now - last < REPEAT_SECONDS:
            return False
        if len(self._shown_at) > 500:
            self._shown_at.clear()
        self._shown_at[key] = now
        return True
