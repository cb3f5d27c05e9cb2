"""Sign-In with Ethereum: the grammar of EIP-4361, then every way a sign-in can be refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from eth_account import Account as Signer
from eth_account.messages import defunct_hash_message, encode_defunct

from bcfl_site.embedded.anvil import Anvil
from sessions_app.errors import NotAllowed, SignInRefused, WalletTaken
from sessions_app.models import SignInNonce, User, Wallet
from sessions_app.services import siwe
from sessions_app.services.wallets import wallet_link, wallet_unlink, wallet_user
from sessions_app.siwe_message import SiweMessage, parse
from tests import factories

KEY = Signer.from_key(b"\x07" * 32)
OTHER = Signer.from_key(b"\x08" * 32)
# The two examples of the EIP's text: with a scheme and every optional line, and with few.
FULL = """\
https://example.com wants you to sign in with your Ethereum account:
0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2

I accept the ExampleOrg Terms of Service: https://example.com/tos

URI: https://example.com/login
Version: 1
Chain ID: 1
Nonce: 32891756
Issued At: 2021-09-30T16:25:24Z
Expiration Time: 2021-10-01T16:25:24.123Z
Not Before: 2021-09-30T18:25:24+02:00
Request ID: a-1
Resources:
- ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/
- https://example.com/my-web2-claim.json"""
SMALL = """\
example.com:3388 wants you to sign in with your Ethereum account:
0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2


URI: https://example.com/login
Version: 1
Chain ID: 1
Nonce: 32891756
Issued At: 2021-09-30T16:25:24Z"""


def test_the_full_example() -> None:
    message = parse(FULL)
    assert message.scheme == "https"
    assert message.domain == "example.com"
    assert message.statement.endswith("https://example.com/tos")
    assert message.not_before == datetime(2021, 9, 30, 16, 25, 24, tzinfo=UTC)
    assert message.expiration_time == datetime(2021, 10, 1, 16, 25, 24, 123_000, tzinfo=UTC)
    assert message.request_id == "a-1"
    assert message.resources is not None
    assert len(message.resources) == 2
    assert parse(str(message)) == message


def test_the_small_example() -> None:
    message = parse(SMALL)
    assert (message.domain, message.statement, message.resources) == ("example.com:3388", "", None)
    assert str(message) == SMALL


def test_resources_may_be_named_and_empty() -> None:
    assert parse(SMALL + "\nResources:").resources == ()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("example.com:3388 wants", " wants", "characters of EIP-4361"),
        ("example.com:3388", "exa mple", "characters of EIP-4361"),
        (" wants you", " wants  you", "first line"),
        ("C02aaA", "c02aaA", "checksum form"),
        ("0xC02aaA39", "0xC02aaA", "not an Ethereum address"),
        ("Cc2\n\n\n", "Cc2\n\n", "order"),
        ("Version: 1", "Version: 2", "version is not 1"),
        ("Chain ID: 1", "Chain ID: one", "characters"),
        ("Chain ID: 1\n", "", "exactly one line “Chain ID: …”, it has 0"),
        ("Nonce: 32891756", "Nonce: 3289175", "characters"),
        ("Nonce: 32891756", "Nonce: 3289-1756", "characters"),
        ("Issued At: 2021-09-30T16", "Issued At: 2021-13-30T16", "not a time"),
        ("16:25:24Z", "16:25:24", "characters"),
        ("URI: https://example.com/login", "URI: /login", "characters"),
        ("Nonce: 32891756\n", "Nonce: 32891756\nNonce: 32891757\n", "it has 2"),
        ("16:25:24Z", "16:25:24Z\n", "order"),
        ("\nURI", "\r\nURI", "order"),
    ],
)
def test_what_the_grammar_refuses(old: str, new: str, words: str) -> None:
    assert old in SMALL
    with pytest.raises(SignInRefused, match=words):
        parse(SMALL.replace(old, new, 1))


def test_a_statement_cannot_smuggle_a_line() -> None:
    """Fields are checked when written too, so no text can become another field."""
    with pytest.raises(SignInRefused):
        str(replace(parse(SMALL), statement="Hello\nURI: https://evil.example"))
    with pytest.raises(SignInRefused, match="limit is 4096"):
        parse("x" * 5_000)


# --- with the database ------------------------------------------------------------------------


def signed(message: SiweMessage | str, key: object = KEY) -> str:
    answer = key.sign_message(encode_defunct(text=str(message)))  # type: ignore[attr-defined]
    return "0x" + bytes(answer.signature).hex()


def ours(**changes: object) -> SiweMessage:
    return replace(siwe.build(address=KEY.address), **changes)  # type: ignore[arg-type]


def test_signing_in(db: None) -> None:
    message = siwe.build(address=KEY.address.lower())
    assert siwe.verify(str(message), signed(message)) == KEY.address
    nonce = SignInNonce.objects.get()
    assert nonce.address == KEY.address
    assert nonce.used_at is not None


def test_a_replay_is_refused(db: None) -> None:
    message = ours()
    siwe.verify(str(message), signed(message))
    with pytest.raises(SignInRefused, match="counts once") as refused:
        siwe.verify(str(message), signed(message))
    assert refused.value.reason == "nonce"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"domain": "evil.example"}, "domain"),
        ({"uri": "https://evil.example/login"}, "uri"),
        ({"chain_id": 1}, "chain"),
        ({"expiration_time": timezone.now() - timedelta(seconds=1)}, "expired"),
        ({"issued_at": timezone.now() + timedelta(hours=1)}, "not_yet"),
        ({"issued_at": timezone.now() - timedelta(hours=1)}, "expired"),
        ({"not_before": timezone.now() + timedelta(hours=1)}, "not_yet"),
        ({"nonce": "neverIssuedHere"}, "nonce"),
    ],
)
def test_what_is_refused(db: None, changes: dict[str, object], reason: str) -> None:
    message = ours(**changes)
    with pytest.raises(SignInRefused) as refused:
        siwe.verify(str(message), signed(message))
    assert refused.value.reason == reason
    assert not SignInNonce.objects.filter(used_at__isnull=False).exists()


def test_a_nonce_expires(db: None) -> None:
    message = ours()
    SignInNonce.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(SignInRefused, match="expired at"):
        siwe.verify(str(message), signed(message))


def test_old_nonces_are_forgotten(db: None) -> None:
    siwe.issue_nonce()
    SignInNonce.objects.update(expires_at=timezone.now() - timedelta(days=2))
    siwe.issue_nonce()
    assert SignInNonce.objects.count() == 1


def test_wrong_signatures(db: None, anvil: Anvil) -> None:
    message = ours()
    good = signed(message)
    flipped = good[:20] + ("0" if good[20] != "0" else "1") + good[21:]
    other_text = signed(replace(message, statement="Something else"))
    for bad in (signed(message, OTHER), flipped, other_text, "0x", good[:-2], "0x" + "00" * 65):
        with pytest.raises(SignInRefused) as refused:
            siwe.verify(str(message), bad)
        assert refused.value.reason == "signature"
    with pytest.raises(SignInRefused, match="not hexadecimal"):
        siwe.verify(str(message), "0xzz")
    assert siwe.verify(str(message), good) == KEY.address  # none of them used the nonce up


def test_a_contract_wallet_signs(db: None, anvil: Anvil) -> None:
    """ERC-1271: the contract answers, and only for the digest it knows."""
    wallet = "0x" + "5a" * 20
    message = siwe.build(address=wallet)
    digest = bytes(defunct_hash_message(text=str(message)))
    # return isValid(digest == calldata[4:36]): 0x1626ba7e or 0
    code = "7f" + digest.hex() + "60043514631626ba7e0260e01b60005260206000f3"
    anvil.rpc("anvil_setCode", wallet, "0x" + code)
    another = siwe.build(address=wallet)
    with pytest.raises(SignInRefused, match="not one of"):
        siwe.verify(str(another), "0x1234")
    assert siwe.verify(str(message), "0x1234") == message.address


def test_without_a_node_a_contract_wallet_waits(db: None, settings: object) -> None:
    settings.NETWORKS = {"dev": {"rpc_url": "http://127.0.0.1:1", "chain_id": 31337}}  # type: ignore[attr-defined]
    message = ours()
    with pytest.raises(SignInRefused, match="cannot be checked now") as refused:
        siwe.verify(str(message), "0x1234")
    assert refused.value.reason == "node"


# --- users --------------------------------------------------------------------------------------


def test_an_address_becomes_a_participant_once(db: None) -> None:
    user = wallet_user(address=KEY.address)
    assert (user.role, user.username) == (User.Role.PARTICIPANT, KEY.address)
    assert not user.has_usable_password()
    assert wallet_user(address=KEY.address) == user
    assert Wallet.objects.count() == 1


def test_a_linked_address_is_its_user(db: None) -> None:
    operator = factories.user("operator")
    wallet_link(user=operator, address=KEY.address, label="Ledger")
    assert wallet_user(address=KEY.address) == operator
    with pytest.raises(WalletTaken):
        wallet_link(user=factories.user("participant"), address=KEY.address)


def test_a_closed_account_stays_closed(db: None) -> None:
    user = wallet_user(address=KEY.address)
    user.is_active = False
    user.save()
    with pytest.raises(NotAllowed, match="closed"):
        wallet_user(address=KEY.address)


def test_the_last_way_in_is_kept(db: None) -> None:
    user = wallet_user(address=KEY.address)
    with pytest.raises(NotAllowed, match="only way"):
        wallet_unlink(user=user, address=KEY.address)
    wallet_link(user=user, address=OTHER.address)
    wallet_unlink(user=user, address=KEY.address)
    with pytest.raises(NotAllowed, match="is not a wallet of"):
        wallet_unlink(user=user, address=KEY.address)
