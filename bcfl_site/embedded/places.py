"""Where a stack keeps its files and listens: read once from the environment, no Django needed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bcfl_site.environment import unix_socket_path

from .anvil import Anvil
from .binaries import ROOT
from .redis import Redis


@dataclass(frozen=True, kw_only=True)
class Places:
    """Folders and ports of one stack. The defaults match bcfl_site.settings."""

    home: Path
    web_port: int = 8000
    chain_port: int = 8545
    chain_host: str = "127.0.0.1"
    host: str = "127.0.0.1"
    site_url: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Places":
        """Raises ValueError for a port that is not a number."""
        home = Path(environ.get("BCFL_HOME") or ROOT / "var").expanduser().resolve()
        ports = {}
        for name, default in (("BCFL_PORT", 8000), ("BCFL_CHAIN_PORT", 8545)):
            value = environ.get(name) or str(default)
            if not value.isdigit() or not 0 < int(value) < 65536:
                raise ValueError(f"{name}={value} is not a port; use a number from 1 to 65535")
            ports[name] = int(value)
        return cls(
            home=home,
            web_port=ports["BCFL_PORT"],
            chain_port=ports["BCFL_CHAIN_PORT"],
            chain_host=environ.get("BCFL_CHAIN_HOST") or "127.0.0.1",
            host=environ.get("BCFL_HOST") or "127.0.0.1",
            site_url=environ.get("SITE_URL") or "",
        )

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def redis_socket(self) -> Path:
        return unix_socket_path(self.home)

    @property
    def url(self) -> str:
        return self.site_url or f"http://127.0.0.1:{self.web_port}"

    def redis(self) -> Redis:
        return Redis(socket_path=self.redis_socket, log_path=self.logs / "redis.log")

    def chain(self) -> Anvil:
        return Anvil(
            self.home / "anvil",
            host=self.chain_host,
            port=self.chain_port,
            log_path=self.logs / "chain.log",
        )
