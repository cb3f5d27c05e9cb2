"""One's own account by the API: name, wallets, sessions; never what proves who one is."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.test import Client as Browser
from eth_account import Account as Signer
from eth_account.messages import encode_defunct

from sessions_app.models import ApiToken, AuditEntry, User, Wallet
from sessions_app.services.wallets import wallet_link
from tests.api.conftest import Program

KEY, OTHER = (Signer.from_key(bytes([n]) * 32) for n in (7, 8))


def signed(key: Any) -> dict[str, str]:
    text = Program().post("/auth/message", {"address": key.address}).json()["message"]
    signature = bytes(key.sign_message(encode_defunct(text=text)).signature)
    return {"message": text, "signature": "0x" + signature.hex()}


def with_wallet(key: Any) -> Program:
    return Program(Program().post("/auth/wallet", signed(key)).json()["token"])


@pytest.fixture
def browser(operator: User) -> Browser:
    """Signed in on the pages, as allauth notes it."""
    browser = Browser()
    browser.force_login(operator)
    assert browser.get("/settings/").status_code == 200
    return browser


def test_a_name_is_changed_and_logged(as_operator: Program, operator: User) -> None:
    before = as_operator.get("/me").json()
    changed = as_operator.send("PATCH", "/me", {"last_name": " Lovelace "}).json()
    assert (changed["first_name"], changed["last_name"]) == (before["first_name"], "Lovelace")
    assert changed["name"] == f"{before['first_name']} Lovelace".strip()
    operator.refresh_from_db()
    assert operator.last_name == "Lovelace"
    assert AuditEntry.objects.filter(actor=operator, action="profile.change").count() == 1
    refused = as_operator.send("PATCH", "/me", {"first_name": "x" * 151})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "body.first_name")


def test_a_wallet_links_another(db: None) -> None:
    program = with_wallet(KEY)
    linked = program.post("/me/wallets", {**signed(OTHER), "label": "Cold"})
    assert (linked.status_code, linked.json()["label"]) == (201, "Cold")
    assert [w["address"] for w in program.get("/me").json()["wallets"]] == [
        KEY.address,
        OTHER.address,
    ]
    # The same account, by the other key.
    assert with_wallet(OTHER).get("/me").json()["username"] == KEY.address


def test_an_api_token_may_not_link_a_wallet(as_operator: Program) -> None:
    refused = as_operator.post("/me/wallets", signed(KEY))
    assert refused.status_code == 403
    assert "may not link a wallet" in refused.json()["detail"]
    assert "Settings" in refused.json()["next_step"]
    assert not Wallet.objects.exists()


def test_somebody_elses_wallet_stays_theirs(participant: User) -> None:
    program = with_wallet(KEY)
    wallet_link(user=participant, address=OTHER.address)
    assert program.post("/me/wallets", signed(OTHER)).json()["type"].endswith("wallet-taken")
    refused = program.send("DELETE", f"/me/wallets/{OTHER.address}")
    assert refused.status_code == 403
    assert Wallet.objects.get(address=OTHER.address).user == participant


def test_the_tokens_of_an_unlinked_wallet_end_at_once(operator: User) -> None:
    wallet_link(user=operator, address=KEY.address)
    program = with_wallet(KEY)
    assert program.send("DELETE", f"/me/wallets/{KEY.address.lower()}").status_code == 204
    assert program.get("/me").status_code == 401
    assert not ApiToken.objects.filter(address=KEY.address, revoked_at=None).exists()


def test_the_only_way_to_sign_in_stays(db: None) -> None:
    program = with_wallet(KEY)
    refused = program.send("DELETE", f"/me/wallets/{KEY.address}")
    assert refused.status_code == 403
    assert "only way" in refused.json()["detail"]
    assert program.send("DELETE", "/me/wallets/0x12").status_code == 422


def test_a_program_ends_sessions(as_operator: Program, browser: Browser) -> None:
    (row,) = as_operator.get("/me/sessions").json()
    assert row["current"] is False
    assert browser.get("/api/v1/me/sessions").json()[0]["current"] is True
    assert as_operator.send("DELETE", f"/me/sessions/{row['id']}").status_code == 204
    assert browser.get("/settings/").status_code == 302
    assert as_operator.get("/me/sessions").json() == []
    again = as_operator.send("DELETE", f"/me/sessions/{row['id']}")
    assert (again.status_code, "ended already" in again.json()["detail"]) == (409, True)


def test_a_page_ends_all_others_and_stays(operator: User, browser: Browser) -> None:
    elsewhere = Browser()
    elsewhere.force_login(operator)
    elsewhere.get("/settings/")
    assert UserSession.objects.filter(user=operator).count() == 2
    token = browser.cookies["csrftoken"].value
    answer = browser.delete("/api/v1/me/sessions", headers={"X-CSRFToken": token})
    assert answer.json() == {"ended": 1}
    assert browser.get("/settings/").status_code == 200
    assert elsewhere.get("/settings/").status_code == 302


def test_sessions_of_others_are_not_mine(as_participant: Program, browser: Browser) -> None:
    assert as_participant.get("/me/sessions").json() == []
    (row,) = UserSession.objects.all()
    assert as_participant.send("DELETE", f"/me/sessions/{row.pk}").status_code == 403
    assert browser.get("/settings/").status_code == 200
