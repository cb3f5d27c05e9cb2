"""The examples of README.md and docs/api.md: every call and command in them exists."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

import bcfl_client
from bcfl_client import Client
from bcfl_client.command import _parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/api.md")


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text()
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)
    return [code for name, code in found if name == language]


@pytest.mark.parametrize("page", PAGES)
def test_python_examples(page: str) -> None:
    examples = [code for code in blocks(page, "python") if "bcfl_client" in code]
    assert examples
    for code in examples:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                assert all(hasattr(bcfl_client, name.name) for name in node.names)
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "console":
                assert hasattr(Client, node.attr), node.attr


def test_shell_examples() -> None:
    lines = [
        line
        for block in blocks("docs/api.md", "")
        for line in block.splitlines()
        if line.startswith("bcfl ")
    ]
    assert len(lines) > 5
    for line in lines:
        _parser().parse_args(shlex.split(line)[1:])
