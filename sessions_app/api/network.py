"""Which chain this console is on, and what a task may choose from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja import Field, Schema

from chain.artifacts import COORDINATOR, DEV_CHAIN_ID, TOKEN, deployment
from chain.errors import NotDeployed
from chain.models import Network
from sessions_app.api.base import Address, Hash, area
from sessions_app.selectors.chrome import chain_status
from training.specs import (
    ALGORITHMS,
    DATASETS,
    HOLDOUT,
    LOCAL_PARAMETERS,
    MODELS,
    PARTITIONS,
    REWARD_MODES,
    SCORINGS,
    TASK_PARAMETERS,
    Choice,
    Parameter,
)

router = area("Network", auth=None)


class FollowerOut(Schema):
    state: str = Field(description="live, backfill, starting, silent, none, or what went wrong.")
    label: str
    message: str
    block: int = Field(description="The last block read; -1 before the first.")
    head: int
    updated_at: datetime | None


class NetworkOut(Schema):
    chain_id: int
    name: str
    genesis_hash: Hash = Field(description="Of block 0; empty before the first contact.")
    development: bool = Field(description="Its keys are public and its coins worth nothing.")
    coordinator: Address
    token: Address
    token_symbol: str
    token_decimals: int
    deployed_block: int | None
    confirmations: int
    follower: FollowerOut


class ParameterOut(Schema):
    name: str
    label: str
    help: str
    kind: str
    default: Any
    minimum: float | None
    maximum: float | None
    options: list[Any]
    unit: str


class ChoiceOut(Schema):
    name: str
    label: str
    help: str
    parameters: list[ParameterOut]


class ChoicesOut(Schema):
    """What `config` of a task may hold."""

    datasets: list[ChoiceOut]
    partitions: list[ChoiceOut]
    models: list[ChoiceOut]
    algorithms: list[ChoiceOut]
    scorings: list[ChoiceOut]
    reward_modes: list[ChoiceOut]
    local: list[ParameterOut]
    task: list[ParameterOut]


@router.get("/network", response=NetworkOut, summary="The chain and our contracts")
def network_get(request: HttpRequest) -> dict[str, Any]:
    """Compare chain id and genesis with your own node before you sign anything. The ABIs are
    under /ledger/contracts."""
    status = chain_status()
    network = Network.objects.filter(chain_id=status.chain_id).first()
    try:
        deployed = deployment(status.chain_id)
        addresses, block = deployed.addresses, deployed.start_block
    except NotDeployed:
        addresses, block = {}, None
    return {
        "chain_id": status.chain_id,
        "name": status.network,
        "genesis_hash": network.genesis_hash if network else "",
        "development": status.chain_id == DEV_CHAIN_ID,
        "coordinator": addresses.get(COORDINATOR, ""),
        "token": addresses.get(TOKEN, ""),
        "token_symbol": "FLT",
        "token_decimals": 18,
        "deployed_block": block,
        "confirmations": settings.CHAIN_CONFIRMATIONS,
        "follower": status,
    }


@router.get("/choices", response=ChoicesOut, summary="What a task may choose from")
def choices_get(request: HttpRequest) -> dict[str, Any]:
    """Data sets, models, algorithms and their parameters, with limits and defaults."""
    return {
        "datasets": _choices(DATASETS),
        "partitions": _choices(PARTITIONS),
        "models": _choices(MODELS),
        "algorithms": _choices(ALGORITHMS),
        "scorings": _choices(SCORINGS),
        "reward_modes": _choices(REWARD_MODES),
        "local": [_parameter(parameter) for parameter in LOCAL_PARAMETERS],
        "task": [_parameter(parameter) for parameter in (*TASK_PARAMETERS, HOLDOUT)],
    }


def _choices(table: Mapping[str, Choice]) -> list[dict[str, Any]]:
    return [
        {
            "name": choice.name,
            "label": choice.label,
            "help": choice.help,
            "parameters": [_parameter(parameter) for parameter in choice.parameters],
        }
        for choice in table.values()
    ]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "label": parameter.label,
        "help": parameter.help,
        "kind": parameter.kind,
        "default": parameter.default,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "options": list(parameter.options),
        "unit": parameter.unit,
    }
