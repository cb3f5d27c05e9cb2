"""The same on PostgreSQL, whose locks and isolation are not SQLite's."""

from __future__ import annotations

import json
import sys
from io import StringIO

import pytest
from django.core.management import call_command


@pytest.mark.skipif(sys.platform != "linux", reason="the packaged server is for Linux")
def test_faults_on_postgresql_leave_the_tables_of_a_clean_replay() -> None:
    out = StringIO()
    call_command(
        "simulate_faults", "--seed", "11", "--steps", "25", "--database", "postgresql", "--json",
        stdout=out,
    )  # fmt: skip
    report = json.loads(out.getvalue())
    (run,) = report["runs"]
    assert run["differences"] == []
    assert run["steps"] == 25
    assert run["sent"] > 0
    assert report["seen"]["reorg"] > 0
