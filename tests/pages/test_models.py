"""Models: versions from the chain, stages from decisions, and bytes that must match."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from django.test import Client

from sessions_app.errors import ModelRefused, NoSuchVersion, NotAllowed, WrongStage
from sessions_app.models import AuditEntry, ModelDecision, ModelFile, Round, Task, User
from sessions_app.selectors.models.comparison import compare_versions
from sessions_app.selectors.models.listing import model_list
from sessions_app.selectors.models.registry import registered_model
from sessions_app.services import models as model_services
from tests import factories
from training.blobs import BlobStore
from training.privacy import epsilon
from training.specs import PrivacySpec, TaskConfig


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    monkeypatch.setenv("BLOB_ROOT", str(tmp_path / "blobs"))
    return BlobStore.default()


@pytest.fixture
def task(operator: User, store: BlobStore) -> Task:
    """Three rounds; the bytes of each version are in the store and hash to what the rows say."""
    task = factories.finished_task(operator, title="Digits of three clinics").task
    factories.store_models(task, store)
    return task


def spoil(store: BlobStore, ref: str) -> None:
    path = store.path(ref)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_version_for_each_finalised_round(task: Task) -> None:
    model = registered_model(task)
    assert [v.number for v in model.versions] == [0, 1, 2, 3]
    assert [v.stage for v in model.versions] == ["initial", *["candidate"] * 3]
    assert all(v.stored for v in model.versions)
    third = Round.objects.get(task=task, number=3)
    assert model.version(3).model_hash == third.model_hash
    assert model.version(3).tx_hash == third.finalized_tx
    assert model.version(2).model_hash == third.base_model_hash
    assert model.version(0).tx_hash == task.created_tx
    assert (model.version(1).participants, model.production) == (3, None)
    with pytest.raises(NoSuchVersion, match="has no version 4; it has 0 to 3"):
        model.version(4)
    with pytest.raises(NoSuchVersion, match="version=3 is the latest"):
        model.served()


def test_promote_roll_back_retire_restore(task: Task, operator: User) -> None:
    def stages() -> list[str]:
        return [v.stage for v in registered_model(task).versions]

    act = {"task": task, "by": operator}
    for number in (1, 2, 3):
        model_services.version_promote(**act, number=number, note=f"the {number}.")
    assert stages() == ["initial", "candidate", "candidate", "production"]
    assert model_services.model_roll_back(**act).number == 2
    assert model_services.model_roll_back(**act, note="worse in the ward").number == 1
    assert stages() == ["initial", "production", "candidate", "candidate"]
    with pytest.raises(WrongStage, match="had no other version in production"):
        model_services.model_roll_back(**act)
    model_services.version_promote(**act, number=3)
    model_services.version_retire(**act, number=3)
    assert stages() == ["initial", "candidate", "candidate", "retired"]  # nothing answers
    assert model_services.model_roll_back(**act).number == 1
    with pytest.raises(WrongStage, match="Restore it first"):
        model_services.version_promote(**act, number=3)
    model_services.version_restore(**act, number=3)
    assert stages() == ["initial", "production", "candidate", "candidate"]
    with pytest.raises(WrongStage, match="Version 0 is untrained"):
        model_services.version_promote(**act, number=0)
    decisions = registered_model(task).decisions
    assert decisions[0].text == "Restored version 3"
    assert next(d.note for d in decisions if d.note) == "worse in the ward"
    logged = AuditEntry.objects.filter(action__startswith="model.").order_by("pk")
    assert [e.action for e in logged][:4] == ["model.promote"] * 3 + ["model.rollback"]
    assert logged[0].details["version"] == 1


def test_a_decision_holds_only_for_the_model_it_was_made_on(task: Task, operator: User) -> None:
    """A reorg may end a round in another model."""
    model_services.version_promote(task=task, number=2, by=operator)
    Round.objects.filter(task=task, number=2).update(model_hash=factories.hash_of("other"))
    model = registered_model(task)
    assert model.production is None
    assert model.decisions[0].holds is False


def test_only_the_operator_decides_and_only_the_task_uses(
    task: Task, operator: User, participant: User, admin: User
) -> None:
    stranger = factories.user("operator", name="Otto")
    with pytest.raises(NotAllowed):
        model_services.version_promote(task=task, number=1, by=participant)
    with pytest.raises(NotAllowed, match="the operator of task"):
        model_services.version_promote(task=task, number=1, by=stranger)
    with pytest.raises(NotAllowed, match="participants of task"):
        model_services.file_download(task=task, number=1, format="safetensors", by=stranger)
    for user in (operator, participant, admin):  # Eastfield has a seat
        found = model_services.file_download(task=task, number=1, format="safetensors", by=user)
        assert found.path.read_bytes() == factories.model_bytes(1)
    assert ModelDecision.objects.count() == 0


def test_tampered_bytes_are_refused_everywhere(
    task: Task, operator: User, as_operator: Client, store: BlobStore
) -> None:
    ref = Round.objects.get(task=task, number=2).model_hash
    spoil(store, ref)
    for attempt in (
        lambda: model_services.version_promote(task=task, number=2, by=operator),
        lambda: model_services.file_request(task=task, number=2, format="keras", by=operator),
        lambda: model_services.file_download(
            task=task, number=2, format="safetensors", by=operator
        ),
        lambda: model_services.predict(task=task, number=2, rows=[[0.0] * 64], by=operator),
    ):
        with pytest.raises(ModelRefused, match="not the model that the chain names") as refused:
            attempt()
        assert ref in str(refused.value)
    page = as_operator.get(f"/models/{task.pk}/2/").content.decode()
    assert "Refused: not the model on chain" in page
    assert "differs from chain" in page
    assert "Promote" not in page
    assert (
        "Refused: not the model on chain"
        in as_operator.get(f"/models/{task.pk}/2/try/").content.decode()
    )
    card = as_operator.get(f"/models/{task.pk}/2/card.md").content.decode()
    assert "REFUSED: not what the chain names" in card
    answer = as_operator.get(f"/models/{task.pk}/2/files/safetensors/download", follow=True)
    assert "is refused" in answer.content.decode()


def test_missing_bytes_say_so(task: Task, as_operator: Client, store: BlobStore) -> None:
    store.path(Round.objects.get(task=task, number=1).model_hash).unlink()
    page = as_operator.get(f"/models/{task.pk}/1/").content.decode()
    assert "The bytes of this version are not here" in page
    assert "no bytes" in as_operator.get(f"/models/{task.pk}/").content.decode()


def test_a_made_file_is_checked_before_it_leaves(
    task: Task, operator: User, as_operator: Client, store: BlobStore
) -> None:
    with pytest.raises(WrongStage, match="is not made yet"):
        model_services.file_download(task=task, number=3, format="tflite", by=operator)
    row = model_services.file_request(task=task, number=3, format="tflite", by=operator)
    again = model_services.file_request(task=task, number=3, format="tflite", by=operator)
    assert (row.pk, row.status) == (again.pk, ModelFile.Status.QUEUED)
    model_services.file_progress(row.pk, stage="building", done=2, total=5)
    part = as_operator.get(f"/models/{task.pk}/3/files/").content.decode()
    assert "Building, step 2 of 5" in part
    assert 'hx-trigger="every 1s"' in part
    model_services.file_failed(row.pk, "the converter said no")
    assert "the converter said no" in as_operator.get(f"/models/{task.pk}/3/").content.decode()
    row = model_services.file_request(task=task, number=3, format="tflite", by=operator)
    path = store.root / "exports" / "m.tflite"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a model")
    model_services.file_made(
        row.pk,
        {
            "model_hash": row.model_hash,
            "file": "exports/m.tflite",
            "sha256": model_services._sha256(path),
            "bytes": 7,
            "max_difference": 2e-7,
            "checked": 64,
            "tensorflow": "2.21",
            "keras": "3",
            "seconds": 1.5,
        },
    )
    answer = as_operator.get(f"/models/{task.pk}/3/files/tflite/download")
    assert b"".join(answer.streaming_content) == b"a model"
    assert f"model-{task.pk}-version-3.tflite" in answer["Content-Disposition"]
    path.write_bytes(b"a wolf.")
    answer = as_operator.get(f"/models/{task.pk}/3/files/tflite/download", follow=True)
    assert "its SHA-256 is" in answer.content.decode()


def test_the_card_says_what_the_ledger_says(task: Task, as_participant: Client) -> None:
    card = json.loads(as_participant.get(f"/models/{task.pk}/3/card.json").content)
    last = Round.objects.get(task=task, number=3)
    assert card["model_hash"] == last.model_hash
    assert card["accuracy"] == (last.accuracy_ppm or 0) / 1e6
    assert card["finalized"]["transaction"] == last.finalized_tx
    assert card["config_hash"] == task.config_hash
    assert card["parameters"] == 64 * 64 + 64 + 64 * 10 + 10
    assert sum(p["share"] for p in card["participants"]) == pytest.approx(1, abs=1e-5)
    assert [p["rounds"] for p in card["participants"]] == [3, 3, 3]
    assert [(e["name"], e["agrees"]) for e in card["evaluators"]] == [("Evaluator 1", True)]
    assert card["transactions"]["Task created"] == task.created_tx
    assert card["bytes"]["state"] == "match"
    where = f"/models/{task.pk}/3/participants"
    assert as_participant.get(f"{where}.json").json() == card["participants"]
    lines = as_participant.get(f"{where}.csv").content.decode().splitlines()
    assert lines[0] == "name,address,samples,share,rounds,earned_wei"
    assert len(lines) == 1 + 3
    page = as_participant.get(f"/models/{task.pk}/3/").content.decode()
    assert all(f'href="{where}.{style}"' in page for style in ("csv", "json"))
    text = as_participant.get(f"/models/{task.pk}/3/card.md").content.decode()
    assert text.startswith("# Digits of three clinics, version 3\n")
    for value in (last.model_hash, last.finalized_tx, task.config_hash, "Handwritten digits"):
        assert value in text
    assert "Untrained" in as_participant.get(f"/models/{task.pk}/0/card.md").content.decode()


def test_the_card_tells_what_privacy_was_spent(task: Task, as_operator: Client) -> None:
    plain = as_operator.get(f"/models/{task.pk}/3/card.json").json()["privacy"]
    assert "Nothing more is promised" in plain
    config = TaskConfig.from_dict(task.config or {})
    noisy = replace(config, privacy=PrivacySpec("gaussian", {"noise": 4.0}))
    Task.objects.filter(pk=task.pk).update(config=noisy.to_dict())
    said = as_operator.get(f"/models/{task.pk}/3/card.json").json()["privacy"]
    spent = epsilon(4.0, delta=1e-5, rounds=3)
    assert 1 < spent < 3  # about √(2 ln(1.25 / δ)) · √3 ÷ 4
    assert f"({spent:.3g}, 1e-05) for the participant's whole data set over 3 rounds" in said


def test_markdown_of_a_title_stays_text(operator: User, as_operator: Client) -> None:
    task = factories.finished_task(operator, title="a|b <script> [x](y)").task
    text = as_operator.get(f"/models/{task.pk}/1/card.md").content.decode()
    assert text.startswith("# a\\|b \\<script\\> \\[x\\](y), version 1")


def test_two_versions_compared(task: Task, as_operator: Client) -> None:
    model = registered_model(task)
    found = compare_versions(model.version(1), model.version(3))
    count = 64 * 64 + 64 + 64 * 10 + 10
    assert found.distance == pytest.approx(2 * count**0.5)
    assert found.relative == pytest.approx(2.0)
    assert found.accuracy_change_ppm == (model.version(3).accuracy_ppm or 0) - (
        model.version(1).accuracy_ppm or 0
    )
    page = as_operator.get(f"/models/{task.pk}/?a=1&b=3").content.decode()
    assert "Version 1 and version 3" in page
    assert "200.0 % of version 1" in page
    assert "has no version 9" in as_operator.get(f"/models/{task.pk}/?a=1&b=9").content.decode()
    assert as_operator.get(f"/models/{task.pk}/?a=x&b=3").status_code == 404


def test_the_list(task: Task, operator: User, participant: User, as_operator: Client) -> None:
    factories.draft(operator, "Not a model yet")
    other = factories.finished_task(operator, title="Another").task
    assert [r.pk for r in model_list(operator).rows] == [other.pk, task.pk]
    assert model_list(operator, kind="production").rows == []
    model_services.version_promote(task=task, number=2, by=operator)
    (row,) = model_list(operator, kind="production").rows
    assert (row.pk, row.production, row.latest) == (task.pk, 2, 3)
    assert row.production_ppm == Round.objects.get(task=task, number=2).accuracy_ppm
    assert model_list(operator, kind="waiting").rows[0].pk == other.pk
    assert model_list(participant, kind="mine").rows == []
    assert [r.pk for r in model_list(operator, query="three clinics").rows] == [task.pk]
    by_hash = Round.objects.get(task=task, number=1).model_hash
    assert [r.pk for r in model_list(operator, query=by_hash).rows] == [task.pk]
    page = as_operator.get("/models/").content.decode()
    assert "2\n      models, 1 in production" in page
    assert "Version 2" in page
    assert as_operator.get("/models/?format=csv").content.decode().count("\n") == 3
    assert as_operator.get("/models/?show=nonsense").status_code == 404


def test_an_empty_registry_names_the_next_step(as_operator: Client) -> None:
    page = as_operator.get("/models/").content.decode()
    assert "No model yet" in page
    assert "Open the tasks" in page
    assert as_operator.get("/models/77/").status_code == 404


def test_decisions_on_the_pages(task: Task, as_operator: Client, as_participant: Client) -> None:
    answer = as_operator.post(f"/models/{task.pk}/2/promote/", {"note": "best"}, follow=True)
    assert "Version 2 is in production" in answer.content.decode()
    assert "best" in answer.content.decode()
    assert as_participant.post(f"/models/{task.pk}/3/promote/").status_code == 403
    answer = as_operator.post(
        f"/models/{task.pk}/2/retire/", {"next": f"/models/{task.pk}/2/"}, follow=True
    )
    assert answer.redirect_chain[-1][0] == f"/models/{task.pk}/2/"
    assert "Retired" in answer.content.decode()
    assert "is retired" in as_operator.get(f"/models/{task.pk}/2/try/").content.decode()
    answer = as_operator.post(f"/models/{task.pk}/rollback/", {"note": "why not"}, follow=True)
    assert "Your note: why not" in answer.content.decode()  # refused, and not lost


def test_versions_can_be_exported(task: Task, as_operator: Client) -> None:
    rows = json.loads(as_operator.get(f"/models/{task.pk}/versions.json").content)["versions"]
    assert [row["version"] for row in rows] == [0, 1, 2, 3]
    text = as_operator.get(f"/models/{task.pk}/versions.csv").content.decode()
    assert text.splitlines()[0].startswith("version,stage,model_hash")
    assert len(text.splitlines()) == 5
