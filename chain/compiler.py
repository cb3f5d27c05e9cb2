"""Compile ``contracts/src`` with py-solc-x and keep ``contracts/build`` equal to the sources.

Standard JSON in, standard JSON out, every source inlined, so the compiler never touches the disk
and the result holds no path of the machine. The compiler is ``contracts/toolchain/solc`` (the npm
``solc`` package); the settings are those of ``foundry.toml``, so forge tests what is deployed.

Needs no Django: ``python -m chain.compiler [--check]`` does what ``manage.py compile_contracts``
does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import solcx
from solcx.exceptions import SolcError

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ("FLToken", "FLCoordinator")
ENTRY_FOLDER = "contracts/src"
BUILD_FOLDER = "contracts/build"

_IMPORT = re.compile(r"""^\s*import\s+(?:[^"';]*?\s+from\s+)?["']([^"']+)["']\s*;""", re.MULTILINE)
_NEEDS_UNCOMMENTED = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


class CompileError(Exception):
    """The sources do not compile, or something the compiler needs is missing."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """One contract as it is committed to ``contracts/build/<name>.json``."""

    name: str
    content: Mapping[str, Any]

    def text(self) -> str:
        """The file's exact text: sorted keys, two spaces, a newline at the end."""
        return json.dumps(self.content, indent=2, sort_keys=True) + "\n"


def compiler_path(root: Path = ROOT) -> Path:
    """The compiler executable. Raises ``CompileError`` where it or its npm package is missing."""
    path = root / "contracts" / "toolchain" / "solc"
    if not path.is_file():
        raise CompileError(f"{path} is missing: restore it from the repository.")
    if not (root / "node_modules" / "solc").is_dir():
        raise CompileError(
            "The npm package 'solc' is not installed: run `npm ci` in the repository."
        )
    node = Path(sys.executable).parent / "node"
    if node.is_file():  # the Node of this virtual environment, also when it is not activated
        os.environ.setdefault("BCFL_NODE", str(node))
    return path


def imports_of(source: str) -> list[str]:
    """The paths a Solidity source imports, in order of appearance, comments ignored."""
    return _IMPORT.findall(_NEEDS_UNCOMMENTED.sub("", source))


def collect_sources(entries: Iterable[str], root: Path = ROOT) -> dict[str, str]:
    """Read the entry files and all they import: ``{source unit name: content}``.

    Names are relative to the repository (``contracts/src/…``) or as imported from npm
    (``@openzeppelin/…``). Raises ``CompileError`` naming the file that is missing.
    """
    sources: dict[str, str] = {}
    pending = list(entries)
    while pending:
        name = pending.pop()
        if name in sources:
            continue
        path = root / "node_modules" / name if name.startswith("@") else root / name
        try:
            content = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            hint = " Run `npm ci`." if name.startswith("@") else ""
            raise CompileError(f"Solidity source {name} is missing at {path}.{hint}") from error
        sources[name] = content
        for target in imports_of(content):
            if target.startswith("."):
                pending.append(os.path.normpath(f"{Path(name).parent.as_posix()}/{target}"))
            else:
                pending.append(target)
    return dict(sorted(sources.items()))


def settings(root: Path = ROOT) -> dict[str, Any]:
    """The settings of ``foundry.toml`` in standard JSON form, without output selection."""
    text = (root / "foundry.toml").read_text(encoding="utf-8")
    profile = tomllib.loads(text)["profile"]["default"]
    return {
        "evmVersion": profile["evm_version"],
        "metadata": {"bytecodeHash": profile["bytecode_hash"], "useLiteralContent": False},
        "optimizer": {"enabled": profile["optimizer"], "runs": profile["optimizer_runs"]},
        "viaIR": profile["via_ir"],
    }


def _source_hash(sources: Mapping[str, str], names: Iterable[str]) -> str:
    """sha256 over the named sources: for each, its name, a zero byte, its bytes, a zero byte."""
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(name.encode() + b"\0" + sources[name].encode() + b"\0")
    return "0x" + digest.hexdigest()


def compile_contracts(root: Path = ROOT) -> list[Compiled]:
    """Compile every deployable contract. Raises ``CompileError`` in the compiler's words."""
    entries = [f"{ENTRY_FOLDER}/{name}.sol" for name in CONTRACTS]
    sources = collect_sources(entries, root)
    compiler_settings = settings(root)
    wanted = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]
    wanted.append("evm.deployedBytecode.immutableReferences")
    request = {
        "language": "Solidity",
        "sources": {name: {"content": content} for name, content in sources.items()},
        "settings": compiler_settings
        | {"outputSelection": {e: {c: wanted} for e, c in zip(entries, CONTRACTS, strict=True)}},
    }
    binary = compiler_path(root)
    try:
        output = solcx.compile_standard(request, solc_binary=binary)
        version = solcx.wrapper.get_version_str_from_solc_binary(binary)
    except (SolcError, OSError) as error:
        raise CompileError(f"The contracts do not compile: {error}") from error
    compiled = []
    for entry, name in zip(entries, CONTRACTS, strict=True):
        artifact = output["contracts"][entry][name]
        deployed = artifact["evm"]["deployedBytecode"]
        content = {
            "contractName": name,
            "sourceName": entry,
            "abi": artifact["abi"],
            "bytecode": "0x" + artifact["evm"]["bytecode"]["object"],
            "deployedBytecode": "0x" + deployed["object"],
            "immutableReferences": deployed.get("immutableReferences", {}),
            "sourceHash": _source_hash(sources, collect_sources([entry], root)),
            "compiler": {"version": version, "settings": compiler_settings},
        }
        compiled.append(Compiled(name, content))
    return compiled


def write_build(compiled: Sequence[Compiled], root: Path = ROOT) -> list[Path]:
    """Write ``contracts/build/<name>.json`` where it differs; return the files that changed."""
    folder = root / BUILD_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for contract in compiled:
        path = folder / f"{contract.name}.json"
        if not path.exists() or path.read_text(encoding="utf-8") != contract.text():
            path.write_text(contract.text(), encoding="utf-8")
            changed.append(path)
    return changed


def check_build(compiled: Sequence[Compiled], root: Path = ROOT) -> list[str]:
    """One sentence for each committed build file that does not follow from the sources."""
    problems = []
    for contract in compiled:
        path = root / BUILD_FOLDER / f"{contract.name}.json"
        if not path.exists():
            problems.append(f"{path.relative_to(root)} is missing.")
            continue
        text = path.read_text(encoding="utf-8")
        if text == contract.text():
            continue
        committed = json.loads(text)
        keys = sorted(committed.keys() | contract.content.keys())
        differing = [key for key in keys if committed.get(key) != contract.content.get(key)]
        where = ", ".join(differing) or "formatting"
        problems.append(f"{path.relative_to(root)} differs from the sources in: {where}.")
    return problems


def run(*, check: bool, root: Path = ROOT) -> tuple[int, list[str]]:
    """What both command lines do: exit code and the lines to print."""
    compiled = compile_contracts(root)
    if check:
        problems = check_build(compiled, root)
        if problems:
            return 1, [*problems, "Run `manage.py compile_contracts` and commit contracts/build."]
        return 0, ["contracts/build matches the sources."]
    changed = write_build(compiled, root)
    lines = [f"wrote {path.relative_to(root)}" for path in changed]
    return 0, lines or ["contracts/build is up to date."]


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m chain.compiler [--check]``."""
    parser = argparse.ArgumentParser(prog="chain.compiler", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if build differs")
    options = parser.parse_args(arguments)
    try:
        code, lines = run(check=options.check)
    except CompileError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    stream = sys.stderr if code else sys.stdout
    stream.write("\n".join(lines) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
