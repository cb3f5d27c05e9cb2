"""Fixtures every room uses: real Redis, real Ethereum chain, nothing shared with `make up`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pytest_django import Settings

from bcfl_site.embedded.anvil import Anvil
from bcfl_site.embedded.redis import Redis
from bcfl_site.embedded.stack import Stack
from bcfl_site.environment import unix_socket_path
from sessions_app.api.limits import connection

# Nothing is judged by how long it takes: the machine may be busy.
hypothesis_settings.register_profile(
    "console", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("console")

# In this order, after everyone else. A running stack takes both cores, and synchronous Playwright
# keeps an event loop running in the test's thread, in which no asyncio test can run.
_LAST = ("tests/runtime/test_up_for_real.py", "tests/stack/", "tests/e2e/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        starts = [item.nodeid.startswith(path) for path in _LAST]
        return starts.index(True) + 1 if any(starts) else 0

    items.sort(key=rank)


@pytest.fixture(scope="session")
def test_home() -> Path:
    """The BCFL_HOME of this test session."""
    return Path(django_settings.BCFL_HOME)


@pytest.fixture(scope="session")
def redis_server(test_home: Path) -> Iterator[Redis]:
    """The Redis that settings.REDIS_URL names, running for the session."""
    log = test_home / "redis.log"
    with Redis(socket_path=unix_socket_path(test_home), log_path=log) as redis:
        yield redis


@pytest.fixture
def rates_from_zero(redis_server: Redis) -> None:
    """Requests of the API are counted in Redis: none counts yet."""
    client = connection(django_settings.REDIS_URL)
    for key in client.scan_iter("bcfl:rate:*"):
        client.delete(key)


@pytest.fixture(scope="session")
def anvil_process(test_home: Path) -> Iterator[Anvil]:
    """One Anvil on a random port for the session; tests take ``anvil`` instead."""
    with Anvil(log_path=test_home / "anvil-session.log", history=None) as chain:
        yield chain


@pytest.fixture
def anvil(anvil_process: Anvil, settings: Settings) -> Iterator[Anvil]:
    """A chain as good as new: what the test does to it is reverted afterwards."""
    snapshot = anvil_process.rpc("evm_snapshot")
    _point_settings_at(settings, anvil_process)
    yield anvil_process
    assert anvil_process.rpc("evm_revert", snapshot), "the chain could not be put back"


@pytest.fixture
def fresh_anvil(tmp_path: Path, settings: Settings) -> Iterator[Anvil]:
    """An Anvil of this test's own: for tests that end it, reorganise it, or use its clock."""
    with Anvil(log_path=tmp_path / "anvil.log", history=None) as chain:
        _point_settings_at(settings, chain)
        yield chain


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A whole console with pages, in a folder of its own: see bcfl_site.embedded.stack.Stack.

    Its database is not the one of this process: look at it by ``stack.manage``, the pages, or
    ``stack.home / "db.sqlite3"``.
    """
    with Stack(web=True) as running:
        yield running


def _point_settings_at(settings: Settings, chain: Anvil) -> None:
    settings.CHAIN_RPC_URL = chain.rpc_url
    settings.NETWORKS = {"dev": {"rpc_url": chain.rpc_url, "chain_id": chain.chain_id}}
