"""One's own data files on this machine."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from training import files

SUFFIXES = (".csv", ".npz")
MOST = 200  # offered in a list


def own_file_choices() -> list[tuple[str, str]]:
    """(name, name and size) of the files in BCFL_DATA_DIR that a task may train on."""
    folder = files.data_dir()
    if folder is None or not folder.is_dir():
        return []
    found = sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.is_file())
    return [(path.name, f"{path.name}, {_size(path)}") for path in found[:MOST]]


def own_file_source(name: str) -> dict[str, Any]:
    """``dataset.source`` of the configuration: the file read and hashed, once for each change of
    it. Raises DataError when it is no table of samples."""
    path = files.own_file(name)
    stat = path.stat()
    return dict(_described(path, stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=16)
def _described(path: Path, changed: int, size: int) -> dict[str, Any]:
    return files.describe(path)


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{max(1, round(size / 1e3))} kB"
