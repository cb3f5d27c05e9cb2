"""The installer: what it says when something is missing, and that it does nothing twice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bcfl_site import bootstrap

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (
            "Collecting nothing\n"
            "  WARNING: Retrying (Retry(total=0))\n"
            "ERROR: Could not find a version that satisfies the requirement nothing==1\n"
            "ERROR: No matching distribution found for nothing==1\n",
            "ERROR: Could not find a version that satisfies the requirement nothing==1",
        ),
        (
            "npm error code ENOTFOUND\nnpm error errno ENOTFOUND\n"
            "npm error network request to somewhere failed\nnpm error A complete log is in\n",
            "code ENOTFOUND errno ENOTFOUND network request to somewhere failed",
        ),
        ("unpacking\nOSError: [Errno 28] No space left on device\n", "the disk is full"),
        ("npm error code ENOSPC\n", "the disk is full"),
        ("something odd\n", "something odd"),
        ("", "it said nothing"),
    ],
)
def test_the_cause_is_found_in_a_log(tmp_path: Path, log: str, expected: str) -> None:
    (tmp_path / "log").write_text(log)
    assert bootstrap.cause(tmp_path / "log") == expected


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_a_python_that_is_too_old_or_too_new(version: tuple[int, int]) -> None:
    with pytest.raises(bootstrap.Refused, match=f"this is 3.{version[1]}"):
        bootstrap.require_python(version)


def project(folder: Path, *, requirement: str) -> Path:
    """A project with one requirement and no npm packages, for the real installer."""
    (folder / "requirements").mkdir()
    for name in ("base", "dev"):
        (folder / "requirements" / f"{name}.txt").write_text(requirement)
    (folder / "bcfl_site").mkdir()
    (folder / "bcfl_site" / "bootstrap.py").write_text(
        (ROOT / "bcfl_site" / "bootstrap.py").read_text()
    )
    (folder / "package-lock.json").write_text("{}")
    return folder


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "bcfl_site/bootstrap.py", "base"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PIP_NO_INDEX": "1", "HOME": str(folder)},
    )


def test_a_failed_installation_is_one_line_with_its_log(tmp_path: Path) -> None:
    done = run(project(tmp_path, requirement="no-such-package==1.0\n"))
    assert done.returncode == 1
    assert done.stderr == ""
    last = done.stdout.splitlines()[-1]
    assert "No matching distribution" in last or "Could not find a version" in last
    log = tmp_path / "var" / "logs" / "install-pip.log"
    assert str(log) in last
    assert log.exists()
    assert not (tmp_path / ".venv" / ".bcfl-base").exists()  # the next run tries again


def test_make_names_what_it_looked_for_without_a_python(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "-f", str(ROOT / "Makefile"), "base", "PYTHON="],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "Python 3.11, 3.12 or 3.13 is needed" in done.stdout


def test_a_second_run_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project(tmp_path, requirement="# nothing\n")
    for name, value in {
        "ROOT": folder,
        "VENV": folder / ".venv",
        "MODULES": folder / "node_modules",
        "LOGS": folder,
    }.items():
        monkeypatch.setattr(bootstrap, name, value)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / "node_modules").mkdir()
    lock = folder / "requirements" / "base.txt"
    (folder / ".venv" / ".bcfl-base").write_text(bootstrap.digest_of(lock))
    digest = bootstrap.digest_of(folder / "package-lock.json")
    (folder / "node_modules" / ".bcfl").write_text(f"dev {digest}")

    started: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "run", lambda command, log: started.append(command) or 0)
    monkeypatch.setattr(bootstrap, "pip_has_its_own_index", lambda: False)
    bootstrap.install_python("base")
    bootstrap.install_node("base")
    assert started == []

    lock.write_text("# changed\n")
    bootstrap.install_python("base")
    assert [command[0] for command in started] == [
        bootstrap.venv_program("python"),
        bootstrap.venv_program("uv"),
    ]


@pytest.mark.parametrize("fails", ["pip install uv", "uv pip install"])
def test_pip_goes_on_where_uv_does_not_get_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: str
) -> None:
    lock = tmp_path / "requirements" / "base.txt"
    lock.parent.mkdir()
    lock.write_text("# nothing\n")
    (tmp_path / ".venv").mkdir()
    for name, value in {"ROOT": tmp_path, "VENV": tmp_path / ".venv", "LOGS": tmp_path}.items():
        monkeypatch.setattr(bootstrap, name, value)
    monkeypatch.setattr(bootstrap, "pip_has_its_own_index", lambda: False)
    (tmp_path / "install-uv.log").write_text("error: no route\n")
    started = []

    def run(command: list[str], log: Path) -> int:
        uv = command[0].endswith("uv")
        started.append("uv pip install" if uv else f"pip install {command[-1]}")
        return int(started[-1].startswith(fails))

    monkeypatch.setattr(bootstrap, "run", run)
    bootstrap.install_python("base")
    assert started[-1] == f"pip install {lock}"
    assert "uv could not install them (error: no route" in capsys.readouterr().out
    assert (tmp_path / ".venv" / ".bcfl-base").exists()


@pytest.mark.parametrize(
    ("name", "value", "own"),
    [
        ("PIP_INDEX_URL", "https://mirror.example/simple", True),
        ("PIP_NO_INDEX", "1", True),
        ("PIP_EXTRA_INDEX_URL", "https://more.example/simple", False),
    ],
)
def test_an_index_of_ones_own_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, own: bool
) -> None:
    for known in [key for key in os.environ if key.startswith("PIP_")]:
        monkeypatch.delenv(known)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(bootstrap, "venv_program", lambda program: sys.executable)
    assert bootstrap.pip_has_its_own_index() is own
