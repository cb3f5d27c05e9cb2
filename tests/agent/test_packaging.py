"""What `pip install 'bcfl[agent]'` installs and what it pulls in."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email import message_from_bytes
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SERVER = {"django", "celery", "channels", "redis", "psycopg", "django-ninja", "uvicorn", "kombu"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy: a build leaves folders behind."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("agent", "bcfl_client", "chain", "training", "contracts"):
        (source / name).symlink_to(ROOT / name)
    for name in ("pyproject.toml", "README.md"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_agent_pulls_in_no_server(wheel: zipfile.ZipFile) -> None:
    (path,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    wanted = message_from_bytes(wheel.read(path)).get_all("Requires-Dist") or []
    names = {item.split(";")[0].strip().split("[")[0] for item in wanted}
    plain = {"".join(c for c in name.split(">")[0].split("<")[0].lower()) for name in names}
    assert {"tensorflow", "web3", "eth-account", "httpx", "rich"} <= plain
    assert plain & SERVER == set()


def test_nor_does_anything_that_it_needs(wheel: zipfile.ZipFile) -> None:
    """All the way down, by the metadata of the pinned packages that are installed here."""
    (path,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    first = message_from_bytes(wheel.read(path)).get_all("Requires-Dist") or []
    seen: set[str] = set()
    waiting = [Requirement(text) for text in first]
    while waiting:
        wanted = waiting.pop()
        extras = wanted.extras or {""}
        marker = wanted.marker
        if marker and not any(marker.evaluate({"extra": e}) for e in ("agent", *extras)):
            continue
        name = canonicalize_name(wanted.name)
        if name in seen:
            continue
        seen.add(name)
        waiting += [
            needed
            for needed in map(Requirement, requires(name) or [])
            if needed.marker is None
            or any(needed.marker.evaluate({"extra": extra}) for extra in extras)
        ]
    assert {"keras", "pydantic", "eth-keys"} <= seen  # it did go down
    assert seen & SERVER == set()


def test_it_has_its_command_and_the_contracts(wheel: zipfile.ZipFile) -> None:
    (path,) = [name for name in wheel.namelist() if name.endswith("/entry_points.txt")]
    assert "bcfl-agent = agent.cli:main" in wheel.read(path).decode()
    assert {"chain/abi/FLCoordinator.json", "chain/abi/FLToken.json"} <= set(wheel.namelist())
    assert not [name for name in wheel.namelist() if name.startswith(("sessions_app", "bcfl_site"))]


def test_it_runs_from_the_wheel_alone(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Unpacked elsewhere, without this folder: the contracts come from the package."""
    wheel.extractall(tmp_path)
    code = (
        "import agent.cli, chain.builds, sys; "
        "print(chain.builds.load('FLCoordinator').name, chain.builds.BUILD.name, "
        "bool({'django', 'celery', 'tensorflow'} & {m.split('.')[0] for m in sys.modules}))"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert ran.stdout.split() == ["FLCoordinator", "abi", "False"], ran.stderr
