"""Forge, from npm, driven by our compiler wrapper."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

Forge = Callable[..., subprocess.CompletedProcess[str]]


def forge_binary() -> Path:
    """The forge of this platform, as npm installed it."""
    system = {"linux": "linux", "darwin": "darwin", "win32": "win32"}[sys.platform]
    machine = "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "amd64"
    name = "forge.exe" if system == "win32" else "forge"
    return ROOT / "node_modules" / "@foundry-rs" / f"forge-{system}-{machine}" / "bin" / name


@pytest.fixture(scope="session")
def forge() -> Forge:
    """Call forge with arguments; returns the finished process, output captured."""
    binary = forge_binary()
    assert binary.is_file(), f"{binary} is missing: run `npm ci` in the repository."
    environment = os.environ | {
        "BCFL_NODE": str(Path(sys.executable).parent / "node"),
        # Fail where gas differs from the committed snapshot, rather than rewrite it.
        "FORGE_SNAPSHOT_CHECK": "true",
        "NO_COLOR": "1",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(binary), *arguments, "--use", "contracts/toolchain/solc"]
        return subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=540,
        )

    return run
