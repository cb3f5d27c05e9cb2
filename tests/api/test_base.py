"""Signing in, errors, idempotency keys and rate limits: the same for every operation."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client
from django.utils import timezone
from eth_account import Account as Signer
from eth_account.messages import encode_defunct

from sessions_app.models import ApiToken, IdempotencyKey, User
from sessions_app.services.tokens import token_create, token_revoke
from sessions_app.services.wallets import wallet_link
from tests import factories
from tests.api.conftest import Program, program


def check_problem(answer: Any, status: int, name: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"urn:bcfl:problem:{name}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["next_step"]
    return body


# --- who calls -------------------------------------------------------------------------------


def test_strangers_are_told_how_to_sign_in(db: None) -> None:
    answer = Program().get("/me")
    check_problem(answer, 401, "sign-in")
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["Bearer", "Bearer bcfl_wrong", "Basic bWFyYTp4", "bcfl_x"])
def test_credentials_that_do_not_work(db: None, header: str) -> None:
    answer = Client().get("/api/v1/me", headers={"Authorization": header})
    check_problem(answer, 401, "sign-in")


def test_a_token_is_its_user(as_operator: Program, operator: User) -> None:
    me = as_operator.get("/me").json()
    assert (me["username"], me["role"], me["signed_in_by"]) == ("mara", "operator", "token")
    assert me["hosted_address"] == operator.account.address  # type: ignore[union-attr]
    row = ApiToken.objects.get()
    assert row.last_used_at is not None
    assert as_operator.token not in (row.digest, row.prefix)
    assert as_operator.token.startswith(row.prefix)


def test_a_token_ends(operator: User) -> None:
    token, text = token_create(user=operator, name="short", days=1)
    assert Program(text).get("/me").status_code == 200
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    check_problem(Program(text).get("/me"), 401, "sign-in")
    ApiToken.objects.update(expires_at=None)
    token_revoke(user=operator, pk=token.pk)
    check_problem(Program(text).get("/me"), 401, "sign-in")


def test_a_closed_account_has_no_tokens(as_operator: Program, operator: User) -> None:
    User.objects.filter(pk=operator.pk).update(is_active=False)
    check_problem(as_operator.get("/me"), 401, "sign-in")


def test_a_reading_token_does_not_write(operator: User) -> None:
    reader = program(operator, scope="read")
    assert reader.get("/me/tokens").status_code == 200
    check_problem(reader.post("/me/tokens", {"name": "x"}), 403, "scope")
    assert ApiToken.objects.count() == 1


def test_a_session_needs_its_csrf_token_to_write(operator: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(operator)
    assert browser.get("/api/v1/me").json()["signed_in_by"] == "session"
    body = {"name": "from the page"}
    answer = browser.post("/api/v1/me/tokens", body, content_type="application/json")
    check_problem(answer, 403, "csrf")
    browser.cookies["csrftoken"] = "a" * 32
    answer = browser.post(
        "/api/v1/me/tokens",
        body,
        content_type="application/json",
        headers={"X-CSRFToken": "a" * 32},
    )
    assert answer.status_code == 201


def test_a_wallet_signs_in(db: None) -> None:
    key = Signer.from_key(b"\x07" * 32)
    stranger = Program()
    asked = stranger.post("/auth/message", {"address": key.address}).json()
    assert asked["message"].startswith("testserver wants you to sign in")
    signature = key.sign_message(encode_defunct(text=asked["message"])).signature
    body = {"message": asked["message"], "signature": "0x" + bytes(signature).hex()}
    answer = stranger.post("/auth/wallet", body)
    assert answer["Cache-Control"] == "no-store"
    session = answer.json()
    assert (session["address"], session["role"]) == (key.address, "participant")
    me = Program(session["token"]).get("/me").json()
    assert me["signed_in_by"] == "wallet"
    assert [w["address"] for w in me["wallets"]] == [key.address]
    assert Program(session["token"]).get("/me/tokens").json() == []  # not a personal one
    again = check_problem(stranger.post("/auth/wallet", body), 401, "sign-in-refused")
    assert "counts once" in again["detail"]
    assert again["errors"][0]["field"] == "nonce"


def test_a_wallet_is_no_way_around_a_second_factor(operator: User) -> None:
    key = Signer.from_key(b"\x07" * 32)
    wallet_link(user=operator, address=key.address)
    Authenticator.objects.create(user=operator, type=Authenticator.Type.TOTP, data={})
    stranger = Program()
    asked = stranger.post("/auth/message", {"address": key.address}).json()
    signature = key.sign_message(encode_defunct(text=asked["message"])).signature
    body = {"message": asked["message"], "signature": "0x" + bytes(signature).hex()}
    refused = check_problem(stranger.post("/auth/wallet", body), 403, "not-allowed")
    assert "make an API token (scope “write”) under Settings" in refused["detail"]
    assert "--token or BCFL_TOKEN for bcfl-agent" in refused["detail"]
    assert not ApiToken.objects.exists()


# --- tokens ------------------------------------------------------------------------------------


def test_making_and_revoking_tokens(as_operator: Program, participant: User) -> None:
    answer = as_operator.post("/me/tokens", {"name": "Notebook", "scope": "write", "days": 30})
    assert answer.status_code == 201
    made = answer.json()
    assert Program(made["token"]).get("/me").status_code == 200
    listed = as_operator.get("/me/tokens").json()
    assert [row["name"] for row in listed] == ["Notebook", "test"]
    assert "token" not in listed[0]
    theirs = program(participant).send("DELETE", f"/me/tokens/{made['id']}")
    check_problem(theirs, 403, "not-allowed")
    assert as_operator.send("DELETE", f"/me/tokens/{made['id']}").status_code == 204
    check_problem(Program(made["token"]).get("/me"), 401, "sign-in")


def test_bad_input_names_every_field(as_operator: Program) -> None:
    answer = as_operator.post("/me/tokens", {"name": "", "scope": "all", "days": 0})
    body = check_problem(answer, 422, "invalid")
    fields = [error["field"] for error in body["errors"]]
    assert fields == ["body.name", "body.scope", "body.days"]
    check_problem(as_operator.post("/me/tokens", "no object"), 422, "invalid")
    broken = as_operator.client.post("/api/v1/me/tokens", "{", content_type="application/json")
    check_problem(broken, 400, "bad-request")


# --- errors ------------------------------------------------------------------------------------


def test_nothing_here_and_no_such_method(as_operator: Program) -> None:
    check_problem(as_operator.get("/nowhere"), 404, "not-found")
    answer = as_operator.send("DELETE", "/me")
    check_problem(answer, 405, "method")
    assert set(answer["Allow"].split(", ")) == {"GET", "PATCH"}


def test_a_failure_of_ours_is_a_problem_too(
    as_operator: Program, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(user: User) -> None:
        raise RuntimeError("the secret cause")

    monkeypatch.setattr("sessions_app.services.tokens.tokens_of", broken)
    body = check_problem(as_operator.get("/me/tokens"), 500, "server")
    assert "secret" not in str(body)
    assert "the secret cause" in caplog.text


# --- idempotency keys ----------------------------------------------------------------------------


def test_a_key_gets_the_first_answer_again(as_operator: Program, operator: User) -> None:
    task = factories.draft(operator)
    factories.account("Evaluator 1", "evaluator")
    key = str(uuid.uuid4())
    first = as_operator.post(f"/tasks/{task.pk}/clone", key=key)
    assert first.status_code == 201
    again = as_operator.post(f"/tasks/{task.pk}/clone", key=key)
    assert (again.status_code, again.content) == (201, first.content)
    assert again["Idempotency-Replayed"] == "true"
    assert operator.tasks.count() == 2
    other = factories.draft(operator, "Another")
    check_problem(as_operator.post(f"/tasks/{other.pk}/clone", key=key), 422, "idempotency")
    check_problem(
        as_operator.post(f"/tasks/{task.pk}/clone", {"a": 1}, key=key), 422, "idempotency"
    )


def test_a_refused_write_leaves_its_key_free(as_operator: Program, operator: User) -> None:
    key = "k1"
    check_problem(as_operator.post("/tasks/999/clone", key=key), 404, "not-found")
    assert not IdempotencyKey.objects.exists()


def test_secrets_are_not_kept(as_operator: Program) -> None:
    assert as_operator.post("/me/tokens", {"name": "x"}, key="k2").status_code == 201
    assert not IdempotencyKey.objects.exists()


def test_keys_belong_to_a_user_and_expire(
    as_operator: Program, operator: User, admin: User
) -> None:
    task = factories.draft(operator)
    factories.account("Evaluator 1", "evaluator")
    assert as_operator.post(f"/tasks/{task.pk}/clone", key="same").status_code == 201
    theirs = program(admin).post(f"/tasks/{task.pk}/clone", key="same")
    assert "Idempotency-Replayed" not in theirs
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=25))
    answer = as_operator.post(f"/tasks/{task.pk}/clone", key="same")
    assert "Idempotency-Replayed" not in answer
    check_problem(as_operator.post("/me/tokens", {"name": "x"}, key="a b"), 400, "bad-request")


# --- rate limits ---------------------------------------------------------------------------


def test_too_many_requests(as_operator: Program, settings: Any) -> None:
    settings.API_RATE = 3
    answers = [as_operator.get("/me") for _ in range(5)]
    assert [a.status_code for a in answers] in ([200] * 3 + [429] * 2, [200] * 5)  # minute's end
    assert answers[0]["RateLimit-Policy"] == '"default";q=3;w=60'
    assert answers[0]["RateLimit"].startswith('"default";r=2;t=')
    if answers[-1].status_code == 429:
        check_problem(answers[-1], 429, "too-many")
        assert 1 <= int(answers[-1]["Retry-After"]) <= 60


def test_strangers_and_guesses_count_by_address(db: None, settings: Any) -> None:
    settings.API_RATE_ANONYMOUS = 2
    client = Client(REMOTE_ADDR="192.0.2.7", headers={"Authorization": "Bearer bcfl_guess"})
    codes = [client.get("/api/v1/me").status_code for _ in range(4)]
    assert codes in ([401, 401, 429, 429], [401, 401, 401, 429], [401] * 4)


def test_without_redis_the_api_still_answers(as_operator: Program, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1"
    answer = as_operator.get("/me")
    assert answer.status_code == 200
    assert "RateLimit" not in answer
