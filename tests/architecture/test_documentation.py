"""What the documentation says is so."""

import re
from pathlib import Path

from honcho.environ import parse_procfile

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("bcfl_site", "sessions_app", "chain", "training")
_READ = re.compile(
    r"""(?:env\.(?:text|number|integer|flag)|environ(?:ment)?(?:\.get)?|getenv|_given)[\[(]\s*"([A-Z][A-Z0-9_]+)\""""
)
# Not settings: the system's own, and what our processes tell each other.
INTERNAL = {
    "PATH",
    "DJANGO_SETTINGS_MODULE",
    "BCFL_SUPERVISOR_PID",
    "BCFL_ROLE",
    "RUST_LOG",
}


def settings_read() -> set[str]:
    sources = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return {name for path in sources for name in _READ.findall(path.read_text())}


def test_every_setting_is_documented() -> None:
    documented = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", (ROOT / "docs/operations.md").read_text()))
    read = settings_read()
    assert {"BCFL_HOME", "DATABASE_URL", "BCFL_PORT"} <= read  # the pattern still finds them
    assert read - INTERNAL - documented == set()


def test_no_documented_setting_is_a_memory() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    rows = set(re.findall(r"^\| `([A-Z][A-Z0-9_]+)` \|", text, re.MULTILINE))
    sources = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    written = "\n".join(path.read_text() for path in [*sources, ROOT / "Procfile"])
    assert {name for name in rows if name not in written} == set()


def test_every_make_target_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+)(?: [a-z]+)*:(?!=)", makefile, re.MULTILINE)) | {"dev"}
    pages = [ROOT / "README.md", ROOT / "docs" / "operations.md"]
    named = {name for page in pages for name in re.findall(r"`?make ([a-z]+)", page.read_text())}
    assert {"up", "test"} <= named & targets
    in_code = {
        name
        for page in pages
        for name in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE)
    }
    assert in_code <= targets


def test_the_procfile_names_every_process_of_the_documentation() -> None:
    names = set(parse_procfile((ROOT / "Procfile").read_text()).processes)
    table = (ROOT / "docs/operations.md").read_text()
    assert names == set(re.findall(r"^\| \*\*([a-z]+)\*\* \|", table, re.MULTILINE))
