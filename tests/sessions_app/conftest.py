"""A deployment record for the hand-written chain of `script`."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from chain.artifacts import DeployedContract, Deployment, save_deployment
from tests.sessions_app.script import CONTRACT, word


def record_deployment(address: str = CONTRACT) -> None:
    contract = DeployedContract(
        address=address,
        block_number=0,
        tx_hash=word(1),
        constructor_args=[],
        source_hash="",
        compiler="",
    )
    names = ("FLToken", "FLCoordinator")
    save_deployment(Deployment(31337, word(0), dict.fromkeys(names, contract)))


@pytest.fixture(autouse=True)
def deployed(tmp_path: Path, settings: Settings) -> None:
    settings.BCFL_HOME = tmp_path
    record_deployment()
