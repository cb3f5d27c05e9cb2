"""What the browser loads: known libraries, nothing inline, within the budget."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest
from django.template.loader import get_template

ROOT = Path(__file__).resolve().parent.parent.parent
STATIC = ROOT / "static"
VENDOR = STATIC / "vendor"
BUDGET = 110_000  # bytes, gzipped JS and CSS of one page
MANIFEST = json.loads((VENDOR / "manifest.json").read_text())["files"]


@pytest.mark.parametrize("entry", MANIFEST, ids=lambda entry: entry["file"])
def test_vendored_files_are_what_the_manifest_says(entry: dict[str, str]) -> None:
    digest = hashlib.sha256((VENDOR / entry["file"]).read_bytes()).hexdigest()
    assert digest == entry["sha256"], "Run static/vendor/update.py; never edit these by hand."
    assert entry["version"]
    assert entry["license"]


def test_every_vendored_file_is_listed() -> None:
    ours = {"manifest.json", "update.py"}
    paths = [
        path for path in VENDOR.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    files = {path.relative_to(VENDOR).as_posix() for path in paths} - ours
    assert files == {entry["file"] for entry in MANIFEST}


def loaded_by(template: Path) -> set[Path]:
    """Style sheets and scripts of a page: those of its template, of the templates it extends,
    and the modules that these import."""
    text = template.read_text()
    found = {STATIC / name for name in re.findall(r"{% static '([^']+\.(?:css|js))' %}", text)}
    for script in [path for path in found if path.suffix == ".js"]:
        found |= imported_by(script)
    for parent in re.findall(r"{% extends \"([^\"]+)\" %}", text):
        # By Django's own search: some parents are a library's.
        found |= loaded_by(Path(get_template(parent).origin.name))
    return found


def imported_by(script: Path) -> set[Path]:
    names = re.findall(r"(?:from|import)\s+[\"'](\.[^\"']+)[\"']", script.read_text())
    found: set[Path] = set()
    for name in names:
        path = (script.parent / name).resolve()
        if path not in found:
            found |= {path} | imported_by(path)
    return found


PAGES = sorted(
    [*(ROOT / "templates/pages").glob("*.html"), *(ROOT / "templates").glob("*/login.html")]
)


@pytest.mark.parametrize("template", PAGES, ids=lambda path: path.name)
def test_every_page_stays_within_the_budget(template: Path) -> None:
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 9)) for path in loaded_by(template)}
    assert sizes, "no style sheet was found: does this test still read the templates rightly?"
    assert sum(sizes.values()) <= BUDGET, sizes


TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_nothing_that_the_policy_refuses(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\sstyle\s*=", text), "inline style"
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", text), "inline handler"
    # JSON for allauth's own scripts is data: no browser runs it.
    assert not re.search(r"<script(?![^>]*(\bsrc=|\btype=\"application/json\"))", text), "inline"
    assert not re.search(r"(src|href|action)=\"(https?:)?//", text), "another host"
    assert "hx-on" not in text, "evaluated code"
    assert "hx-vals='js" not in text, "evaluated code"


@pytest.mark.parametrize("path", sorted(STATIC.glob("js/*.js")), ids=lambda path: path.name)
def test_scripts_load_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text()
    # The name space of SVG looks like an address, and is a name: nothing is loaded from it.
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg\b)", text)
    assert "eval(" not in text
    assert "new Function" not in text
