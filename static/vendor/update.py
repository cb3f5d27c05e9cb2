"""Copies the browser libraries that the pages use out of node_modules, and records what they are.

Run it after ``npm ci`` when a version in package.json changed::

    python static/vendor/update.py

``manifest.json`` then lists name, version, file, sha256 and licence of every file in this folder;
a test recomputes the checksums, so a hand-edited library is noticed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

VENDOR = Path(__file__).resolve().parent
NODE_MODULES = VENDOR.parent.parent / "node_modules"

# package, file inside the package, name here
FILES: tuple[tuple[str, str, str], ...] = (
    ("bootstrap", "dist/css/bootstrap.min.css", "bootstrap.min.css"),
    ("htmx.org", "dist/htmx.min.js", "htmx.min.js"),
    ("idiomorph", "dist/idiomorph.min.js", "idiomorph.min.js"),
    ("uplot", "dist/uPlot.iife.min.js", "uplot.min.js"),
    ("uplot", "dist/uPlot.min.css", "uplot.min.css"),
    (
        "@fontsource-variable/inter",
        "files/inter-latin-wght-normal.woff2",
        "inter-latin.woff2",
    ),
    (
        "@fontsource-variable/jetbrains-mono",
        "files/jetbrains-mono-latin-wght-normal.woff2",
        "jetbrains-mono-latin.woff2",
    ),
    # keccak256 for the check of rewards: sha3.js and the two modules that it imports by name
    ("@noble/hashes", "sha3.js", "noble/sha3.js"),
    ("@noble/hashes", "_u64.js", "noble/_u64.js"),
    ("@noble/hashes", "utils.js", "noble/utils.js"),
)

# Pointers to files that we do not ship; browsers would ask for them and get a 404.
_SOURCE_MAP_MARKS = (b"/*# sourceMappingURL=", b"//# sourceMappingURL=")


def without_source_map(content: bytes) -> bytes:
    """Cut the trailing ``sourceMappingURL`` comment, which whitenoise's manifest would follow."""
    for mark in _SOURCE_MAP_MARKS:
        at = content.rfind(mark)
        if at != -1:
            content = content[:at].rstrip() + b"\n"
    return content


def main() -> int:
    """Copy every file and write the manifest. Returns the exit code."""
    entries = []
    for package, source, name in FILES:
        folder = NODE_MODULES / package
        path = folder / source
        if not path.exists():
            sys.stderr.write(f"{package}/{source} is not in node_modules. Run: npm ci\n")
            return 1
        about = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        target = VENDOR / name
        target.parent.mkdir(exist_ok=True)
        if name.endswith((".css", ".js")):
            target.write_bytes(without_source_map(path.read_bytes()))
        else:
            shutil.copyfile(path, target)
        entries.append(
            {
                "name": package,
                "version": about["version"],
                "file": name,
                "source": source,
                "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
                "license": about["license"],
            }
        )
    manifest = VENDOR / "manifest.json"
    manifest.write_text(json.dumps({"files": entries}, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"Copied {len(entries)} files.\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
