"""An agent whose wallet belongs to an account with a second factor: an API token, and which."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from eth_account import Account as Signer
from eth_account.signers.local import LocalAccount

from agent.console import Console
from agent.errors import WrongToken
from bcfl_client.errors import NotAllowed, NotSignedIn
from sessions_app.models import User
from sessions_app.services.tokens import token_create
from sessions_app.services.wallets import wallet_link
from tests import factories
from tests.client.conftest import URL, http

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rates_from_zero")]
KEY: LocalAccount = Signer.from_key(bytes([7] * 32))
OTHER: LocalAccount = Signer.from_key(bytes([8] * 32))


@pytest.fixture
def careful() -> User:
    """Owns KEY's address, and has a second factor."""
    user = factories.user("participant")
    wallet_link(user=user, address=KEY.address)
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={})
    return user


def console(signer: LocalAccount, token: str = "") -> Console:
    return Console(URL, 1, signer, token=token, http=http())


def test_the_refusal_names_the_way_in(careful: User) -> None:
    with pytest.raises(NotAllowed, match=r"--token or BCFL_TOKEN for bcfl-agent"):
        console(KEY).sign_in()
    token = token_create(user=careful, name="agent", scope="write")[1]
    console(KEY, token).check_token(writes=True)


def test_a_token_that_does_not_fit_is_named_before_anything_is_sent(careful: User) -> None:
    reading = token_create(user=careful, name="agent", scope="read")[1]
    console(KEY, reading).check_token(writes=False)
    with pytest.raises(WrongToken, match="may only read, but taking part uploads"):
        console(KEY, reading).check_token(writes=True)
    with pytest.raises(WrongToken, match=f"has no wallet {OTHER.address}"):
        console(OTHER, reading).check_token(writes=False)
    with pytest.raises(NotSignedIn, match="unknown, expired or revoked"):
        console(KEY, "bcfl_wrong").check_token(writes=False)
