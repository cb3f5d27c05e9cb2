"""Accounts: signing in and up, invitations that work once, passwords, a second factor."""

from __future__ import annotations

import re
from datetime import timedelta
from io import StringIO

import pytest
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from allauth.usersessions.models import UserSession
from django.core import mail
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from eth_account import Account as Signer
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from pytest_django import Settings

from bcfl_site.environment import mail_settings
from sessions_app.errors import InvalidInvitation, NotAllowed
from sessions_app.models import AuditEntry, Invitation, User
from sessions_app.services.invitations import (
    invitation_accept,
    invitation_create,
    invitation_revoke,
)
from sessions_app.services.wallets import wallet_link
from tests import factories

pytestmark = pytest.mark.django_db
PASSWORD = "seven-clinics-one-model"
FORM = {"username": "noor", "email": "noor@example.org", "password1": PASSWORD}


@pytest.fixture(autouse=True)
def no_attempts_counted() -> None:
    cache.clear()


def sign_up(client: Client, **changes: str) -> str:
    """The text of the page after the form was sent."""
    form = {**FORM, "password2": PASSWORD, **changes}
    return client.post("/sign-up/", form, follow=True).content.decode()


def totp_code(secret: str) -> str:
    counter = next(yield_hotp_counters_from_time())
    return str(format_hotp_value(hotp_value(secret, counter)))


@pytest.mark.parametrize("login", ["mara", "MARA@example.org"])
def test_signing_in_by_name_or_mail(login: str) -> None:
    factories.user("operator", email="mara@example.org")
    client = Client()
    wrong = client.post("/sign-in/", {"login": login, "password": "no"}).content.decode()
    assert "That did not work." in wrong
    right = client.post("/sign-in/", {"login": login, "password": "pass-word-1"})
    assert right["Location"] == "/"


def test_guessing_is_slowed_down(operator: User) -> None:
    client = Client()
    for _ in range(10):
        answer = client.post("/sign-in/", {"login": "mara", "password": "guess"})
    assert "Too many failed login attempts" in answer.content.decode()


def test_closed_accounts_stay_out(operator: User) -> None:
    User.objects.update(is_active=False)
    client = Client()
    answer = client.post("/sign-in/", {"login": "mara", "password": "pass-word-1"}, follow=True)
    assert not answer.wsgi_request.user.is_authenticated


def test_without_an_invitation_nobody_signs_up(db: None, settings: Settings) -> None:
    assert "Accounts are made by invitation" in Client().get("/sign-up/").content.decode()
    assert "Accounts are made by invitation" in sign_up(Client())
    assert not User.objects.exists()
    settings.SIGN_UP_OPEN = True
    client = Client()
    assert "You will be a participant" in client.get("/sign-up/").content.decode()
    sign_up(client)
    assert User.objects.get().role == User.Role.PARTICIPANT


def test_an_invitation_leads_to_an_account_once(admin: User, operator: User) -> None:
    task = factories.draft(operator, "Retina screening")
    invitation = invitation_create(by=admin, role="operator", task=task, message="Join us.")
    path = f"/invitations/{invitation.code}/"
    client = Client()
    page = client.get(path).content.decode()
    assert "an operator" in page
    assert "Retina screening" in page
    assert "Join us." in page
    assert client.post(path)["Location"] == "/sign-up/"
    assert "Ada invited you as" in client.get("/sign-up/").content.decode()
    answer = client.post("/sign-up/", {**FORM, "password2": PASSWORD})
    assert answer["Location"] == f"/tasks/{task.pk}/"
    noor = User.objects.get(username="noor")
    assert noor.role == User.Role.OPERATOR
    invitation.refresh_from_db()
    assert (invitation.state, invitation.used_by) == ("used", noor)
    assert AuditEntry.objects.filter(action="invitation.accept", actor=noor).exists()

    second = Client()
    answer = second.get(path)
    assert answer.status_code == 410
    assert "This invitation is used" in answer.content.decode()
    second.post(path)
    sign_up(second, username="second", email="second@example.org")
    assert not User.objects.filter(username="second").exists()


def test_a_mailed_invitation_is_for_that_address(
    admin: User, django_capture_on_commit_callbacks: object
) -> None:
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        invitation = invitation_create(by=admin, email="noor@example.org")
    (letter,) = mail.outbox
    assert letter.to == ["noor@example.org"]
    assert f"/invitations/{invitation.code}/" in letter.body
    link = re.search(r"(/invitations/\S+)", letter.body)
    assert link is not None
    client = Client()
    client.post(link[1])
    page = sign_up(client, email="else@example.org")
    assert "The invitation was sent to noor@example.org" in page
    sign_up(client)
    noor = User.objects.get(username="noor")
    address = noor.emailaddress_set.get()
    assert address.verified, "the link was opened from that mailbox"


@pytest.mark.parametrize("signature", ["", "?mailed=", "?mailed=guess", "?mailed=a:b"])
def test_the_link_that_the_sender_sees_proves_no_address(admin: User, signature: str) -> None:
    """It stands on the page of invitations, so whoever invites could claim any address by it."""
    invitation = invitation_create(by=admin, email="noor@example.org")
    client = Client()
    client.post(f"/invitations/{invitation.code}/{signature}")
    sign_up(client)
    assert not User.objects.get(username="noor").emailaddress_set.get().verified


def test_a_second_factor_waits_for_the_address(admin: User) -> None:
    invitation = invitation_create(by=admin)
    client = Client()
    client.post(f"/invitations/{invitation.code}/")
    sign_up(client)
    assert "Confirm noor@example.org first" in client.get("/settings/").content.decode()
    refused = client.get("/account/mfa/totp/activate/", follow=True)
    assert refused.redirect_chain[0][0] == "/account/mfa/"
    assert "until you have verified your email address" in refused.content.decode()
    (letter,) = [sent for sent in mail.outbox if "/account/email/confirm/" in sent.body]
    link = re.search(r"(/account/email/confirm/\S+/)", letter.body)
    assert link is not None
    client.post(link[1])
    assert "Confirm noor@example.org" not in client.get("/settings/").content.decode()
    client.post("/account/confirm/", {"password": PASSWORD})
    assert "authenticator_secret" in client.get("/account/mfa/totp/activate/").content.decode()


def test_invitations_end(admin: User, operator: User) -> None:
    closed = invitation_create(by=admin)
    invitation_revoke(invitation=closed, by=admin)
    late = invitation_create(by=admin)
    Invitation.objects.filter(pk=late.pk).update(expires_at=timezone.now() - timedelta(1))
    other = invitation_create(by=admin, email="other@example.org")
    for invitation, word in ((closed, "revoked"), (late, "expired"), (other, "is for other@")):
        with pytest.raises(InvalidInvitation, match=word):
            invitation_accept(code=invitation.code, by=operator)
    assert Client().get("/invitations/nonsense/").status_code == 404


def test_taking_an_invitation_never_takes_rights_away(admin: User, operator: User) -> None:
    invitation = invitation_create(by=admin, role="participant")
    invitation_accept(code=invitation.code, by=operator)
    operator.refresh_from_db()
    assert operator.role == User.Role.OPERATOR


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"role": "king"}, "role"),
        ({"days": 0}, "days"),
        ({"days": 91}, "days"),
        ({"email": "no"}, "email"),
    ],
)
def test_invitations_that_cannot_be(admin: User, fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInvitation) as caught:
        invitation_create(by=admin, **fields)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_the_invitations_page(as_operator: Client, as_admin: Client, operator: User) -> None:
    task = factories.draft(operator, "Retina screening")
    assert "Nobody is invited yet" in as_operator.get("/invitations/").content.decode()
    chosen = as_operator.get(f"/invitations/?task={task.pk}").content.decode()
    assert f'value="{task.pk}" selected' in chosen
    assert 'value="admin"' not in chosen
    form = {"role": "participant", "days": "3", "task": str(task.pk)}
    page = as_operator.post("/invitations/", form, follow=True).content.decode()
    invitation = Invitation.objects.get()
    assert f"/invitations/{invitation.code}/" in page
    refused = as_operator.post("/invitations/", {**form, "role": "admin"})
    assert refused.status_code == 422
    page = as_admin.post(f"/invitations/{invitation.pk}/revoke/", follow=True).content.decode()
    assert "its link works no longer" in page
    assert "Revoked" in page


def test_operators_see_and_end_their_own(as_operator: Client, admin: User, operator: User) -> None:
    theirs = invitation_create(by=admin, email="secret@example.org")
    assert "secret@example.org" not in as_operator.get("/invitations/").content.decode()
    assert as_operator.post(f"/invitations/{theirs.pk}/revoke/").status_code == 403
    with pytest.raises(NotAllowed):
        invitation_create(by=operator, role="admin")


def test_the_command_line_invites_the_first_admin(db: None) -> None:
    out = StringIO()
    call_command("invite", "admin", stdout=out)
    code = re.search(r"/invitations/([\w-]+)/", out.getvalue())
    assert code is not None
    client = Client()
    client.post(f"/invitations/{code[1]}/")
    sign_up(client)
    assert User.objects.get().is_admin


def test_a_forgotten_password(operator: User) -> None:
    User.objects.update(email="mara@example.org")
    client = Client()
    page = client.post("/account/password/reset/", {"email": "mara@example.org"}, follow=True)
    assert "Look into your mail" in page.content.decode()
    link = re.search(r"(/account/password/reset/\S+/)", mail.outbox[0].body)
    assert link is not None
    form = client.get(link[1], follow=True)
    new = {"password1": PASSWORD, "password2": PASSWORD}
    client.post(form.redirect_chain[-1][0], new, follow=True)
    assert Client().login(username="mara", password=PASSWORD)
    stranger = Client().post("/account/password/reset/", {"email": "no@example.org"}, follow=True)
    assert "Look into your mail" in stranger.content.decode(), "tells who has an account"


def test_a_second_factor(as_operator: Client, operator: User) -> None:
    """Turn it on, sign in with it, and with a recovery code once."""
    as_operator.post("/account/confirm/", {"password": "pass-word-1"})
    page = as_operator.get("/account/mfa/totp/activate/").content.decode()
    secret = re.search(r'value="([A-Z2-7]{16,})"', page)
    assert secret is not None
    answer = as_operator.post("/account/mfa/totp/activate/", {"code": totp_code(secret[1])})
    assert answer["Location"] == "/account/mfa/recovery-codes/"
    assert Authenticator.objects.filter(user=operator, type=Authenticator.Type.TOTP).exists()
    codes = re.findall(r"\b(\d{8})\b", as_operator.get(answer["Location"]).content.decode())
    assert len(codes) == 10

    for code, works in ((codes[0], True), (codes[0], False), ("000000", False)):
        cache.clear()
        client = Client()
        step = client.post("/sign-in/", {"login": "mara", "password": "pass-word-1"})
        assert step["Location"] == "/account/mfa/authenticate/"
        assert client.get("/").status_code == 302, "not signed in by the password alone"
        client.post("/account/mfa/authenticate/", {"code": code})
        assert (client.get("/").status_code == 200) is works
    assert get_adapter().is_mfa_enabled(operator)


def wallet_signs(client: Client, key: LocalAccount, onward: str = "") -> str:
    """Where the answer leads."""
    asked = client.post(
        "/wallet/message/", {"address": key.address}, content_type="application/json"
    ).json()
    signature = key.sign_message(encode_defunct(text=asked["message"])).signature
    body = {"message": asked["message"], "signature": "0x" + bytes(signature).hex()}
    answer = client.post(
        "/wallet/sign-in/", {**body, "next": onward}, content_type="application/json"
    )
    return str(answer.json()["next"])


def test_a_wallet_is_the_first_factor_not_the_second(operator: User) -> None:
    key = Signer.from_key(b"\x07" * 32)
    wallet_link(user=operator, address=key.address)
    client = Client()
    assert wallet_signs(client, key, "/ledger/") == "/ledger/"
    assert client.get("/").status_code == 200
    assert UserSession.objects.filter(user=operator).count() == 1

    secret = generate_totp_secret()
    TOTP.activate(operator, secret)
    client = Client()
    assert wallet_signs(client, key, "/ledger/") == "/account/mfa/authenticate/"
    assert client.get("/").status_code == 302, "not signed in by the signature alone"
    answer = client.post("/account/mfa/authenticate/", {"code": totp_code(secret)})
    assert answer["Location"] == "/ledger/"
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/account/email/",
        "/account/password/",
        "/account/mfa/",
        "/account/mfa/totp/activate/",
        "/account/mfa/webauthn/",
        "/account/mfa/webauthn/add/",
        "/account/confirm/",
        "/sign-out/",
    ],
)
def test_account_pages_in_our_look(as_operator: Client, operator: User, path: str) -> None:
    as_operator.post("/account/confirm/", {"password": "pass-word-1"})
    answer = as_operator.get(path, follow=True)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert '<main class="solo">' in text
    assert not re.search(r"\sstyle=", text)
    for attributes in re.findall(r"<script([^>]*)>", text):
        assert "src=" in attributes or 'type="application/json"' in attributes


def test_mail_by_url() -> None:
    smtp = mail_settings("smtp://me%40x:s3%3Acret@mail.example.org")
    assert smtp["EMAIL_HOST"] == "mail.example.org"
    assert (smtp["EMAIL_HOST_USER"], smtp["EMAIL_HOST_PASSWORD"]) == ("me@x", "s3:cret")
    assert (smtp["EMAIL_PORT"], smtp["EMAIL_USE_TLS"], smtp["EMAIL_USE_SSL"]) == (587, True, False)
    assert mail_settings("smtp://localhost:25?tls=0")["EMAIL_USE_TLS"] is False
    assert mail_settings("smtps://m.example.org")["EMAIL_PORT"] == 465
    assert mail_settings("file:///tmp/mail")["EMAIL_FILE_PATH"] == "/tmp/mail"
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL is none of"):
        mail_settings("ftp://x")
