"""`make up`: refusals in one line, and nothing left behind."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcfl_site.embedded.errors import DiskFull, NotReady, PortBusy
from bcfl_site.embedded.places import Places
from bcfl_site.embedded.process import free_port, port_owner, require_port, require_space
from bcfl_site.up import Lock, require_answer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a user's shell gives `make up`, with a folder and ports of this test's own."""
    given = {k: v for k, v in os.environ.items() if not k.startswith(("BCFL_", "DJANGO_"))}
    return given | {
        "BCFL_HOME": str(tmp_path / "var"),
        "BCFL_PORT": str(free_port()),
        "BCFL_CHAIN_PORT": str(free_port()),
    }


def up(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bcfl_site.up"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("variable", ["BCFL_PORT", "BCFL_CHAIN_PORT"])
def test_a_busy_port_is_one_line(
    environment: dict[str, str], busy_port: int, variable: str
) -> None:
    done = up(environment | {variable: str(busy_port)})
    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    assert f"port {busy_port}" in line
    assert f"{variable}=" in line


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who listens")
def test_the_holder_of_a_port_is_named(busy_port: int) -> None:
    assert f"pid {os.getpid()}" in str(port_owner(busy_port))
    with pytest.raises(PortBusy, match=f"pid {os.getpid()}"):
        require_port(busy_port, variable="BCFL_PORT", purpose="web pages")


def test_a_port_that_is_no_number_is_one_line(environment: dict[str, str]) -> None:
    done = up(environment | {"BCFL_PORT": "http"})
    assert done.returncode == 1
    assert (done.stdout + done.stderr).splitlines() == [
        "make up: BCFL_PORT=http is not a port; use a number from 1 to 65535"
    ]


def test_an_outside_service_that_is_down_is_one_line(environment: dict[str, str]) -> None:
    port = free_port()
    done = up(environment | {"REDIS_URL": f"redis://:hunter2@127.0.0.1:{port}/0"})
    (line,) = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 1
    assert f"REDIS_URL names 127.0.0.1:{port}" in line
    assert "hunter2" not in line


def test_a_socket_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match=re.escape(str(tmp_path / "none.sock"))):
        require_answer("REDIS_URL", f"unix://{tmp_path / 'none.sock'}")


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match="BCFL_HOME"):
        require_space(tmp_path / "not" / "there", megabytes=10**9)


def test_a_folder_that_cannot_be_made_is_one_line(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = up(environment | {"BCFL_HOME": str(tmp_path / "file" / "var")})
    assert done.returncode == 1
    assert len((done.stdout + done.stderr).splitlines()) == 1


def test_a_second_console_in_the_same_folder_is_refused(environment: dict[str, str]) -> None:
    home = Places.from_environment(environment).home
    with Lock(home / "up.lock", url="http://127.0.0.1:8000"):
        done = up(environment)
    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    assert "already running" in line
    assert f"http://127.0.0.1:8000 (pid {os.getpid()})" in line


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from bcfl_site.up import Lock;"
        "Lock(pathlib.Path(sys.argv[1]), url='x').__enter__(); os.kill(os.getpid(), 9)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path / "up.lock")], cwd=ROOT)
    assert ran.returncode == -signal.SIGKILL
    with Lock(tmp_path / "up.lock", url="y"):
        assert (tmp_path / "up.lock").read_text().startswith("y (pid")
