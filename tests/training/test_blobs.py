"""The blob store: names are hashes, writes are whole, lies are found."""

import mmap
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.training.factories import tensors
from training.blobs import BlobStore
from training.errors import BlobCorrupt, BlobMissing, SpecError, TrainingError
from training.specs import keccak_hex
from training.weights import encode


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def test_a_blob_is_named_by_its_keccak_and_comes_back(blobs: BlobStore) -> None:
    ref = blobs.put(b"hello")
    assert ref == keccak_hex(b"hello")
    assert blobs.get(ref) == b"hello"
    assert blobs.size(ref) == 5
    assert blobs.exists(ref)
    assert blobs.put(b"hello") == ref
    assert [path for path in blobs.root.rglob("*") if path.is_file()] == [blobs.path(ref)]


def test_missing_blob_says_where_it_looked(blobs: BlobStore) -> None:
    ref = keccak_hex(b"absent")
    for read in (blobs.get, blobs.open, blobs.open_weights, blobs.size):
        with pytest.raises(BlobMissing, match="BLOB_ROOT") as caught:
            read(ref)
        assert ref in str(caught.value)
    assert not blobs.exists(ref)


def test_changed_bytes_are_found_and_put_heals_them(blobs: BlobStore) -> None:
    data = encode(tensors(a=[1, 2]))
    ref = blobs.put(data)
    blobs.path(ref).write_bytes(data[:-1] + b"\x01")
    for read in (blobs.get, blobs.open, blobs.open_weights):
        with pytest.raises(BlobCorrupt, match="hashes to"):
            read(ref)
    blobs.put(data)
    assert blobs.get(ref) == data


def test_a_blob_that_has_not_changed_is_hashed_once(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import blobs as module

    hashed: list[int] = []

    def keccak(data: bytes) -> str:
        hashed.append(len(data))
        return keccak_hex(data)

    data = encode(tensors(a=[1, 2]))
    ref = blobs.put(data)
    monkeypatch.setattr(module, "keccak_hex", keccak)
    blobs.open(ref)
    blobs.open(ref)
    assert len(hashed) == 2  # so young a file may change again within one tick of the clock
    monkeypatch.setattr(module, "_SETTLED_NS", -1)
    for _ in range(3):
        assert blobs.open(ref) == data
    assert len(hashed) == 3
    blobs.path(ref).write_bytes(data[:-1] + b"\x01")
    with pytest.raises(BlobCorrupt):
        blobs.open(ref)


@pytest.mark.parametrize("ref", ["", "abc", "0x12", "0x../../etc/passwd", "0x" + "G" * 64, None])
def test_only_hashes_name_blobs(blobs: BlobStore, ref: object) -> None:
    with pytest.raises(SpecError):
        blobs.path(ref)  # type: ignore[arg-type]


def test_small_and_large_weights_open_as_read_only_views(blobs: BlobStore) -> None:
    small = tensors(a=[1, 2, 3])
    large = {"a": np.arange(1 << 19, dtype=np.float32)}
    assert not isinstance(blobs.open(blobs.put(encode(small))), mmap.mmap)
    assert isinstance(blobs.open(blobs.put(encode(large))), mmap.mmap)
    for weights in (small, large):
        opened = blobs.open_weights(blobs.put(encode(weights)))
        assert np.array_equal(opened["a"], weights["a"])
        assert not opened["a"].flags.writeable


def test_weights_that_hash_right_but_are_no_weights(blobs: BlobStore) -> None:
    with pytest.raises(BlobCorrupt, match="header"):
        blobs.open_weights(blobs.put(b"\xff" * 32))


def test_failed_write_leaves_nothing_behind(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        blobs.put(b"data")
    assert not [path for path in blobs.root.rglob("*") if path.is_file()]


def _write_and_read(root: Path, start: int) -> list[str]:
    store = BlobStore(root)
    refs = []
    for number in range(start, start + 40):
        ref = store.put(b"%d" % (number % 20) * 5000)
        assert store.get(ref) == b"%d" % (number % 20) * 5000
        refs.append(ref)
    return refs


def test_many_processes_write_the_same_blobs_at_once(blobs: BlobStore) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        written = pool.map(_write_and_read, [blobs.root] * 3, [0, 7, 13])
        refs = {ref for some in written for ref in some}
    assert len(refs) == 20
    assert {path for path in blobs.root.rglob("*") if path.is_file()} == {
        blobs.path(ref) for ref in refs
    }


def test_default_store_needs_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOB_ROOT", "/somewhere")
    assert BlobStore.default().root == Path("/somewhere")
    monkeypatch.delenv("BLOB_ROOT")
    with pytest.raises(TrainingError, match="BLOB_ROOT is not set"):
        BlobStore.default()
