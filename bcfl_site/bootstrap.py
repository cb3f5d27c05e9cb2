"""Make `.venv` and `node_modules` what the lock files say: `bootstrap.py base|dev`.

Runs on the system's Python before anything is installed: standard library only. Does nothing
when the lock files are those of the last time. Every failure is one line and a log's path.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
MODULES = ROOT / "node_modules"
LOGS = Path(os.environ.get("BCFL_HOME") or ROOT / "var") / "logs"
# TensorFlow alone unpacks to 1.5 GB.
VENV_MEGABYTES = 4_000
MODULES_MEGABYTES = 500
UV = "uv>=0.9,<1"
# What a package manager says of the cause stands in such a line; later ones are advice.
_CAUSES = re.compile(r"^(ERROR|npm error|npm ERR!|error|OSError|.*No space left)", re.IGNORECASE)


class Refused(Exception):
    """Why it cannot go on, in one line."""


def main() -> int:
    what = sys.argv[1] if len(sys.argv) > 1 else "base"
    try:
        if what not in {"base", "dev"}:
            raise Refused("usage: python bcfl_site/bootstrap.py base|dev")
        require_python(sys.version_info[:2])
        LOGS.mkdir(parents=True, exist_ok=True)
        make_venv()
        install_python(what)
        install_node(what)
    except Refused as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next run goes on from here")
        return 1
    except OSError as error:
        say(f"{error.strerror}: {error.filename}")
        return 1
    return 0


def say(text: str) -> None:
    print(f"make: {text}", flush=True)  # noqa: T201


def require_python(version: "tuple[int, int]") -> None:
    if not (3, 11) <= version <= (3, 13):
        found = ".".join(map(str, version))
        raise Refused(f"Python 3.11, 3.12 or 3.13 is needed, this is {found} ({sys.executable})")


def venv_program(name: str) -> str:
    return str(VENV / "bin" / name)


def make_venv() -> None:
    """A virtual environment with pip, anew when the one there does not run."""
    python = venv_program("python")
    if VENV.exists():
        works = subprocess.run([python, "-m", "pip", "--version"], capture_output=True)
        if works.returncode == 0:
            return
        say(".venv does not run any more: making it anew")
        shutil.rmtree(VENV)
    require_space(VENV_MEGABYTES)
    say(f"making .venv with Python {sys.version.split()[0]}")
    log = LOGS / "install-venv.log"
    if run([sys.executable, "-m", "venv", str(VENV)], log) != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        version = "{}.{}".format(*sys.version_info[:2])
        raise Refused(
            f"{sys.executable} cannot make a virtual environment; on Debian and Ubuntu: "
            f"apt-get install python{version}-venv (log: {log})"
        )


def install_python(what: str) -> None:
    lock = ROOT / "requirements" / f"{what}.txt"
    stamp = VENV / f".bcfl-{what}"
    digest = digest_of(lock)
    if stamp.exists() and stamp.read_text() == digest:
        return
    require_space(VENV_MEGABYTES // 2)
    say(f"installing Python packages ({lock.name}; the first time takes minutes)")
    log = LOGS / "install-pip.log"
    started = time.monotonic()
    if not install_with_uv(lock) and run(pip_install("-r", str(lock)), log) != 0:
        raise Refused(f"Python packages could not be installed: {cause(log)} (log: {log})")
    stamp.write_text(digest)
    if what == "dev":
        (VENV / ".bcfl-base").write_text(digest_of(lock.with_name("base.txt")))
    say(f"Python packages ready after {time.monotonic() - started:.0f} s")


def install_with_uv(lock: Path) -> bool:
    """The same packages, downloaded and unpacked side by side, so in less time than pip takes.
    Where uv does not get through, pip tries; where pip is told to use another index, uv is not
    asked, since it does not read pip's settings."""
    if pip_has_its_own_index():
        return False
    log = LOGS / "install-uv.log"
    # Without its cache, which would be a second copy of everything for who does not use uv; and
    # compiled now, as pip does: where Python may write no bytecode, every start would do it anew.
    command = [venv_program("uv"), "pip", "install", "--python", venv_program("python")]
    command += ["--no-cache", "--compile-bytecode", "--no-progress", "-r", str(lock)]
    if run(pip_install(UV), log) == 0 and run(command, log) == 0:
        return True
    say(f"uv could not install them ({cause(log)}; log: {log}); pip goes on")
    return False


def pip_install(*what: str) -> "list[str]":
    command = [venv_program("python"), "-m", "pip", "install", "--no-input"]
    return [*command, "--disable-pip-version-check", "--progress-bar", "off", *what]


def pip_has_its_own_index() -> bool:
    """Whether an index is named, or none allowed, in pip's files or its environment variables."""
    told = subprocess.run(
        [venv_program("python"), "-m", "pip", "config", "list"], capture_output=True, text=True
    )
    return re.search(r"\.(index-url|no-index)=", told.stdout) is not None


def install_node(what: str) -> None:
    digest = digest_of(ROOT / "package-lock.json")
    stamp = MODULES / ".bcfl"
    enough = {f"dev {digest}"} if what == "dev" else {f"dev {digest}", f"base {digest}"}
    if stamp.exists() and stamp.read_text() in enough:
        return
    require_space(MODULES_MEGABYTES)
    say("installing npm packages (Solidity compiler, development chain)")
    log = LOGS / "install-npm.log"
    # Not `npm ci`: it refuses a lock file without the binaries of every platform, and registries
    # that mirror some of them make such lock files. Versions and checksums are the lock's.
    command = [venv_program("npm"), "install", "--no-save", "--ignore-scripts", "--no-progress"]
    command.append("--loglevel=error")
    if what == "base":
        command.append("--omit=dev")
    if run(command, log) != 0:
        raise Refused(f"npm packages could not be installed: {cause(log)} (log: {log})")
    stamp.write_text(f"{what} {digest}")


def run(command: "list[str]", log: Path) -> int:
    """The command's exit code; what it prints goes to ``log`` alone."""
    path = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)])
    with log.open("wb") as output:
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ).returncode


def cause(log: Path) -> str:
    """The line of a package manager's log that names the cause."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line]
    if any("No space left" in line or "ENOSPC" in line for line in lines):
        return "the disk is full"
    # npm says "code" and "errno" first, pip its most general complaint last.
    causes = [line for line in lines if _CAUSES.match(line)]
    if causes and causes[0].lower().startswith("npm"):
        return " ".join(line.split(" ", 2)[-1] for line in causes[:3])
    return (causes or lines or ["it said nothing"])[-1 if not causes else 0][:300]


def require_space(megabytes: int) -> None:
    free = shutil.disk_usage(ROOT).free // 1_000_000
    if free < megabytes:
        raise Refused(f"only {free} MB free on the disk of {ROOT}, about {megabytes} MB are needed")


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
