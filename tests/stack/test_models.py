"""A model from training to prediction, on real workers: asked over HTTP, downloaded, loaded."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bcfl_site.embedded.stack import Stack
from training.canonical import keccak_hex

TOKEN = """
from sessions_app.models import User
from sessions_app.services.tokens import token_create
user = User.objects.get(username="mara")
print("token", token_create(user=user, name="test", scope="write")[1])
"""
SHORT = ("--participants", "2", "--rounds", "2", "--seed", "3", "--wait", "--json")
# As in production the first prediction after a start loads TensorFlow.
COLD = 60.0


@dataclass(frozen=True)
class Program:
    url: str
    token: str

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"{self.url}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=COLD) as answer:
                content = answer.read()
                kind = answer.headers["Content-Type"]
                return answer.status, json.loads(content) if "json" in kind else content
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


@pytest.fixture(scope="module")
def report(stack: Stack) -> dict[str, Any]:
    stack.manage("seed_demo")
    answer = stack.manage(
        "run_task", "--dataset", "breast_cancer", "--model", "logistic", *SHORT, seconds=180
    )
    loaded: dict[str, Any] = json.loads(answer)
    return loaded


@pytest.fixture(scope="module")
def program(stack: Stack, report: dict[str, Any]) -> Program:
    words = stack.manage("shell", "-c", TOKEN).split()
    return Program(stack.url, words[words.index("token") + 1])


def until(met: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
    return found


def test_from_training_to_prediction(report: dict[str, Any], program: Program) -> None:
    model = report["task"]["id"]
    path = f"/api/v1/models/{model}"
    status, found = program.ask("GET", path)
    assert (status, [v["version"] for v in found["versions"]]) == (200, [0, 1, 2])
    assert found["versions"][2]["model_hash"] == report["rounds"][1]["model_hash"]

    status, sample = program.ask("GET", f"{path}/sample?number=4")
    assert (status, sample["of"]) == (200, 113)
    rows = {"rows": [sample["row"]]}
    status, refused = program.ask("POST", f"{path}/predict", rows)
    assert (status, refused["title"]) == (404, "There is no such thing")
    assert f"No version of model {model} is in production. Promote one" in refused["detail"]
    assert program.ask("POST", f"{path}/versions/1/promote", {"note": "first"})[0] == 200
    status, first = program.ask("POST", f"{path}/predict", rows)
    assert (status, first["version"]) == (200, 1)
    assert first["model_hash"] == report["rounds"][0]["model_hash"]
    assert sum(first["predictions"][0]["probabilities"]) == pytest.approx(1, abs=1e-4)
    status, named = program.ask("POST", f"/api/models/{model}/predict?version=2", rows)
    assert (status, named["version"], named["warm"]) == (200, 2, False)
    status, again = program.ask("POST", f"/api/models/{model}/predict?version=2", rows)
    assert again["predictions"] == named["predictions"]
    assert again["warm"] is True
    assert again["latency_ms"] < 1000
    status, refused = program.ask("POST", f"{path}/predict", {"rows": [{"mean radius": 1}]})
    assert (status, refused["errors"][0]["field"]) == (422, "body.rows")
    assert "this model also needs 'mean texture'" in refused["detail"]

    # What leaves the building hashes to what the chain names, and to what it is said to be.
    status, weights = program.ask("GET", f"{path}/versions/2/files/safetensors")
    assert keccak_hex(weights) == report["rounds"][1]["model_hash"]
    assert program.ask("POST", f"{path}/versions/2/files/keras")[0] == 202

    def made() -> Any:
        files = {f["format"]: f for f in program.ask("GET", f"{path}/versions/2/files")[1]}
        assert files["keras"]["status"] != "failed", files["keras"]["error"]
        return files["keras"] if files["keras"]["status"] == "ready" else None

    file = until(made)
    status, content = program.ask("GET", file["url"])
    assert hashlib.sha256(content).hexdigest() == file["sha256"]


def test_tampered_bytes_answer_nothing(
    stack: Stack, report: dict[str, Any], program: Program
) -> None:
    model, ref = report["task"]["id"], report["rounds"][0]["model_hash"]
    blob = stack.home / "blobs" / ref[2:4] / f"{ref[4:]}.safetensors"
    kept = blob.read_bytes()
    blob.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        path = f"/api/v1/models/{model}/predict?version=1"
        status, refused = program.ask("POST", path, {"rows": [[0.0] * 30]})
        assert (status, refused["title"]) == (409, "The model is refused")
        assert ref in refused["detail"]
    finally:
        blob.write_bytes(kept)


def test_without_a_worker_the_caller_is_told(
    stack: Stack, report: dict[str, Any], program: Program
) -> None:
    stack.kill("serving")
    try:
        path = f"/api/v1/models/{report['task']['id']}/predict?version=2"
        status, refused = program.ask("POST", path, {"rows": [[0.0] * 30]})
        assert (status, refused["title"]) == (503, "No worker answered")
        assert "Start the process `serving`" in refused["detail"]
    finally:
        stack.restart("serving")
