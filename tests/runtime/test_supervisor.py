"""The supervisor, on small processes of a Procfile made for each test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest

from bcfl_site.embedded.console import Console
from bcfl_site.embedded.errors import EmbeddedError, NotReady
from bcfl_site.embedded.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]
# Prints its own and its child's pid, then waits; the child ignores SIGTERM.
FAMILY = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True);"
    " time.sleep(600)"], stdout=subprocess.PIPE)
child.stdout.readline()
print("family", os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[[str], Supervisor]]:
    made: list[Supervisor] = []
    consoles: list[Console] = []

    def make(procfile: str) -> Supervisor:
        (tmp_path / "family.py").write_text(FAMILY)
        (tmp_path / "Procfile").write_text(procfile)
        consoles.append(Console(log_dir=tmp_path / "logs"))
        made.append(
            Supervisor(
                environment=os.environ | {"PYTHONPATH": str(ROOT)},
                console=consoles[-1],
                procfile=tmp_path / "Procfile",
                folder=tmp_path,
            )
        )
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.stop(*supervisor.names, grace=1)
    for console in consoles:
        console.close()


def lines_of(path: Path, count: int = 1) -> list[str]:
    """The first lines of a log, once they are there."""
    return wait_for(lambda: (text := read(path).splitlines()) and len(text) >= count and text)


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def wait_for(look: Callable[[], object], seconds: float = 20) -> object:
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.01)
    return found


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def family_of(supervisor: Supervisor, name: str) -> list[int]:
    return [int(pid) for pid in lines_of(supervisor.log_path(name))[0].split()[1:]]


def test_output_goes_to_a_log_of_its_own(supervise: Callable[[str], Supervisor]) -> None:
    supervisor = supervise("one: echo first\ntwo: echo second\n")
    supervisor.start("one", "two")
    ends = sorted(supervisor.ended.get(timeout=20) for _ in range(2))
    assert ends == [("one", 0), ("two", 0)]
    assert read(supervisor.log_path("one")) == "first\n"
    assert read(supervisor.log_path("two")) == "second\n"


def test_an_exit_code_is_reported(supervise: Callable[[str], Supervisor]) -> None:
    supervisor = supervise(f"one: {sys.executable} -c 'import sys; sys.exit(7)'\n")
    supervisor.start("one")
    assert supervisor.ended.get(timeout=20) == ("one", 7)
    with pytest.raises(NotReady):
        supervisor.pid("one")


def test_stopping_ends_grandchildren_that_will_not(
    supervise: Callable[[str], Supervisor],
) -> None:
    supervisor = supervise(f"one: {sys.executable} family.py\n")
    supervisor.start("one")
    family = family_of(supervisor, "one")
    supervisor.stop("one", grace=2)
    wait_for(lambda: not any(map(alive, family)))
    assert supervisor.ended.empty()  # it was asked to end


def test_a_dead_parent_takes_its_children_along(supervise: Callable[[str], Supervisor]) -> None:
    supervisor = supervise(f"one: {sys.executable} family.py\n")
    supervisor.start("one")
    parent, child = family_of(supervisor, "one")
    os.kill(parent, signal.SIGKILL)
    assert supervisor.ended.get(timeout=20) == ("one", -signal.SIGKILL)
    wait_for(lambda: not alive(child))


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_killed_supervisor_leaves_nobody(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text(
        f"""one: {sys.executable} -c "import os, time; print(os.getpid()); time.sleep(600)"\n"""
    )
    code = (
        "import os, pathlib, time; from bcfl_site.embedded.supervisor import Supervisor;"
        "from bcfl_site.embedded.console import Console; here = pathlib.Path(os.getcwd());"
        "s = Supervisor(environment=dict(os.environ) | {'PYTHONUNBUFFERED': '1'},"
        "    console=Console(log_dir=here / 'logs'), procfile=here / 'Procfile', folder=here);"
        "s.start('one'); time.sleep(600)"
    )
    supervisor = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        child = int(lines_of(tmp_path / "logs" / "one.log")[0])
        supervisor.kill()
        wait_for(lambda: not alive(child))
    finally:
        supervisor.kill()
        supervisor.wait()


def test_a_killed_process_can_be_started_again(supervise: Callable[[str], Supervisor]) -> None:
    supervisor = supervise(f"one: {sys.executable} family.py\n")
    supervisor.start("one")
    first = family_of(supervisor, "one")
    supervisor.kill("one")
    assert not alive(first[0])
    supervisor.start("one")
    lines = lines_of(supervisor.log_path("one"), 2)
    assert int(lines[1].split()[1]) == supervisor.pid("one") != first[0]
    with pytest.raises(EmbeddedError, match="already running"):
        supervisor.start("one")


def test_an_unknown_name_is_refused(supervise: Callable[[str], Supervisor]) -> None:
    with pytest.raises(EmbeddedError, match="no 'three', only one, two"):
        supervise("one: true\ntwo: true\n").start("three")


class TestConsole:
    """What reaches the terminal."""

    @pytest.fixture
    def output(self) -> StringIO:
        return StringIO()

    @pytest.fixture
    def console(self, tmp_path: Path, output: StringIO) -> Iterator[Console]:
        console = Console(log_dir=tmp_path, output=output)
        yield console
        console.close()

    def write(self, console: Console, text: str) -> None:
        from datetime import datetime

        from honcho.printer import Message

        for line in text.splitlines():
            console.line(Message("line", f"{line}\n".encode(), datetime(2026, 1, 1), "web", None))

    def test_information_stays_in_the_log(
        self, console: Console, output: StringIO, tmp_path: Path
    ) -> None:
        self.write(console, "10:00:00 [info] a page was served [web]")
        assert output.getvalue() == ""
        assert "a page was served" in (tmp_path / "web.log").read_text()

    def test_warnings_are_shown_once(self, console: Console, output: StringIO) -> None:
        for number, task in enumerate(
            ("316347c5-dcb4-4a0b-aefc-dc4a039aec34", "8b1708c3-989a-44b2-b5cd-b6fecfdef56e")
        ):
            self.write(console, f"10:00:0{number} [warning] {task}: node 0x{number} gone")
        assert output.getvalue().count("gone") == 1

    def test_a_traceback_is_its_last_line(self, console: Console, output: StringIO) -> None:
        self.write(
            console,
            "Traceback (most recent call last):\n"
            '  File "x.py", line 1, in <module>\n'
            "    go()\n"
            "KeyError: 'round'\n"
            "10:00:02 [info] went on",
        )
        (line,) = output.getvalue().splitlines()
        assert line.endswith("| KeyError: 'round'")

    def test_nothing_is_shown_when_muted(self, console: Console, output: StringIO) -> None:
        console.muted = True
        self.write(console, "10:00:00 [error] connection lost while ending")
        console.say("hello")
        assert output.getvalue() == ""
