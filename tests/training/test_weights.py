"""Weights as bytes: one form, and nothing hostile gets through."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.training.factories import tensors
from training.errors import BlobCorrupt, UpdateRejected
from training.specs import keccak_hex
from training.weights import (
    Float32,
    check_update,
    decode,
    distance,
    encode,
    encoded_size,
)

REFERENCE = tensors(**{"a/kernel": [[0, 0, 0], [0, 0, 0]], "b/bias": [0, 0]})
GOOD = tensors(**{"a/kernel": [[1, 0, 0], [0, 2, 0]], "b/bias": [2, 0]})

names = st.text("abcdefghijk_/.0123456789", min_size=1, max_size=20)
arrays = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    elements=st.floats(width=32),
)


def test_bytes_and_hash_of_a_tiny_model_are_the_committed_ones() -> None:
    encoded = encode(tensors(b=[1.5], a=[[0, -2]]))
    header = (
        b'{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},'
        b'"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}'
    )
    header += b" " * (-len(header) % 8)
    body = bytes.fromhex("00000000000000c00000c03f")
    assert encoded == len(header).to_bytes(8, "little") + header + body
    assert keccak_hex(encoded) == (
        "0xea37d16165d01ed5f6d10f773f8128eeedaa0fd7b1eb06bae0340ba54146d426"
    )


@given(st.dictionaries(names, arrays, max_size=5))
def test_what_is_encoded_comes_back_bit_for_bit(weights: dict[str, Float32]) -> None:
    encoded = encode(weights)
    assert len(encoded) == encoded_size(weights)
    decoded = decode(encoded)
    assert sorted(decoded) == list(decoded) == sorted(weights)
    for name, tensor in weights.items():
        assert decoded[name].shape == tensor.shape
        assert decoded[name].tobytes() == tensor.tobytes()
        assert not decoded[name].flags.writeable


@given(st.dictionaries(names, arrays, min_size=1, max_size=5))
def test_safetensors_itself_writes_the_same_bytes(weights: dict[str, Float32]) -> None:
    assert safetensors.numpy.save(weights) == encode(weights)
    loaded = safetensors.numpy.load(encode(weights))
    assert {name: tensor.tobytes() for name, tensor in loaded.items()} == {
        name: tensor.tobytes() for name, tensor in weights.items()
    }


def test_order_of_the_mapping_and_memory_layout_do_not_matter() -> None:
    kernel = np.asfortranarray(GOOD["a/kernel"])
    assert encode({"b/bias": GOOD["b/bias"], "a/kernel": kernel}) == encode(GOOD)


def test_only_float32_and_plain_names_are_encoded() -> None:
    with pytest.raises(ValueError, match="is float64, but weights are float32"):
        encode({"a": np.zeros(2)})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="must match"):
        encode({"../a b": np.zeros(2, np.float32)})
    with pytest.raises(ValueError, match="must match"):
        encode({"__metadata__": np.zeros(2, np.float32)})


def test_good_update_passes_with_its_distance() -> None:
    checked, norm = check_update(encode(GOOD), REFERENCE, norm_bound=3.0)
    assert norm == 3.0  # sqrt(1 + 4 + 4)
    assert encode(checked) == encode(GOOD)


def test_distance_is_the_l2_norm_over_all_tensors() -> None:
    assert distance(tensors(a=[3.0], b=[[4.0]]), tensors(a=[0.0], b=[[0.0]])) == 5.0


def with_header(change: Callable[[dict[str, dict[str, object]]], object]) -> bytes:
    """GOOD with its header changed, padded to the same length where possible."""
    encoded = encode(GOOD)
    length = int.from_bytes(encoded[:8], "little")
    table = json.loads(encoded[8 : 8 + length])
    change(table)
    text = json.dumps(table, separators=(",", ":")).encode().ljust(length)
    return len(text).to_bytes(8, "little") + text + encoded[8 + length :]


def with_raw_header(text: bytes) -> bytes:
    body = encode(GOOD)[-32:]
    return len(text).to_bytes(8, "little") + text + body


NAN = tensors(**{"a/kernel": [[1, 0, 0], [0, np.nan, 0]], "b/bias": [2, 0]})
INF = tensors(**{"a/kernel": [[1, 0, 0], [0, 2, 0]], "b/bias": [np.inf, 0]})
FAR = tensors(**{"a/kernel": [[1e30, 0, 0], [0, 2, 0]], "b/bias": [2, 0]})
TRANSPOSED = {**GOOD, "a/kernel": GOOD["a/kernel"].T.copy()}
HOSTILE = {
    "not a number": (encode(NAN), "finite"),
    "infinite": (encode(INF), "finite"),
    "far away": (encode(FAR), "norm"),
    "transposed": (encode(TRANSPOSED), "shape"),
    "flattened": (encode({**GOOD, "b/bias": GOOD["b/bias"].reshape(1, 2)}), "shape"),
    "other name": (encode({"a/kernel": GOOD["a/kernel"], "c/bias": GOOD["b/bias"]}), "keys"),
    "missing tensor": (encode({"a/kernel": GOOD["a/kernel"]}), "keys"),
    "extra tensor": (encode({**GOOD, "c": GOOD["b/bias"]}), "size"),
    "truncated": (encode(GOOD)[:-1], "format"),
    "one byte more": (encode(GOOD) + b"\0", "size"),
    "empty": (b"", "format"),
    "only a length": (b"\xff" * 8, "format"),
    "header longer than the file": ((1 << 40).to_bytes(8, "little") + b"{}", "format"),
    "not JSON": (with_raw_header(b"{nope}"), "format"),
    "not UTF-8": (with_raw_header(b"\xff\xfe{}"), "format"),
    "a list": (with_raw_header(b"[]"), "format"),
    "nested deeply": (with_raw_header(b"[" * 90), "format"),
    "entry is a number": (with_raw_header(b'{"a/kernel":1}'), "format"),
    "metadata": (with_raw_header(b'{"__metadata__":{"a":"b"}}'), "format"),
    "no tensors": (with_raw_header(b"{}"), "keys"),
    "half precision": (with_header(lambda t: t["b/bias"].update(dtype="F16")), "dtype"),
    "double precision": (with_header(lambda t: t["b/bias"].update(dtype="F64")), "dtype"),
    "negative side": (with_header(lambda t: t["b/bias"].update(shape=[-2])), "format"),
    "fractional side": (with_header(lambda t: t["b/bias"].update(shape=[2.0])), "format"),
    "overlapping": (
        with_header(lambda t: t["b/bias"].update(data_offsets=[0, 8])),
        "format",
    ),
    "beyond the end": (
        with_header(lambda t: t["b/bias"].update(data_offsets=[24, 99])),
        "format",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_update_is_rejected_with_its_reason(case: str) -> None:
    data, reason = HOSTILE[case]
    with pytest.raises(UpdateRejected) as caught:
        check_update(data, REFERENCE, norm_bound=100.0)
    assert caught.value.reason == reason
    assert caught.value.message


@given(st.binary(max_size=400))
def test_random_bytes_never_get_past_the_check(noise: bytes) -> None:
    with pytest.raises(UpdateRejected):
        check_update(noise, REFERENCE, norm_bound=100.0)
    with pytest.raises(BlobCorrupt):
        decode(noise)


@given(st.integers(0, 8 * len(encode(GOOD)) - 1))
def test_one_flipped_bit_is_another_model_or_refused(bit: int) -> None:
    flipped = bytearray(encode(GOOD))
    flipped[bit // 8] ^= 1 << (bit % 8)
    try:
        decoded = decode(bytes(flipped))
    except BlobCorrupt:
        return
    assert encode(decoded) == bytes(flipped) != encode(GOOD)


def test_unknown_reasons_are_a_bug() -> None:
    with pytest.raises(ValueError, match="unknown reason"):
        UpdateRejected("because", "x")
