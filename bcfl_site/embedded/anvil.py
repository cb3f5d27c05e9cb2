"""An Ethereum development chain: Foundry's Anvil, mining one block per transaction."""

import http.client
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .binaries import foundry_binary
from .errors import NotReady
from .process import ManagedProcess, free_port

CHAIN_ID = 31337
# The mnemonic every Ethereum development tool knows. Its keys are public: never fund them
# on a real network.
DEV_MNEMONIC = "test test test test test test test test test test test junk"
# The first accounts of the mnemonic start with 10,000 ETH each: enough for a hundred hosted
# participants; more are given gas money by the treasury.
PREFUNDED_ACCOUNTS = 128
STATE_SECONDS = 2
# States of past blocks kept for `eth_call` at an old block and for reorgs. Without the bound
# memory grows with every block; blocks, transactions and logs are kept whatever its value.
HISTORY_STATES = 128


class Anvil(ManagedProcess):
    """Anvil on ``host:port``; ``with Anvil(...) as chain`` gives it ready and ends it after.

    ``home``: folder for the state file, so that the chain survives a restart. None: the
    chain lives in memory and ``log_path`` must be given.
    ``port``: None takes a random free one. HTTP and WebSocket share it.
    """

    name = "Anvil"

    def __init__(
        self,
        home: Path | None = None,
        *,
        port: int | None = None,
        host: str = "127.0.0.1",
        chain_id: int = CHAIN_ID,
        accounts: int = PREFUNDED_ACCOUNTS,
        state_seconds: int = STATE_SECONDS,
        history: int | None = HISTORY_STATES,
        log_path: Path | None = None,
        extra: Sequence[str] = (),
    ) -> None:
        if home is None and log_path is None:
            raise ValueError("Anvil without a home folder needs a log_path")
        super().__init__(log_path=log_path or Path(str(home)) / "anvil.log")
        self.home = home
        self.port = port if port is not None else free_port()
        self.host = host
        self.chain_id = chain_id
        self._accounts = accounts
        self._state_seconds = state_seconds
        self._history = history
        self._extra = tuple(extra)

    @property
    def rpc_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self.host}:{self.port}"

    @property
    def state_path(self) -> Path | None:
        return self.home / "state.json" if self.home else None

    def _command(self) -> Sequence[str | Path]:
        command: list[str | Path] = [
            foundry_binary("anvil"),
            "--host",
            self.host,
            "--port",
            str(self.port),
            "--chain-id",
            str(self.chain_id),
            "--accounts",
            str(self._accounts),
            "--mnemonic",
            DEV_MNEMONIC,
            "--no-request-size-limit",
            "--quiet",
        ]
        if self._history is not None:
            command += ["--prune-history", str(self._history)]
        if self.state_path:
            command += ["--state", self.state_path, "--state-interval", str(self._state_seconds)]
            command += ["--cache-path", self.state_path.parent / "cache"]
        return [*command, *self._extra]

    def _environment(self) -> Mapping[str, str]:
        # With RUST_LOG set, --quiet is ignored and every call is a line in the log.
        inherited = {name: value for name, value in os.environ.items() if name != "RUST_LOG"}
        return {**inherited, "FOUNDRY_DISABLE_NIGHTLY_WARNING": "1"}

    def prepare(self) -> None:
        if self.state_path:
            self.state_path.parent.mkdir(parents=True, exist_ok=True)
            keep_readable_state(self.state_path)

    def start(self) -> "Anvil":
        super().start()
        found = int(self.rpc("eth_chainId"), 16)
        if found != self.chain_id:
            self.stop()
            raise NotReady(
                f"{self.rpc_url} answers with chain id {found}, expected {self.chain_id}: "
                f"another node took the port; choose another with BCFL_CHAIN_PORT=…"
            )
        return self

    def _answers(self) -> bool:
        return bool(self.rpc("eth_chainId"))

    def rpc(self, method: str, *params: Any) -> Any:
        """One JSON-RPC call. Raises OSError when nobody answers, ValueError with the node's error.

        For launching and tests; the product speaks to nodes through ``chain.client`` alone.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        except http.client.HTTPException as error:
            raise ConnectionError(f"{self.rpc_url}: {error!r}") from error
        finally:
            connection.close()
        if "error" in answer:
            raise ValueError(f"{method}: {answer['error']}")
        return answer["result"]


def keep_readable_state(path: Path) -> None:
    """Guard the state file against a kill in the middle of Anvil's writing of it.

    Anvil writes the file in place. Before each start a readable file is copied to
    ``<name>.previous``; an unreadable one is set aside and the copy takes its place. The chain
    is then older than the database, which sync notices and reports.
    """
    previous = path.with_suffix(".previous.json")
    if not path.exists():
        return
    if _is_json(path):
        shutil.copy2(path, previous)
        return
    path.replace(path.with_suffix(".broken.json"))
    if previous.exists() and _is_json(previous):
        shutil.copy2(previous, path)


def _is_json(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return isinstance(json.load(file), dict)
    except (ValueError, OSError):
        return False
