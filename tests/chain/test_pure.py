"""The parts without a node: vectors worked out by hand or by another tool, and properties."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from eth_abi.abi import default_codec
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from chain import bloom, calls, errors, merkle, ranges, reorg, reverts
from chain.events import EventDecoder, RawLog, checksum, event_topic, signature
from chain.node_errors import from_rpc
from chain.wire import parse_header

TOKEN_ADDRESS = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
ALICE = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
PARAMS = {
    "type": "tuple",
    "name": "params",
    "indexed": False,
    "components": [
        {"name": "hash", "type": "bytes32"},
        {"name": "pool", "type": "uint96"},
        {"name": "evaluators", "type": "address[]"},
    ],
}
ABI: list[dict[str, Any]] = [
    {
        "type": "event",
        "name": "Transfer",
        "inputs": [
            {"name": "from", "type": "address", "indexed": True},
            {"name": "to", "type": "address", "indexed": True},
            {"name": "value", "type": "uint256", "indexed": False},
        ],
    },
    {
        "type": "event",
        "name": "Created",
        "inputs": [{"name": "taskId", "type": "uint256", "indexed": True}, PARAMS],
    },
    {"type": "function", "name": "put", "inputs": [PARAMS], "outputs": []},
    {"type": "function", "name": "put", "inputs": [], "outputs": [{"name": "", "type": "uint8"}]},
    {
        "type": "error",
        "name": "WrongRoundPhase",
        "inputs": [{"name": "taskId", "type": "uint256"}, {"name": "phase", "type": "uint8"}],
    },
]


def log(topics: list[str], data: bytes, address: str = TOKEN_ADDRESS) -> RawLog:
    return RawLog(
        address=address,
        topics=tuple(topics),
        data="0x" + data.hex(),
        block_number=7,
        block_hash="0x" + "aa" * 32,
        tx_hash="0x" + "bb" * 32,
        tx_index=1,
        log_index=2,
    )


def word(number: int) -> str:
    return "0x" + number.to_bytes(32, "big").hex()


# Events


def test_transfer_topic_is_the_known_one() -> None:
    assert event_topic(ABI[0]) == (
        "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    )
    assert signature(ABI[1]) == "Created(uint256,(bytes32,uint96,address[]))"


@given(
    task=st.integers(0, 2**256 - 1),
    pool=st.integers(0, 2**96 - 1),
    content=st.binary(min_size=32, max_size=32),
    evaluators=st.lists(st.binary(min_size=20, max_size=20), max_size=4),
)
def test_structs_decode_to_dicts(
    task: int, pool: int, content: bytes, evaluators: list[bytes]
) -> None:
    addresses = ["0x" + entry.hex() for entry in evaluators]
    data = default_codec.encode(["(bytes32,uint96,address[])"], [(content, pool, addresses)])
    decoder = EventDecoder({TOKEN_ADDRESS.lower(): ("Coordinator", ABI)})
    event = decoder.decode(log([event_topic(ABI[1]), word(task)], data), 1_700_000_000)
    assert event is not None
    assert (event.contract, event.name, event.task_id) == ("Coordinator", "Created", task)
    assert event.args == {
        "taskId": task,
        "params": {
            "hash": "0x" + content.hex(),
            "pool": pool,
            "evaluators": [checksum(address) for address in addresses],
        },
    }
    assert (event.block_time, event.block_number, event.log_index) == (1_700_000_000, 7, 2)


def test_logs_of_others_are_left_alone() -> None:
    decoder = EventDecoder({TOKEN_ADDRESS: ("Token", ABI)})
    assert decoder.decode(log([], b""), 0) is None
    assert decoder.decode(log([word(1)], b""), 0) is None
    elsewhere = log([event_topic(ABI[0]), word(1), word(2)], bytes(32), address=ALICE)
    assert decoder.decode(elsewhere, 0) is None


def test_our_topic_with_other_data_is_refused() -> None:
    decoder = EventDecoder({TOKEN_ADDRESS: ("Token", ABI)})
    short = log([event_topic(ABI[0]), word(1), word(2)], b"\x01")
    with pytest.raises(errors.InconsistentAnswer, match=r"Log 2 of block 7 .* Token\.Transfer"):
        decoder.decode(short, 0)


# Calls and reverts


def test_calls_take_mappings_and_come_back_named() -> None:
    params = {"hash": "0x" + "11" * 32, "pool": 5, "evaluators": [ALICE]}
    data = calls.encode_call(ABI, "put", [params])
    assert calls.decode_call(ABI, data) == ("put", {"params": params})
    assert calls.decode_call(ABI, b"\x01\x02\x03\x04") is None
    assert calls.encode_call(ABI, "put", []) == keccak(text="put()")[:4]
    assert calls.decode_result(ABI, "put", 0, bytes(31) + b"\x09") == {"arg0": 9}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([{"hash": "0x11", "pool": 5, "other": 1}], "unknown fields"),
        ([{"hash": "0x" + "11" * 32, "pool": 2**96, "evaluators": []}], "do not fit put"),
        ([1, 2], r"no put with 2 arguments; it has put\(\(bytes32"),
    ],
)
def test_calls_that_do_not_fit_say_where(args: list[Any], message: str) -> None:
    with pytest.raises(errors.CallFailed, match=message):
        calls.encode_call(ABI, "put", args)


def test_reverts_in_words() -> None:
    decoder = reverts.RevertDecoder([ABI])
    data = keccak(text="WrongRoundPhase(uint256,uint8)")[:4] + bytes.fromhex(
        word(5)[2:] + word(2)[2:]
    )
    custom = decoder.decode("0x" + data.hex())
    assert (custom.name, custom.arguments) == ("WrongRoundPhase", {"taskId": 5, "phase": 2})
    assert str(custom) == "Wrong round phase (taskId 5, phase 2)."
    reason = keccak(text="Error(string)")[:4] + default_codec.encode(["string"], ["too late"])
    assert str(decoder.decode("0x" + reason.hex())) == "The contract refused: too late."
    panic = keccak(text="Panic(uint256)")[:4] + bytes.fromhex(word(0x11)[2:])
    assert "overflowed (0x11)" in str(decoder.decode("0x" + panic.hex()))
    assert decoder.decode("0x").sentence == "The contract refused without a reason."
    assert "selector 0xdeadbeef" in str(decoder.decode("0xdeadbeef"))
    told = reverts.RevertDecoder([ABI], {"WrongRoundPhase": "The round is elsewhere."})
    assert str(told.decode("0x" + data.hex())) == "The round is elsewhere (taskId 5, phase 2)."


@pytest.mark.parametrize(
    ("method", "error", "kind"),
    [
        ("eth_call", {"code": 3, "message": "reverted", "data": "0x"}, "ContractReverted"),
        ("eth_call", {"code": -32000, "message": "x", "data": {"data": "0x"}}, "ContractReverted"),
        ("eth_call", {"code": -32015, "message": "VM", "data": "Reverted 0x08c379a0"},
         "ContractReverted"),
        ("eth_sendRawTransaction", {"code": -32000, "message": "already known"}, "AlreadyKnown"),
        ("eth_sendRawTransaction", {"code": -32003, "message": "nonce too low"}, "NonceTaken"),
        ("eth_sendRawTransaction", {"code": -32000,
         "message": "replacement transaction underpriced"}, "Underpriced"),
    ("eth_sendRawTransaction", {"code": -32003,
        "message": "max fee per gas less than block base fee"}, "Underpriced"),
        ("eth_estimateGas", {"code": -32003,
         "message": "Insufficient funds for gas * price + value"}, "InsufficientFunds"),
        ("eth_getLogs", {"code": -32005, "message": "query returned more than 10000 results"},
         "RangeTooLarge"),
        ("eth_getLogs", {"code": -32602, "message": "block range too large"}, "RangeTooLarge"),
        ("eth_call", {"code": -32005, "message": "daily limit"}, "NodeUnavailable"),
        ("eth_call", {"code": -32000, "message": "header not found"}, "NodeUnavailable"),
        ("eth_call", {"code": -32000, "message": "request timed out"}, "NodeTimeout"),
        ("eth_foo", {"code": -32601, "message": "method not found"}, "CallFailed"),
    ],
)  # fmt: skip
def test_what_nodes_say_becomes_a_typed_error(
    method: str, error: dict[str, Any], kind: str
) -> None:
    found = from_rpc(method, error, reverts.RevertDecoder([]))
    assert type(found).__name__ == kind


def test_the_range_a_node_suggests_is_taken() -> None:
    message = "Log response size exceeded. Try this block range [0x10, 0x1f]"
    found = from_rpc("eth_getLogs", {"code": -32602, "message": message}, reverts.RevertDecoder([]))
    assert isinstance(found, errors.RangeTooLarge)
    assert found.suggestion == (16, 31)
    size = ranges.RangeSize(1000, 1000).after_refusal(1000, found.suggestion)
    assert size.current == 16


def test_a_block_of_the_wrong_form_is_refused() -> None:
    with pytest.raises(errors.InconsistentAnswer, match="not in the form"):
        parse_header({"number": "0x1"})


# Ranges and reorganisations


@given(st.integers(-1, 50), st.integers(-1, 80), st.integers(0, 20), st.integers(1, 30))
def test_ranges_cover_everything_once(done: int, target: int, start: int, size: int) -> None:
    first = done + 1 if done >= 0 else start
    covered: list[int] = []
    while (span := ranges.next_range(done, target, start, size)) is not None:
        assert 1 <= span[1] - span[0] + 1 <= size
        covered.extend(range(span[0], span[1] + 1))
        done = span[1]
    assert covered == list(range(first, target + 1))


@given(st.integers(1, 2_000), st.lists(st.booleans(), max_size=40))
def test_range_size_stays_in_bounds_and_recovers(largest: int, answers: list[bool]) -> None:
    size = ranges.RangeSize(min(10, largest), largest)
    for fine in answers:
        size = size.after_success() if fine else size.after_refusal(size.current, None)
        assert 1 <= size.current <= largest
    for _ in range(60):
        size = size.after_success()
    assert size.current == largest


@given(
    shared=st.integers(0, 60), ours=st.integers(0, 60), theirs=st.integers(0, 60),
    floor=st.integers(0, 60),
)  # fmt: skip
def test_common_ancestor_is_the_last_shared_block(
    shared: int, ours: int, theirs: int, floor: int
) -> None:
    def chain(own: str, length: int) -> dict[int, str]:
        return {n: f"{n}" if n < shared else f"{n}{own}" for n in range(shared + length)}

    mine, other = chain("a", ours), chain("b", theirs)
    asked: list[int] = []

    def read(hashes: dict[int, str]) -> reorg.Hashes:
        def reader(heights: Any) -> dict[int, str]:
            asked.extend(heights)
            return {n: hashes[n] for n in heights if n in hashes}

        return reader

    top = min(len(mine), len(other)) - 1
    found = reorg.common_ancestor(read(mine), read(other), top, floor)
    expected = shared - 1 if floor <= shared - 1 <= top else None
    assert found == expected
    # Each height is read at most once from each side, and none below the floor.
    assert len(asked) == 2 * len(set(asked))
    assert all(height >= floor for height in asked)


def test_unlinked_blocks_are_found() -> None:
    chain = [(1, "a", "g"), (2, "b", "a"), (3, "c", "x")]
    assert reorg.unlinked("g", chain) == 3
    assert reorg.unlinked("other", chain) == 1
    assert reorg.unlinked("", chain[:2]) is None


# Bloom and Merkle


def test_bloom_bits_by_hand() -> None:
    # keccak256 of 20 zero bytes begins 5380 c7b7 ae81; the low 11 bits of each pair are the bits.
    digest = keccak(bytes(20))
    assert digest[:6].hex() == "5380c7b7ae81"
    expected = (1 << 0x380) | (1 << 0x7B7) | (1 << 0x681)
    assert bloom.bits("0x" + "00" * 20) == expected


@given(st.lists(st.binary(min_size=20, max_size=20), min_size=1, max_size=20))
def test_a_bloom_never_hides_a_log(addresses: list[bytes]) -> None:
    items = ["0x" + address.hex() for address in addresses]
    whole = bloom.of_logs((item, []) for item in items)
    assert all(bloom.may_contain(whole, item) for item in items)
    assert bloom.of_logs([]) == 0


@given(
    st.dictionaries(
        st.binary(min_size=20, max_size=20).map(lambda raw: checksum("0x" + raw.hex())),
        st.integers(1, 2**96 - 1),
        min_size=1,
        max_size=33,
    ),
    st.data(),
)
def test_proofs_hold_and_break_when_a_bit_flips(earned: dict[str, int], data: Any) -> None:
    tree = merkle.reward_tree(7, earned)
    addresses = sorted(earned)
    position = data.draw(st.integers(0, len(addresses) - 1))
    address = addresses[position]
    leaf = merkle.leaf(7, address, earned[address])
    proof = tree.proof(position)
    assert merkle.verify(tree.root, leaf, proof)
    assert not merkle.verify(tree.root, merkle.leaf(7, address, earned[address] - 1), proof)
    assert not merkle.verify(tree.root, merkle.leaf(8, address, earned[address]), proof)
    if proof:
        entry, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
        flipped = (int.from_bytes(proof[entry], "big") ^ (1 << bit)).to_bytes(32, "big")
        assert not merkle.verify(tree.root, leaf, [*proof[:entry], flipped, *proof[entry + 1 :]])
    else:
        assert tree.root == leaf


def test_pure_modules_need_neither_django_nor_web3() -> None:
    code = (
        "import sys, chain.events, chain.reorg, chain.ranges, chain.merkle, chain.bloom, "
        "chain.calls, chain.wire, chain.reverts\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'django', 'celery', 'web3', 'tensorflow'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
