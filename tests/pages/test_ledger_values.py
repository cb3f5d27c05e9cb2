"""Every function, event and error of the committed ABIs is shown decoded, with its units."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from django.test import Client

from chain.artifacts import NAMES, load
from chain.calls import decode_call, encode_arguments, json_value
from chain.events import Abi, EventDecoder, RawLog, event_topic, selector
from chain.models import Log, Transaction
from chain.reverts import RevertDecoder
from sessions_app.models import User
from sessions_app.selectors.ledger.values import (
    UNLIMITED,
    Known,
    Shown,
    TaskLink,
    error_inputs,
    moment,
    shown_arguments,
)
from sessions_app.selectors.people.people import Names, Party
from sessions_app.templatetags.console import dotted
from tests import factories

WHO = factories.address_of("Eastfield")
KNOWN = Known(Names([Party(WHO, "Eastfield", "participant")]), {3: TaskLink(7, "Retina")})
UPDATES = (2).to_bytes(2, "big") + b"\xab" * 32 + (900).to_bytes(4, "big")  # member, hash, samples


def items(*kinds: str) -> list[Any]:
    return [
        pytest.param(name, item, id=f"{name}.{item['name']}")
        for name in NAMES
        for item in load(name).abi
        if item["type"] in kinds
    ]


def sample(item: Mapping[str, Any]) -> Any:
    """A value of the type that its unit can be recognised by."""
    kind, name = item["type"], item["name"]
    if kind.endswith("]"):
        return [sample({**item, "type": kind[: kind.rindex("[")]})] * 2
    if kind == "tuple":
        return {c["name"]: sample(c) for c in item["components"]}
    if kind == "address":
        return WHO
    if kind == "bool":
        return True
    if kind == "string":
        return "rounds"
    if str(item.get("internalType", "")).startswith("enum "):
        return 2
    if name == "taskId":
        return 3
    if name == "updates" and kind == "bytes":
        return UPDATES * 2
    if name == "scores":
        return (912_000).to_bytes(4, "big") * 3
    if name == "signatures":
        return b"\x01" * 130
    if kind == "bytes":
        return b"\x12\x34" * 20
    if kind.startswith("bytes"):
        return b"\xcd" * int(kind.removeprefix("bytes"))
    if kind in ("uint96",) or (kind == "uint256" and name not in ("deadline", "time")):
        return 12_500_000_000_000_000_000
    if kind == "uint40" or name in ("deadline", "time"):
        return 1_790_000_000
    if name.endswith("Ppm"):
        return 912_345
    return 90 if kind == "uint8" else 900


def leaves(inputs: Any, prefix: str = "") -> list[tuple[str, Mapping[str, Any]]]:
    found = []
    for at, item in enumerate(inputs):
        name = prefix + (item["name"] or f"arg{at}")
        if item["type"] == "tuple":
            found += leaves(item["components"], f"{name}.")
        else:
            found.append((name, item))
    return found


def check(rows: list[Shown], inputs: Any) -> None:
    """Every argument is there by name, and those with a unit have it."""
    by_name = {row.name: row for row in rows}
    for name, item in leaves(inputs):
        row = by_name[name]
        kind, last = item["type"], name.rpartition(".")[2]
        assert row.text
        assert row.type == kind
        if kind == "address":
            assert (row.text, row.exact) == ("Eastfield", WHO)
        elif kind == "address[]":
            assert row.text == "Eastfield, Eastfield"
        elif str(item.get("internalType", "")).startswith("enum "):
            assert row.text.isalpha()
        elif last == "taskId":
            assert (row.text, row.url) == ("Retina (3)", "/tasks/7/")
        elif kind == "uint96":
            assert row.text == "12.5\u00a0FLT"
            assert row.exact == "12500000000000000000 wei"
        elif kind == "uint40" or last in ("deadline", "time"):
            assert row.text == "21 Sep 2026 14:13:20\u00a0UTC"
        elif last.endswith("Seconds"):
            assert row.text == "15\u00a0min"
        elif last.endswith("Ppm"):
            assert row.text == "91.23\u00a0%"
        elif last in ("samples", "samplesCap", "cap"):
            assert row.text == "900 samples"
        elif last == "updates" and kind == "bytes":
            assert row.text == "2 updates"
            assert f"member 2: 900 samples, 0x{'ab' * 32}" in by_name[f"{name}[1]"].text
        elif last == "scores":
            assert row.text == "by member: 912,000, 912,000, 912,000"
        elif last == "signatures":
            assert row.text == "2 signatures"
        elif kind == "bytes32":
            assert row.copyable
            assert row.url or not last.endswith(("Hash", "Root"))


@pytest.mark.parametrize(("contract", "item"), items("function"))
def test_every_call(contract: str, item: Mapping[str, Any]) -> None:
    abi: Abi = load(contract).abi
    values = [sample(entry) for entry in item["inputs"]]
    data = selector(item) + encode_arguments(item["inputs"], values, item["name"])
    decoded = decode_call(abi, data)
    assert decoded is not None
    assert decoded[0] == item["name"]
    check(shown_arguments(item["inputs"], decoded[1], KNOWN), item["inputs"])


@pytest.mark.parametrize(("contract", "item"), items("event"))
def test_every_event(contract: str, item: Mapping[str, Any]) -> None:
    indexed = [entry for entry in item["inputs"] if entry["indexed"]]
    plain = [entry for entry in item["inputs"] if not entry["indexed"]]
    topics = [event_topic(item)]
    for entry in indexed:
        topics.append("0x" + encode_arguments([entry], [sample(entry)], entry["name"]).hex())
    data = encode_arguments(plain, [sample(entry) for entry in plain], item["name"])
    log = RawLog(factories.TOKEN, tuple(topics), "0x" + data.hex(), 1, "0x", "0x", 0, 0)
    decoder = EventDecoder({factories.TOKEN: (contract, load(contract).abi)})
    event = decoder.decode(log, 0)
    assert event is not None
    assert event.name == item["name"]
    check(shown_arguments(item["inputs"], event.args, KNOWN), item["inputs"])


@pytest.mark.parametrize(("contract", "item"), items("error"))
def test_every_error(contract: str, item: Mapping[str, Any]) -> None:
    """From revert data through the arguments that are stored to the table on the page."""
    values = [sample(entry) for entry in item["inputs"]]
    data = selector(item) + encode_arguments(item["inputs"], values, item["name"])
    reverted = RevertDecoder([load(contract).abi]).decode("0x" + data.hex())
    assert reverted.name == item["name"]
    args = json.loads(json.dumps(json_value(reverted.arguments)))
    check(shown_arguments(error_inputs(item["name"]), args, KNOWN), item["inputs"])


def test_amounts_wider_than_uint96_have_their_unit() -> None:
    shapes = {
        ("FLToken", "Transfer"): "value",
        ("FLToken", "ERC20InsufficientAllowance"): "allowance",
        ("FLToken", "ERC20InsufficientBalance"): "needed",
        ("FLCoordinator", "TransferMismatch"): "received",
    }
    for (contract, name), argument in shapes.items():
        (item,) = [i for i in load(contract).abi if i.get("name") == name]
        args = {entry["name"]: sample(entry) for entry in item["inputs"]}
        rows = {row.name: row.text for row in shown_arguments(item["inputs"], args, KNOWN)}
        assert rows[argument] == "12.5\u00a0FLT"
    limit = {"name": "value", "type": "uint256"}
    assert shown_arguments([limit], {"value": UNLIMITED}, KNOWN)[0].text == "without limit"
    (item,) = [i for i in load("FLCoordinator").abi if i.get("name") == "OutOfRange"]
    args = {"name": "rounds", "value": 5_000, "minimum": 1, "maximum": 1_000}
    texts = [row.text for row in shown_arguments(item["inputs"], args, KNOWN)]
    assert texts == ["rounds", "5,000", "1", "1,000"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "none"), (UNLIMITED, "never"), (2**40 - 1, "after the year 9999"), (59, "01 Jan 1970")],
)
def test_times(seconds: int, text: str) -> None:
    assert moment(seconds).startswith(text)


@pytest.mark.parametrize(("contract", "item"), items("event"))
def test_every_event_is_on_its_page(
    as_operator: Client, operator: User, contract: str, item: Mapping[str, Any]
) -> None:
    story = factories.TaskStory(factories.draft(operator)).fund()
    created = Transaction.objects.get(function="createTask")
    args = {}
    for entry in item["inputs"]:
        value = sample(entry)
        args[entry["name"]] = "0x" + value.hex() if isinstance(value, bytes) else value
    Log.objects.create(
        network=story.network,
        block=created.block,
        transaction=created,
        block_number=created.block_number,
        log_index=90,
        address=factories.COORDINATOR,
        contract=contract,
        event=item["name"],
        args=_json(args),
        task_id=args.get("taskId"),
    )
    page = as_operator.get(f"/ledger/tx/{created.hash}/").content.decode()
    assert f"{contract} {item['name']}" in page
    for name, _ in leaves(item["inputs"]):
        assert f'<dt class="mono">{dotted(name)}<' in page


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {key: _json(entry) for key, entry in value.items()}
    return value
