"""Data from files: what is read, and what a malformed file is told."""

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import data, files
from training.errors import DataError, SpecError
from training.specs import DATASETS, DatasetSpec, TaskConfig


def idx(array: Any) -> bytes:
    shape = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BCFL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path


def test_idx_plain_and_packed(folder: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (folder / "a").write_bytes(idx(array))
    (folder / "a.gz").write_bytes(gzip.compress(idx(array)))
    assert np.array_equal(files.read_idx(folder / "a"), array)
    assert np.array_equal(files.read_idx(folder / "a.gz"), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "IDX starts with 0000"),
        (b"PK\x03\x04", "starts with 504b0304"),
        (b"\0\0\x0d\x01" + bytes(8), r"type 0x0d, but expected 0x08"),
        (b"\0\0\x08\x03" + bytes(3), "cut off"),
        (b"\0\0\x08\x00", "0 dimensions"),
        (idx(np.zeros((3, 3), np.uint8))[:-1], r"promises \(3, 3\), so 9 bytes, but 8 follow"),
        (idx(np.zeros((3, 3), np.uint8)) + b"x", "but 10 follow"),
    ],
)
def test_malformed_idx(folder: Path, content: bytes, message: str) -> None:
    (folder / "a").write_bytes(content)
    with pytest.raises(DataError, match=message):
        files.read_idx(folder / "a")
    (folder / "a.gz").write_bytes(gzip.compress(idx(np.zeros(999, np.uint8)))[:-9])
    with pytest.raises(DataError, match="not a complete gzip file"):
        files.read_idx(folder / "a.gz")


def small_mnist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    import hashlib

    rng = np.random.default_rng(0)
    arrays = (
        rng.integers(0, 255, (20, 28, 28), np.uint8),
        rng.integers(0, 10, 20).astype(np.uint8),
        rng.integers(0, 255, (10, 28, 28), np.uint8),
        np.arange(10, dtype=np.uint8),
    )
    sums = tuple(hashlib.sha256(array.tobytes()).hexdigest() for array in arrays)
    monkeypatch.setitem(files._CHECKSUMS, "mnist", sums)
    (folder / "mnist").mkdir()
    for part, array in zip(files._IDX_PARTS, arrays, strict=True):
        (folder / "mnist" / part).write_bytes(idx(array))
    return arrays


def test_images_from_idx_files_or_from_what_keras_downloaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Put the four IDX files" in DATASETS["mnist"].unavailable()
    arrays = small_mnist(folder, monkeypatch)
    assert DATASETS["mnist"].unavailable() == ""
    for found, array in zip(files.images("mnist"), arrays, strict=True):
        assert np.array_equal(found, array)
    labels = files.image_labels("mnist")  # without the pixels, for the picture of who has what
    assert np.array_equal(labels, np.concatenate([arrays[1], arrays[3]]))
    (folder / "mnist" / files._IDX_PARTS[3]).unlink()
    with pytest.raises(DataError, match="the files of mnist are not here"):
        files.images("mnist")
    (folder / "keras" / "datasets").mkdir(parents=True)
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez(folder / "keras" / "datasets" / "mnist.npz", **dict(zip(names, arrays, strict=True)))
    assert np.array_equal(files.images("mnist")[1], arrays[1])


def test_images_that_are_not_the_published_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = small_mnist(folder, monkeypatch)
    arrays[0][3, 3, 3] ^= 1
    (folder / "mnist" / files._IDX_PARTS[0]).write_bytes(idx(arrays[0]))
    with pytest.raises(DataError, match=r"SHA-256 .* but the published one"):
        files.images("mnist")


def test_the_published_test_part_is_held_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = small_mnist(folder, monkeypatch)
    x, y = data._images("mnist")
    assert (x.dtype, y.dtype, x.shape) == (np.float32, np.int32, (30, 28, 28))
    assert x.max() <= 1.0
    assert np.array_equal(y[-10:], arrays[3])
    assert DatasetSpec("mnist").training_samples == 60_000


def test_csv_with_a_label_column(folder: Path) -> None:
    (folder / "a.csv").write_text("age,label,size\n1,0,2.5\n-3e2,1,4\n\n5,0,6\n")
    x, y = files.read_table(folder / "a.csv")
    assert x.tolist() == [[1, 2.5], [-300, 4], [5, 6]]
    assert y.tolist() == [0, 1, 0]
    (folder / "b.csv").write_text("\ufeffage,sick\n1,0\n2,1\n", encoding="utf-8")
    assert files.read_table(folder / "b.csv")[1].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: 0 columns"),
        ("a\n1\n", "line 1: 1 columns"),
        ("1,0\n2,1\n", "expected column names"),
        ("a,label\n1,0\n2\n", "line 3: 1 columns, but expected 2"),
        ("a,label\n1,0\nx,1\n", r"line 3, column 1 \(a\): 'x', but expected a finite number"),
        ("a,label\n1,0\n,1\n", r"column 1 \(a\): ''"),
        ("a,label\nnan,0\n", r"column 1 \(a\): 'nan'"),
        ("a,label\n1e39,0\n", r"column 1 \(a\): '1e39'"),
        ("a,label\n1,0.5\n", r"column 2 \(label\): '0.5', but expected a class from 0 to 999"),
        ("a,label\n1,-1\n", r"column 2 \(label\): '-1'"),
        ("a,label\n1,cat\n", r"column 2 \(label\): 'cat'"),
        ("a,label\n", "no samples"),
        ("a,label\n1,0\n2,2\n", "no sample of class 1"),
        ("a,label\n1,0\n2,0\n", "no sample of class 1"),
        ('a,label\n"1,0\n', "line 2"),
    ],
)
def test_malformed_csv_names_line_column_and_what_was_expected(
    folder: Path, text: str, message: str
) -> None:
    (folder / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        files.read_table(folder / "a.csv")
    assert "a.csv" in str(caught.value)


def test_csv_in_another_encoding(folder: Path) -> None:
    (folder / "a.csv").write_bytes(b"gr\xf6\xdfe,label\n1,0\n")
    with pytest.raises(DataError, match="not UTF-8 at byte 2"):
        files.read_table(folder / "a.csv")


X, Y = np.zeros((4, 3)), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, r"arrays \['x'\], but expected x and y"),
        ({"x": X.astype(str), "y": Y}, "x is <U"),
        ({"x": X[:, 0], "y": Y}, r"shape \(4,\), but expected numbers of shape"),
        ({"x": X, "y": Y[:3]}, r"shape \(3,\), but expected whole numbers of shape \(4,\)"),
        ({"x": X, "y": Y.astype(float)}, "y is float64"),
        ({"x": X, "y": Y - 1}, "label -1 of sample 0"),
        ({"x": X, "y": Y * 2}, "no sample of class 1"),
        ({"x": np.where(np.eye(4, 3), np.nan, X), "y": Y}, r"x\[0, 0\] is nan"),
        ({"x": X + 1e300, "y": Y}, r"x\[0, 0\] is 1e\+300"),
        ({"x": np.array([[{}]] * 4), "y": Y}, "not an NPZ file of plain arrays"),
    ],
)
def test_malformed_npz(folder: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(folder / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        files.read_table(folder / "a.npz")


def test_files_that_are_something_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.npz").write_bytes(b"PK nonsense")
    with pytest.raises(DataError, match="not an NPZ file"):
        files.read_table(folder / "a.npz")
    with pytest.raises(DataError, match=r"'\.pkl', but only"):
        files.read_table(folder / "a.pkl")
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(1_000_000))
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 100_000)
    with pytest.raises(DataError, match="unpacks to 1000000 bytes"):
        files.read_table(folder / "bomb.npz")
    (folder / "long.csv").write_bytes(bytes(200_000))
    with pytest.raises(DataError, match="has 200000 bytes"):
        files.read_table(folder / "long.csv")
    for name in ("../a.csv", ".hidden.csv", "absent.csv"):
        with pytest.raises(DataError, match=r"plain name|no file"):
            files.own_file(name)
    monkeypatch.delenv("BCFL_DATA_DIR")
    with pytest.raises(DataError, match="BCFL_DATA_DIR is not set"):
        files.own_file("a.csv")
    assert "BCFL_DATA_DIR is not set" in DATASETS["own"].unavailable()


def own_task(folder: Path) -> TaskConfig:
    rng = np.random.default_rng(3)
    labels = np.arange(60) % 3
    np.savez(folder / "a.npz", x=rng.normal(labels[:, None], 0.1, (60, 4)), y=labels)
    source = files.describe(folder / "a.npz")
    return TaskConfig.from_dict({"dataset": {"name": "own", "source": source}, "participants": 3})


def test_own_file_becomes_a_task(folder: Path) -> None:
    config = own_task(folder)
    assert TaskConfig.from_dict(config.to_dict()) == config
    assert config.hash() != TaskConfig(participants=3).hash()
    shares = [data.share(config, slot) for slot in range(3)]
    assert sum(map(len, shares)) + len(data.holdout(config)) == 60
    assert data.load(config.dataset).classes == 3
    assert "source" not in TaskConfig().to_dict()["dataset"]


def test_another_file_of_that_name_is_noticed(folder: Path) -> None:
    config = own_task(folder)
    data._load.cache_clear()
    np.savez(folder / "a.npz", x=np.ones((60, 4)), y=np.arange(60) % 3)
    with pytest.raises(DataError, match=r"has sha256 .* but the task's configuration says"):
        data.load(config.dataset)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"file": "../a.npz"}, "dataset.source.file"),
        ({"file": "a.pkl"}, "dataset.source.file"),
        ({"sha256": "12"}, "dataset.source.sha256"),
        ({"samples": 1}, "dataset.source.samples"),
        ({"classes": 1}, "dataset.source.classes"),
        ({"input_shape": []}, "dataset.source.input_shape"),
        ({"input_shape": [0]}, "dataset.source.input_shape"),
        ({"colour": 1}, "dataset.source.colour"),
    ],
)
def test_bad_descriptions_are_refused(folder: Path, change: dict[str, Any], field: str) -> None:
    plain = own_task(folder).to_dict()
    plain["dataset"]["source"] |= change
    with pytest.raises(SpecError) as caught:
        TaskConfig.from_dict(plain)
    assert caught.value.field == field
    with pytest.raises(SpecError, match=r"dataset\.source is None"):
        TaskConfig.from_dict({"dataset": {"name": "own"}})
    with pytest.raises(SpecError, match=r"dataset\.source\.file"):
        TaskConfig.from_dict({"dataset": {"name": "own", "source": {}}})
    with pytest.raises(SpecError, match="absent for others"):
        TaskConfig.from_dict(
            {
                "dataset": {
                    "name": "digits",
                    "source": own_task(folder).to_dict()["dataset"]["source"],
                }
            }
        )
