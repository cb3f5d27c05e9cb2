"""What outside participants send and read: sealed updates, resumed uploads, signatures to relay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings as django_settings
from django.utils import timezone
from eth_account import Account as Signer
from eth_account.signers.local import LocalAccount
from pytest_django import Settings

from chain.artifacts import DeployedContract, Deployment, save_deployment
from chain.models import Account, OutgoingTransaction
from chain.network import network_current
from chain.typed import UpdateMessage, unpack_updates
from sessions_app.models import Participant, Round, Task, TrainingRun, Upload, User, Wallet
from sessions_app.rounds import steps as round_steps
from sessions_app.services import uploads
from tests import factories
from tests.api.conftest import Program, program
from tests.api.test_base import check_problem
from training.blobs import BlobStore
from training.canonical import keccak_hex, update_hash
from training.specs import TaskConfig
from training.weights import encode

pytestmark = pytest.mark.django_db
KEYS = [Signer.from_key(bytes([number] * 32)) for number in (11, 12, 13)]


def weights(value: float) -> bytes:
    return encode({"layer/kernel": np.full((300, 700), value, dtype=np.float32)})  # 840 KB


def owner_of(key: LocalAccount) -> User:
    user = User.objects.create_user(key.address[:12], first_name="Hospital")
    Wallet.objects.create(user=user, address=key.address, verified_at=timezone.now())
    return user


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    monkeypatch.setenv("BLOB_ROOT", str(tmp_path / "blobs"))
    return BlobStore.default()


@pytest.fixture
def deployed() -> Iterator[None]:
    """Addresses of contracts, as signatures and calls name them."""
    made = {
        name: DeployedContract(address, 0, "0x" + "0" * 64, [], "", "")
        for name, address in (
            ("FLToken", factories.TOKEN),
            ("FLCoordinator", factories.COORDINATOR),
        )
    }
    path = save_deployment(Deployment(network_current().chain_id, "0x" + "0" * 64, made))
    yield
    path.unlink()


@pytest.fixture
def story(store: BlobStore, operator: User) -> factories.TaskStory:
    """Round 1 is open; two hospitals and a third one have joined from outside."""
    ref = store.put(weights(0.0))
    task = factories.draft(operator, participants=3, hosted_places=0, rounds=2)
    story = factories.TaskStory(task).fund()
    for index, key in enumerate(KEYS):
        joined = story._event(
            "ParticipantJoined",
            participant=key.address,
            index=index,
            samplesCap=100,
            stake=task.stake,
        )
        story.mine(key.address, "join", [joined])
        story.earned[key.address] = 0
    story.start()
    Round.objects.update(base_model_hash=ref)
    return story


@pytest.fixture
def hospitals(story: factories.TaskStory) -> list[Program]:
    return [program(owner_of(key)) for key in KEYS]


def submit(story: factories.TaskStory, key: LocalAccount, data: bytes) -> str:
    bound = update_hash(key.address, story.onchain_id, 1, keccak_hex(data))
    event = story._event(
        "UpdateSubmitted", participant=key.address, round=1, updateHash=bound, samples=50
    )
    story.mine(key.address, "submitUpdate", [event])
    return bound


def announce(hospital: Program, task: Task, data: bytes, **changes: Any) -> Any:
    body = {"content_hash": keccak_hex(data), "size": len(data), **changes}
    return hospital.post(f"/tasks/{task.pk}/rounds/1/upload", body)


def piece(hospital: Program, task: Task, offset: int, data: bytes) -> Any:
    return hospital.client.generic(
        "PATCH",
        f"/api/v1/tasks/{task.pk}/rounds/1/upload?offset={offset}",
        data,
        content_type="application/octet-stream",
    )


def send(hospital: Program, task: Task, data: bytes) -> None:
    assert announce(hospital, task, data).status_code == 200
    answer = piece(hospital, task, 0, data)
    assert (answer.status_code, answer.json()["complete"]) == (200, True), answer.content


def test_an_upload_goes_on_where_it_was(
    story: factories.TaskStory, hospitals: list[Program], store: BlobStore
) -> None:
    task, data = story.task, weights(1.0)
    first = announce(hospitals[0], task, data).json()
    assert (first["received"], first["size"], first["complete"]) == (0, len(data), False)
    assert piece(hospitals[0], task, 0, data[:500_000]).json()["received"] == 500_000
    problem = check_problem(piece(hospitals[0], task, 0, data[:10]), 409, "conflict")
    assert "500000 of" in problem["detail"]
    assert announce(hospitals[0], task, data).json()["received"] == 500_000
    last = piece(hospitals[0], task, 500_000, data[500_000:]).json()
    assert (last["complete"], last["problem"]) == (True, "")
    assert store.get(keccak_hex(data)) == data
    assert announce(hospitals[0], task, data).json()["complete"]
    assert Upload.objects.count() == 1


def test_other_bytes_than_announced_are_not_kept(
    story: factories.TaskStory, hospitals: list[Program], store: BlobStore
) -> None:
    task, data, other = story.task, weights(1.0), weights(2.0)
    announce(hospitals[0], task, data)
    answer = piece(hospitals[0], task, 0, other).json()
    assert (answer["received"], answer["complete"]) == (0, False)
    assert "was announced" in answer["problem"]
    assert not store.exists(keccak_hex(other))
    send(hospitals[0], task, data)  # and it can be put right


def test_what_does_not_fit_is_refused(
    story: factories.TaskStory, hospitals: list[Program], as_participant: Program
) -> None:
    task, data = story.task, weights(1.0)
    size = check_problem(announce(hospitals[0], task, data, size=9), 409, "conflict")
    assert f"has {len(data)}" in size["detail"]
    check_problem(announce(as_participant, task, data), 403, "not-allowed")
    announce(hospitals[0], task, data)
    too_long = piece(hospitals[0], task, 0, b"x" * (len(data) + 1))
    check_problem(too_long, 409, "conflict")
    check_problem(piece(hospitals[0], task, 0, b"x" * (uploads.CHUNK_BYTES + 1)), 413, "too-large")


def test_updates_are_sealed_until_the_round_closes(
    story: factories.TaskStory, hospitals: list[Program], as_participant: Program
) -> None:
    task, data = story.task, [weights(number) for number in (1.0, 2.0, 3.0)]
    for hospital, key, blob in zip(hospitals[:2], KEYS, data, strict=False):
        send(hospital, task, blob)
        submit(story, key, blob)
    blob_path = f"/tasks/{task.pk}/blobs/{keccak_hex(data[0])}"
    for reader in hospitals:
        sealed = check_problem(reader.get(f"/tasks/{task.pk}/rounds/1/updates"), 409, "conflict")
        assert "sealed" in sealed["detail"]
        check_problem(reader.get(blob_path), 404, "not-found")
    submit(story, KEYS[2], data[2])  # never uploaded

    published = hospitals[1].get(f"/tasks/{task.pk}/rounds/1/updates").json()
    assert [row["content_hash"] for row in published] == [
        keccak_hex(data[0]),
        keccak_hex(data[1]),
        "",
    ]
    whole = hospitals[1].get(blob_path)
    assert whole.content == data[0]
    assert "immutable" in whole["Cache-Control"]
    late = check_problem(announce(hospitals[2], task, data[2]), 409, "conflict")
    assert "takes no updates any more" in late["detail"]
    check_problem(as_participant.get(blob_path), 403, "not-allowed")
    check_problem(as_participant.get(f"/tasks/{task.pk}/rounds/1/updates"), 403, "not-allowed")


def test_a_part_of_a_model(story: factories.TaskStory, hospitals: list[Program]) -> None:
    data = weights(0.0)
    path = f"/api/v1/tasks/{story.task.pk}/blobs/{keccak_hex(data)}"
    part = hospitals[0].client.get(path, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, data[100:200])
    assert part["Content-Range"] == f"bytes 100-199/{len(data)}"
    assert hospitals[0].client.get(path, headers={"Range": "bytes=900000000-"}).status_code == 416


def test_the_aggregation_gets_what_was_uploaded(
    story: factories.TaskStory, hospitals: list[Program]
) -> None:
    data = weights(1.0)
    send(hospitals[0], story.task, data)
    bound = [submit(story, key, data) for key in KEYS]
    refs = round_steps._update_refs(Round.objects.get())
    assert [ref.content_hash for ref in refs] == [keccak_hex(data), *["0x" + "0" * 64] * 2]
    assert [ref.update_hash for ref in refs] == bound
    assert not TrainingRun.objects.exists()


def test_terms_name_the_chain_and_one_s_place(
    story: factories.TaskStory, hospitals: list[Program], as_participant: Program, deployed: None
) -> None:
    terms = hospitals[1].get(f"/tasks/{story.task.pk}/terms").json()
    assert terms["coordinator"] == factories.COORDINATOR
    assert TaskConfig.from_dict(terms["config"]).hash() == terms["config_hash"]
    assert (terms["address"], terms["slot"]) == (KEYS[1].address, 1)
    stranger = as_participant.get(f"/tasks/{story.task.pk}/terms").json()
    assert (stranger["address"], stranger["slot"], stranger["joined"]) == ("", None, 3)


def test_a_token_of_several_wallets_says_for_which(
    story: factories.TaskStory, store: BlobStore
) -> None:
    user = owner_of(KEYS[0])
    Wallet.objects.create(user=user, address=KEYS[1].address, verified_at=timezone.now())
    both, path = program(user), f"/tasks/{story.task.pk}/rounds/1/upload"
    body = {"content_hash": keccak_hex(weights(1.0)), "size": len(weights(1.0))}
    check_problem(both.post(path, body), 403, "not-allowed")
    headers = {"Wallet": KEYS[1].address}
    answer = both.client.post(f"/api/v1{path}", body, "application/json", headers=headers)
    assert answer.status_code == 200, answer.content
    assert Upload.objects.get().address == KEYS[1].address
    headers = {"Wallet": KEYS[2].address}  # another one's
    answer = both.client.post(f"/api/v1{path}", body, "application/json", headers=headers)
    check_problem(answer, 403, "not-allowed")


def test_signed_updates_go_in_one_transaction(
    story: factories.TaskStory, hospitals: list[Program], deployed: None
) -> None:
    task = story.task
    path = f"/tasks/{task.pk}/rounds/1/signed"
    bodies = []
    for key in KEYS:
        bound = update_hash(key.address, story.onchain_id, 1, keccak_hex(weights(1.0)))
        message = UpdateMessage(
            story.network.chain_id, factories.COORDINATOR, story.onchain_id, 1, bound, 50
        )
        body = {"update_hash": bound, "samples": 50, "signature": message.sign(key)}
        bodies.append(body)
    wrong = check_problem(hospitals[0].post(path, bodies[1]), 409, "conflict")
    assert f"is {KEYS[1].address}'s, not {KEYS[0].address}'s" in wrong["detail"]
    check_problem(hospitals[0].post(path, {**bodies[0], "samples": 101}), 409, "conflict")
    members = list(Participant.objects.order_by("index"))
    for hospital, body in zip(hospitals, bodies, strict=True):
        assert hospital.post(path, body).json()["status"] == "waiting"
    for _ in range(2):
        round_steps.relay_signed(task, Round.objects.get(), members)
    (sent,) = OutgoingTransaction.objects.all()
    assert (sent.function, sent.account) == ("submitUpdatesBySig", task.operator_account)
    assert unpack_updates(sent.args[2]) == [
        (index, body["update_hash"], 50) for index, body in enumerate(bodies)
    ]
    assert hospitals[0].get(path).json()["status"] == "queued"


def test_the_bytes_go_after_their_time(
    story: factories.TaskStory, hospitals: list[Program], store: BlobStore, settings: Settings
) -> None:
    kept, copied = weights(1.0), weights(0.0)  # the second one is the global model, too
    send(hospitals[0], story.task, kept)
    send(hospitals[1], story.task, copied)
    long_ago = timezone.now() - timedelta(days=django_settings.UPDATE_RETENTION_DAYS + 1)
    Upload.objects.update(created_at=long_ago)
    assert uploads.uploads_clean() == 0  # the task runs
    Task.objects.update(phase=Task.Phase.COMPLETED)
    assert uploads.uploads_clean() == 2
    assert not store.exists(keccak_hex(kept))
    assert store.exists(keccak_hex(copied))
    assert uploads.uploads_clean() == 0


def test_accounts_hold_no_key_of_theirs(hospitals: list[Program]) -> None:
    assert not Account.objects.filter(address__in=[key.address for key in KEYS]).exists()
