"""The house of docs: who may import whom, and where the heavy packages may be."""

import ast
import subprocess
import sys
import tomllib
from functools import lru_cache
from pathlib import Path

import grimp
import pytest
from django.apps import apps

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("agent", "bcfl_site", "sessions_app", "chain", "training")
# Without Django, Celery, web3 and TensorFlow, as soon as they exist.
PURE = {
    "chain.events",
    "chain.reorg",
    "chain.ranges",
    "training.specs",
    "training.aggregation",
    "training.scoring",
    "training.privacy",
}


@lru_cache(maxsize=1)
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*ROOMS, include_external_packages=True, cache_dir=None)


def importers(package: str) -> set[str]:
    """Modules of ours with an import statement of ``package``, at the top or in a function.

    Benchmarks are left out: they measure us against the plain way of using these packages.
    """
    found = graph().find_modules_that_directly_import(package)
    return {name for name in found if not name.startswith("bcfl_site.benchmarks.")}


def test_nothing_but_commands_uses_the_benchmarks() -> None:
    used_by = {
        importer
        for module in graph().modules
        if module == "bcfl_site.benchmarks" or module.startswith("bcfl_site.benchmarks.")
        for importer in graph().find_modules_that_directly_import(module)
    }
    outside = {name for name in used_by if not name.startswith("bcfl_site.benchmarks")}
    assert {name for name in outside if ".management.commands." not in name} == set()


def test_import_contracts() -> None:
    ran = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_web3_is_known_to_the_client_alone() -> None:
    assert importers("web3") == {"chain.client"}


@pytest.mark.parametrize("package", ["tensorflow", "keras"])
def test_tensorflow_is_imported_in_one_place(package: str) -> None:
    assert importers(package) == {"training.runtime"}  # which sets it up before it is imported


def test_the_agent_needs_neither_django_nor_celery() -> None:
    """What it imports at its start, in a process of its own; TensorFlow comes when it trains."""
    code = (
        "import sys, pkgutil, importlib, agent\n"
        "for found in pkgutil.iter_modules(agent.__path__, 'agent.'):\n"
        "    importlib.import_module(found.name)\n"
        "heavy = {'django', 'celery', 'kombu', 'redis', 'tensorflow', 'keras', 'sessions_app'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.strip()) == (0, "[]"), ran.stderr


def test_every_pure_module_is_under_contract() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = [c for c in config["contracts"] if c["id"] == "pure"]
    assert set(contract["source_modules"]) == PURE & graph().modules


def test_relations_between_tables_follow_the_rooms() -> None:
    """A foreign key by name is an import that import-linter cannot see."""
    above = {"chain": {"sessions_app", "bcfl_site"}, "sessions_app": {"bcfl_site"}}
    found = [
        f"{model._meta.label}.{field.name} -> {field.related_model._meta.label}"
        for room, forbidden in above.items()
        for model in apps.get_app_config(room).get_models()
        for field in model._meta.get_fields()
        if field.is_relation
        and not field.auto_created
        and field.related_model
        and field.related_model._meta.app_label in forbidden
    ]
    assert found == []


@pytest.mark.parametrize(
    ("room", "above"),
    [
        ("chain", ("sessions_app.", "bcfl_site.")),
        ("training", ("sessions_app.", "chain.", "bcfl_site.")),
        ("sessions_app", ("bcfl_site.",)),
    ],
)
def test_names_of_higher_rooms_are_not_written_as_text(room: str, above: tuple[str, ...]) -> None:
    """Task names and model labels in strings would be imports by another name."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value!r}"
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(above)
        and " " not in node.value
    ]
    assert found == []
