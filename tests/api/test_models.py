"""Models over the API: versions, decisions, files and refusals. Predictions: tests/stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions_app.models import Task, User
from tests import factories
from tests.api.conftest import Program, program
from training.blobs import BlobStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    monkeypatch.setenv("BLOB_ROOT", str(tmp_path / "blobs"))
    return BlobStore.default()


@pytest.fixture
def task(operator: User, store: BlobStore) -> Task:
    task = factories.finished_task(operator, title="Digits").task
    factories.store_models(task, store)
    return task


def test_read(task: Task, as_operator: Program) -> None:
    (row,) = as_operator.get("/models").json()["items"]
    assert (row["id"], row["versions"], row["production_version"]) == (task.pk, 3, None)
    model = as_operator.get(f"/models/{task.pk}").json()
    assert [v["stage"] for v in model["versions"]] == ["initial", *["candidate"] * 3]
    version = as_operator.get(f"/models/{task.pk}/versions/2").json()
    assert version == model["versions"][2]
    card = as_operator.get(f"/models/{task.pk}/versions/2/card").json()
    assert card["model_hash"] == version["model_hash"]
    assert card["data"]["Data set"] == "Handwritten digits"
    for path in ("/models/999999", f"/models/{task.pk}/versions/9"):
        assert as_operator.get(path).status_code == 404
    assert as_operator.get("/models", show="nonsense").status_code == 422


def test_pages_of_the_list(operator: User, as_operator: Program, store: BlobStore) -> None:
    tasks = [factories.finished_task(operator, title=f"T {n}").task.pk for n in range(3)]
    first = as_operator.get("/models", limit=2).json()
    assert [row["id"] for row in first["items"]] == tasks[:0:-1]
    rest = as_operator.get("/models", limit=2, cursor=first["next"]).json()
    assert [row["id"] for row in rest["items"]] == tasks[:1]
    assert rest["next"] is None


def test_decide(task: Task, as_operator: Program, as_participant: Program) -> None:
    path = f"/models/{task.pk}"
    for number in (1, 3):
        answer = as_operator.post(f"{path}/versions/{number}/promote", {"note": "good"})
        assert (answer.status_code, answer.json()["stage"]) == (200, "production")
    assert as_operator.get(path).json()["production_version"] == 3
    assert as_operator.post(f"{path}/rollback", {}).json()["version"] == 1
    assert as_operator.post(f"{path}/versions/3/retire", {}).json()["stage"] == "retired"
    assert as_operator.post(f"{path}/versions/3/promote", {}).status_code == 409
    assert as_operator.post(f"{path}/versions/3/restore", {}).json()["stage"] == "candidate"
    assert as_participant.post(f"{path}/versions/2/promote", {}).status_code == 403
    actions = [d["action"] for d in as_operator.get(path).json()["decisions"]]
    assert actions == ["restore", "retire", "rollback", "promote", "promote"]


def test_files(task: Task, as_operator: Program, store: BlobStore) -> None:
    path = f"/models/{task.pk}/versions/3/files"
    files = {file["format"]: file for file in as_operator.get(path).json()}
    assert files["safetensors"]["status"] == "ready"
    assert files["keras"]["status"] == "absent"
    answer = as_operator.get(f"{path}/safetensors")
    content = b"".join(answer.streaming_content)
    assert content == factories.model_bytes(3)
    assert answer["Repr-Digest"].startswith("sha-256=:")
    assert as_operator.post(f"{path}/safetensors").status_code == 200
    made = as_operator.post(f"{path}/keras")
    assert (made.status_code, made.json()["status"]) == (202, "queued")
    assert as_operator.get(f"{path}/keras").status_code == 409
    assert as_operator.post(f"{path}/onnx").status_code == 422


def test_refusals_of_a_prediction(task: Task, as_operator: Program, store: BlobStore) -> None:
    path = f"/models/{task.pk}/predict"
    nothing = as_operator.post(path, {"rows": [[0] * 64]})
    assert (nothing.status_code, nothing.json()["title"]) == (404, "There is no such thing")
    short = as_operator.post(f"{path}?version=3", {"rows": [[0] * 63]})
    assert short.status_code == 422
    assert short.json()["errors"][0]["field"] == "body.rows"
    assert "rows[0] has 63 numbers, but this model takes 64 (8 × 8)" in short.json()["detail"]
    assert as_operator.post(f"{path}?version=3", {"rows": []}).status_code == 422
    assert as_operator.post(f"{path}?version=-1", {"rows": [[0] * 64]}).status_code == 422
    ref = as_operator.get(f"/models/{task.pk}/versions/3").json()["model_hash"]
    store.path(ref).write_bytes(b"something else")
    refused = as_operator.post(f"{path}?version=3", {"rows": [[0] * 64]})
    assert (refused.status_code, refused.json()["title"]) == (409, "The model is refused")
    assert as_operator.get(f"/models/{task.pk}/versions/3/files/safetensors").status_code == 409


def test_only_those_of_the_task_use_it(
    task: Task, as_participant: Program, store: BlobStore
) -> None:
    """Eastfield has a seat; a stranger sees the model, and neither asks nor downloads it."""
    stranger = program(factories.user("operator", name="Otto"))
    path = f"/models/{task.pk}/versions/3/files"
    assert as_participant.get(path).status_code == 200
    assert stranger.get(f"/models/{task.pk}").status_code == 200
    for answer in (
        stranger.get(path),
        stranger.get(f"{path}/safetensors"),
        stranger.post(f"/models/{task.pk}/predict?version=3", {"rows": [[0] * 64]}),
        stranger.get(f"/models/{task.pk}/sample"),
    ):
        assert answer.status_code == 403
        assert "participants of task" in answer.json()["detail"]
