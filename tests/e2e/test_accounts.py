"""The journey of a new person: invited, signed up, a second factor, signed in with it."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.policy import default
from pathlib import Path

from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.conf import settings as django_settings
from playwright.sync_api import expect

from sessions_app.services.invitations import invitation_create
from tests import factories
from tests.e2e.conftest import Console, OpenPage, aside, fill_sign_in, sign_in
from tests.e2e.test_accessibility import in_every_look

PASSWORD = "seven-clinics-one-model"


def code_of(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time()))))


def mailed_path(to: str, start: str) -> str:
    """The path of the link in the newest letter that the console wrote to a file: its mail
    server, when it has no other."""
    folder = Path(django_settings.BCFL_HOME) / "mail"
    for file in sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime, reverse=True):
        for part in reversed(file.read_bytes().split(b"-" * 79 + b"\n")):
            letter = message_from_bytes(part.lstrip(), policy=default)
            found = re.search(rf"https?://[^/\s]+({start}\S+)", letter.get_content() or "")
            if found and letter["To"] == to:
                return found[1]
    raise AssertionError(f"no letter to {to} with a link to {start}")


def test_invited_signed_up_and_back_with_a_second_factor(
    console: Console, open_page: OpenPage
) -> None:
    admin = factories.user("admin")
    invitation = aside(lambda: invitation_create(by=admin, role="operator"))
    page = open_page(console.url, width=360)
    page.goto(f"/invitations/{invitation.code}/")
    page.get_by_role("button", name="Create an account").click()
    page.get_by_label("Username").fill("noor")
    page.get_by_label("E-mail").fill("noor@example.org")
    page.get_by_label("Password", exact=False).first.fill(PASSWORD)
    page.get_by_label("Password, again").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.locator("h1")).to_have_text("Hello, noor")

    # The link was handed over, so nothing has proved the address yet: a letter does.
    page.goto("/settings/")
    expect(page.get_by_role("link", name="Turn on a second factor")).to_have_count(0)
    page.goto(mailed_path("noor@example.org", "/account/email/confirm/"))
    page.get_by_role("button", name="Confirm").click()

    page.goto("/settings/")
    page.get_by_role("link", name="Turn on a second factor").click()
    page.locator("a[href='/account/mfa/totp/activate/']").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    secret = page.locator("#authenticator_secret").input_value()
    page.locator("input[name=code]").fill(code_of(secret))
    page.get_by_role("button", name="Turn it on").click()
    codes = page.locator("#recovery_codes").input_value().split()
    assert len(codes) == 10

    page.goto("/sign-out/")
    page.get_by_role("button", name="Sign out").click()
    page.goto("/sign-in/")
    page.get_by_label("Username").fill("noor")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/account/mfa/authenticate/")
    page.locator("input[name=code]").fill("000000")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator("main")).to_contain_text("Incorrect code")
    page.locator("input[name=code]").fill(code_of(secret))
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator("h1")).to_have_text("Hello, noor")

    # Another device, and a code from the list instead of the app's.
    second = open_page(console.url, theme="dark")
    second.goto("/sign-in/")
    second.get_by_label("Username").fill("noor@example.org")
    second.get_by_label("Password").fill(PASSWORD)
    second.get_by_role("button", name="Sign in", exact=True).click()
    second.wait_for_url("**/account/mfa/authenticate/")
    second.locator("input[name=code]").fill(codes[0])
    second.get_by_role("button", name="Sign in", exact=True).click()
    expect(second.locator("h1")).to_have_text("Hello, noor")

    # It is seen, and ended, from the first.
    page.goto("/settings/")
    page.get_by_role("button", name="End the session from").click()
    second.goto("/")
    expect(second).to_have_url(re.compile("/sign-in/"))

    third = open_page(console.url)
    third.goto(f"/invitations/{invitation.code}/")
    expect(third.locator("h1")).to_have_text("This invitation is used")


def test_a_security_key_is_added_seen_and_used(console: Console, open_page: OpenPage) -> None:
    """Chromium's own virtual key signs. Its pages, and those of the codes that come with it, are
    looked at in every theme and width."""
    person = factories.user("operator")
    EmailAddress.objects.create(user=person, email="mara@example.org", verified=True, primary=True)
    page = open_page(console.url.replace("127.0.0.1", "localhost"))  # no number names a site
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    key = {
        "protocol": "ctap2",
        "transport": "usb",
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": key})
    sign_in(page, "mara")
    page.goto("/account/mfa/webauthn/add/")
    page.get_by_label("Password").fill("pass-word-1")
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_label("Name")).to_have_value("Security key")
    page.get_by_role("button", name="Add the key").click()
    expect(page.locator("#recovery_codes")).to_be_visible()
    wrong = in_every_look(page, "the codes that came with the key")
    page.goto("/account/mfa/webauthn/")
    expect(page.locator(".feed")).to_contain_text("Security key")
    wrong |= in_every_look(page, "the list of keys")
    for name in ("Rename Security key", "Remove Security key"):
        page.goto("/account/mfa/webauthn/")
        page.get_by_role("link", name=name).click()
        wrong |= in_every_look(page, name)
    for path in ("/account/mfa/", "/account/mfa/recovery-codes/generate/"):
        page.goto(path)
        wrong |= in_every_look(page, path)

    page.goto("/sign-out/")
    page.get_by_role("button", name="Sign out").click()
    fill_sign_in(page, "mara", "pass-word-1")
    page.wait_for_url("**/account/mfa/authenticate/")
    wrong |= in_every_look(page, "the second step")
    page.get_by_role("button", name="security key").click()
    expect(page.locator("h1")).to_have_text("Hello, Mara")
    assert {path: found for path, found in wrong.items() if found} == {}


def test_a_loopback_node_is_offered_on_its_own_machine_alone(
    console: Console, open_page: OpenPage
) -> None:
    page = open_page(console.url)
    page.goto("/sign-in/")
    source = page.locator("script[type=module][src*=sign_in]").get_attribute("src") or ""
    asked = """async ([source, rpc, host]) =>
      (await import(source.replace("sign_in", "wallet"))).reachable(rpc, host)"""
    for rpc, host, offered in (
        ("http://127.0.0.1:8545", "127.0.0.1", True),
        ("http://127.0.0.1:8545", "localhost", True),
        ("http://localhost:8545", "fl.example.org", False),
        ("http://[::1]:8545", "10.0.0.7", False),
        ("https://node.example.org", "fl.example.org", True),
    ):
        assert page.evaluate(asked, [source, rpc, host]) is offered, (rpc, host)
