"""The committed build follows from the sources, on any machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chain import compiler

from .conftest import ROOT

MAX_CODE_BYTES = 24_576  # EIP-170


@pytest.fixture(scope="module")
def compiled() -> dict[str, compiler.Compiled]:
    return {contract.name: contract for contract in compiler.compile_contracts()}


def test_the_committed_build_is_what_the_sources_compile_to(
    compiled: dict[str, compiler.Compiled],
) -> None:
    assert compiler.check_build(list(compiled.values())) == []


@pytest.mark.parametrize("name", compiler.CONTRACTS)
def test_the_build_is_complete_deployable_and_says_nothing_of_the_machine(name: str) -> None:
    text = (ROOT / "contracts" / "build" / f"{name}.json").read_text()
    build = json.loads(text)
    assert set(build) == {
        "abi", "bytecode", "compiler", "contractName", "deployedBytecode",
        "immutableReferences", "sourceHash", "sourceName",
    }  # fmt: skip
    assert 0 < (len(build["deployedBytecode"]) - 2) // 2 <= MAX_CODE_BYTES
    assert build["compiler"]["settings"] == compiler.settings()
    assert build["compiler"]["version"].startswith("0.8.")
    assert str(ROOT) not in text
    assert build["immutableReferences"], "both contracts have immutables"


def test_check_names_the_file_and_what_differs(
    compiled: dict[str, compiler.Compiled], tmp_path: Path
) -> None:
    contracts = list(compiled.values())
    assert [problem.split()[0] for problem in compiler.check_build(contracts, tmp_path)] == [
        "contracts/build/FLToken.json",
        "contracts/build/FLCoordinator.json",
    ]
    assert len(compiler.write_build(contracts, tmp_path)) == 2
    assert compiler.write_build(contracts, tmp_path) == []
    assert compiler.check_build(contracts, tmp_path) == []
    path = tmp_path / "contracts" / "build" / "FLToken.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"bytecode": "0x00"}))
    assert compiler.check_build(contracts, tmp_path) == [
        "contracts/build/FLToken.json differs from the sources in: bytecode."
    ]


def test_imports_are_found_where_code_has_them_and_nowhere_else() -> None:
    source = """
    // import "commented.sol";
    /* import {A} from "also.sol"; */
    import "./plain.sol";
    import {B, C} from "@openzeppelin/contracts/x.sol";
    import * as D from '../d.sol';
    """
    assert compiler.imports_of(source) == [
        "./plain.sol",
        "@openzeppelin/contracts/x.sol",
        "../d.sol",
    ]


def test_sources_have_names_that_are_the_same_on_every_machine() -> None:
    names = list(compiler.collect_sources(["contracts/src/FLCoordinator.sol"]))
    assert names == sorted(names)
    assert "contracts/interfaces/IFLCoordinator.sol" in names
    assert all(name.startswith(("contracts/", "@openzeppelin/")) for name in names)


def test_a_missing_import_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.sol").write_text('import "@openzeppelin/contracts/Gone.sol";')
    with pytest.raises(compiler.CompileError, match=r"Gone\.sol is missing.*npm ci"):
        compiler.collect_sources(["a.sol"], tmp_path)


def test_a_source_that_does_not_compile_is_reported_with_the_compilers_words(
    tmp_path: Path,
) -> None:
    for folder in ("contracts", "foundry.toml"):
        source = ROOT / folder
        if source.is_dir():
            shutil.copytree(
                source, tmp_path / folder, ignore=shutil.ignore_patterns("out", "cache")
            )
        else:
            shutil.copy(source, tmp_path / folder)
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    token = tmp_path / "contracts" / "src" / "FLToken.sol"
    token.write_text(token.read_text().replace("_mint(", "_mitn("))
    with pytest.raises(compiler.CompileError, match="Undeclared identifier"):
        compiler.compile_contracts(tmp_path)


def test_the_compiler_executable_answers_like_a_compiler() -> None:
    binary = compiler.compiler_path()
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    assert "Version: 0.8." in version.stdout
    request = {"language": "Solidity", "sources": {"A.sol": {"content": "contract A { B b; }"}}}
    done = subprocess.run(
        [binary, "--standard-json", "--base-path", "/nowhere", "-"],
        input=json.dumps(request), capture_output=True, text=True, check=True,
    )  # fmt: skip
    errors = [e["message"] for e in json.loads(done.stdout)["errors"] if e["severity"] == "error"]
    assert any("not found" in message for message in errors)


def test_the_module_runs_without_django() -> None:
    code = "import sys, chain.compiler; sys.exit('django' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
