"""`make up` as a user runs it: everything comes up, and Ctrl-C leaves nothing behind."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bcfl_site.embedded.places import Places
from bcfl_site.embedded.process import free_port, port_is_free

ROOT = Path(__file__).resolve().parents[2]
LINUX = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
START_SECONDS = 240


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One folder for the whole module: the second start is a warm one."""
    given = {k: v for k, v in os.environ.items() if not k.startswith(("BCFL_", "DJANGO_"))}
    return given | {
        "BCFL_HOME": str(tmp_path_factory.mktemp("up") / "var"),
        "BCFL_PORT": str(free_port()),
        "BCFL_CHAIN_PORT": str(free_port()),
        "TRAINING_PROCESSES": "1",
    }


@pytest.fixture(scope="module")
def places(environment: dict[str, str]) -> Places:
    return Places.from_environment(environment)


@contextmanager
def console(environment: dict[str, str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`make up`, with the banner printed."""
    with output.open("wb") as file:
        running = subprocess.Popen(
            [sys.executable, "-m", "bcfl_site.up"],
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(
            lambda: "Ctrl-C" in output.read_text() or running.poll() is not None, START_SECONDS
        )
        assert running.poll() is None, output.read_text()
        yield running
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGTERM)
            running.wait(60)


def wait_for(look: object, seconds: float) -> None:
    assert callable(look)
    until = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < until, f"did not happen within {seconds:.0f} s"
        time.sleep(0.05)


def processes_of(home: Path) -> dict[int, str]:
    """Processes whose environment or command names this folder, whoever their parent is."""
    found = {}
    mark = f"BCFL_HOME={home}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (
                (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            )
            # Redis writes its title over its environment; the title names its socket.
            if mark in (entry / "environ").read_bytes().split(b"\0") or str(home) in command:
                found[int(entry.name)] = command
        except OSError:
            continue  # gone meanwhile, or another user's
    return found


def page(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


@LINUX
def test_up_a_lost_process_comes_back_and_down_again(
    environment: dict[str, str], places: Places, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    with console(environment, output) as running:
        shown = output.read_text()
        assert f"http://127.0.0.1:{places.web_port}" in shown
        for login in ("mara-operates", "eastfield-trains", "ada-inspects"):
            assert login in shown

        status, body = page(places.web_port, "/sign-in/")
        assert status == 200
        assert "<form" in body

        commands = " ".join(processes_of(places.home).values())
        for part in ("redis-server", "anvil", "-Q training", "-Q control", "follow_chain"):
            assert part in commands

        second = subprocess.run(
            [sys.executable, "-m", "bcfl_site.up"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert second.returncode == 1
        assert f"(pid {running.pid})" in second.stdout

        (web,) = [pid for pid, text in processes_of(places.home).items() if "uvicorn" in text]
        os.kill(web, signal.SIGKILL)
        wait_for(lambda: "web ended with -9; starting it again" in output.read_text(), 20)
        wait_for(lambda: not port_is_free(places.web_port), 60)
        assert page(places.web_port, "/sign-in/")[0] == 200

        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0

    assert processes_of(places.home) == {}
    assert port_is_free(places.web_port)
    assert port_is_free(places.chain_port)
    assert not places.redis_socket.exists()
    assert output.read_text().rstrip().endswith("ended")


@LINUX
def test_killed_outright_it_still_leaves_nobody(
    environment: dict[str, str], places: Places, tmp_path: Path
) -> None:
    with console(environment, tmp_path / "output") as running:
        assert len(processes_of(places.home)) > 6
        running.kill()
        wait_for(lambda: not processes_of(places.home), 60)
    assert port_is_free(places.web_port)
