"""What an agent remembers: one folder for each task and key, written in one step each time."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.errors import AgentError
from training.blobs import BlobStore

HOME_VARIABLE = "BCFL_AGENT_HOME"


def default_home() -> Path:
    return Path(os.environ.get(HOME_VARIABLE) or Path.home() / ".bcfl-agent")


class Home:
    """`facts` are of the whole task, `round(n)` of one round. Safe against a kill at any line: a
    reader sees the state before or after a write, never half of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "state.json"
        self.blobs = BlobStore(folder / "blobs")
        # training.data finds the held-out samples by it.
        os.environ["BLOB_ROOT"] = str(self.blobs.root)
        self._state = self._read()

    @property
    def facts(self) -> Mapping[str, Any]:
        facts: dict[str, Any] = self._state["facts"]
        return facts

    def round(self, number: int) -> Mapping[str, Any]:
        found: dict[str, Any] = self._state["rounds"].get(str(number), {})
        return found

    def note(self, number: int | None = None, **values: Any) -> None:
        """Remember facts of the task, or of round `number`."""
        if number is None:
            self._state["facts"].update(values)
        else:
            self._state["rounds"].setdefault(str(number), {}).update(values)
        self._write()

    def secret(self) -> bytes:
        """32 random bytes of this task's own, for the noise of private updates; made once. The
        same training gives the same noise after a restart, and nobody else can take it off."""
        path = self.folder / "noise.secret"
        try:
            return bytes.fromhex(path.read_text())
        except FileNotFoundError:
            pass
        made = secrets.token_bytes(32)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(made.hex())
        return made

    def _read(self) -> dict[str, Any]:
        try:
            state = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {"facts": {}, "rounds": {}}
        except (OSError, ValueError) as error:
            raise AgentError(
                f"{self._path} cannot be read ({error}). Move it away; the agent finds out again "
                "from the chain where it is."
            ) from error
        if not isinstance(state, dict) or not {"facts", "rounds"} <= state.keys():
            raise AgentError(f"{self._path} is not an agent's state. Move it away.")
        return state

    def _write(self) -> None:
        write_in_one_step(self._path, json.dumps(self._state, indent=1))


def write_in_one_step(path: Path, text: str) -> None:
    """Whoever reads sees the file before or after, and so does a machine that lost its power."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
