"""The benchmark command runs, and what it says adds up."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from bcfl_site.benchmarks import NAMES, benchmark, columns, numbers


def report(*arguments: str) -> Any:
    out = io.StringIO()
    call_command("benchmark", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_every_benchmark_has_a_sentence() -> None:
    for name in NAMES:
        assert benchmark(name).HELP.endswith(".")
    with pytest.raises(CommandError, match="invalid choice"):
        call_command("benchmark", "vibes")


def test_aggregate_agrees_with_numpy() -> None:
    arguments = ("--participants", "5,10", "--parameters", "20000", "--repeats", "1")
    measured = report("aggregate", *arguments)
    assert measured["parameters"] == 20_000
    rows = {(row["rule"], row["updates"]): row for row in measured["rows"]}
    assert len(rows) == 2 * 3 + 2
    assert all(row["identical"] for row in rows.values())
    assert all(row["gigabytes_per_second"] > 0 for row in rows.values())
    # The mean needs as much for ten updates as for five.
    few, many = rows["fedavg", 5]["memory_bytes"], rows["fedavg", 10]["memory_bytes"]
    assert many < few + 100_000
    table = benchmark("aggregate").table(measured)
    assert "trimmed_mean" in table


def test_attacks_show_the_mean_ruined_and_the_median_standing() -> None:
    arguments = ("--rounds", "3", "--model", "logistic", "--scorings", "accuracy,leave_one_out")
    measured = report("attacks", *arguments, "--rules", "fedavg,median")
    fedavg, median = measured["rows"]
    assert measured["attackers"] == 3
    assert fedavg["points"] > 20
    assert median["points"] < 10
    assert set(median["pay"]) == {"accuracy", "leave_one_out"}
    assert all(0 <= share < 0.3 for share in median["pay"].values())
    assert "fedavg" in benchmark("attacks").table(measured)


def test_overhead_tells_the_chain_from_the_work() -> None:
    """The table of a made-up report; the benchmark itself needs a whole stack."""
    side = {"rounds": [2.0, 1.0, 3.0], "samples_per_second": 50.0, "accuracy": 0.9}
    names = ("participants", "rounds", "epochs", "repeat", "workers", "samples")
    table = benchmark("overhead").table(
        {
            **dict.fromkeys(names, 2),
            "dataset": "digits",
            "model": "mlp",
            "load_of_the_machine": 0.5,
            "on": {**side, "seconds": 2.0},
            "off": {**side, "seconds": 1.9},
            "added_seconds": 0.1,
            "share": 0.05,
            "chain_wait": 0.04,
        }
    )
    assert "adds 0.10 s to a round: 5.0 % of this one" in table


def test_absent_data_is_said_in_a_sentence(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from training import data

    data._load.cache_clear()
    monkeypatch.setenv("BCFL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(CommandError, match="the files of mnist are not here"):
        report("attacks", "--dataset", "mnist", "--model", "logistic")


def test_tables_and_numbers() -> None:
    assert numbers("10,1e3") == [10, 1000]
    assert columns(["a", "b"], [["x", "10"]]).splitlines() == ["a   b", "-  --", "x  10"]
