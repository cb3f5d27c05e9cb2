"""Data sets from files: IDX, CSV and NPZ, with errors that say where and what was expected.

Files are looked for in BCFL_DATA_DIR: `<name>/train-images-idx3-ubyte` and so on (plain or .gz)
for MNIST and Fashion-MNIST, one's own files by name. What Keras has downloaded is found too.
Nothing is fetched from here, and nothing is unpickled.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import os
import zipfile
import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import DataError

Array = npt.NDArray[Any]

MAX_FILE_BYTES = 4 << 30
MAX_SAMPLES = 2_000_000
MAX_CLASSES = 1000
FLOAT32_MAX = float(np.finfo(np.float32).max)
_IDX_PARTS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_KERAS_FOLDER = {"mnist": "", "fashion_mnist": "fashion-mnist"}
_KERAS_ARRAYS = ("x_train", "y_train", "x_test", "y_test")

# SHA-256 of the bytes after the IDX header, so that every evaluator measures on the same data.
_CHECKSUMS = {
    "mnist": (
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    ),
    "fashion_mnist": (
        "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
        "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
        "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
        "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
    ),
}


def bundled(name: str, *, titled: bool = False) -> tuple[Array, list[str]]:
    """A table that comes with scikit-learn, (rows, columns) float64, and the words of its title
    line. scikit-learn itself is not imported: with SciPy that takes seconds, in every process that
    draws or trains."""
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise DataError(f"{name} comes with scikit-learn, which is not installed. Install it.")
    path = Path(package.submodule_search_locations[0]) / "datasets" / "data" / name
    title: list[str] = []
    if titled:
        with path.open(encoding="utf-8") as file:
            title = file.readline().strip().split(",")
    table: Array = np.loadtxt(path, delimiter=",", skiprows=int(titled))
    return table, title


def data_dir() -> Path | None:
    """The folder named by BCFL_DATA_DIR, if any."""
    folder = os.environ.get("BCFL_DATA_DIR", "")
    return Path(folder) if folder else None


def images_missing(name: str) -> str:
    """Why the images of `name` cannot be loaded here, with the next step; "" when they can."""
    try:
        _image_parts(name)
    except DataError as error:
        return str(error)
    return ""


def images(name: str) -> tuple[Array, Array, Array, Array]:
    """Training images (n, 28, 28) uint8 and labels (n,), then those of the test part."""
    parts = _image_parts(name)
    if isinstance(parts, Path):
        arrays = npz_arrays(parts)
        missing = [array for array in _KERAS_ARRAYS if array not in arrays]
        if missing:
            raise DataError(f"{parts} has no array {missing[0]!r}. Download it again.")
        found = [np.ascontiguousarray(arrays[array]) for array in _KERAS_ARRAYS]
    else:
        found = [read_idx(path) for path in parts]
    _check_sums(name, _IDX_PARTS, found, _CHECKSUMS[name])
    return found[0], found[1], found[2], found[3]


def image_labels(name: str) -> Array:
    """Labels (n,) of all images of `name`, training part first; the pixels are not read."""
    parts = _image_parts(name)
    if isinstance(parts, Path):
        arrays = npz_arrays(parts, only=_KERAS_ARRAYS[1::2])
        missing = [array for array in _KERAS_ARRAYS[1::2] if array not in arrays]
        if missing:
            raise DataError(f"{parts} has no array {missing[0]!r}. Download it again.")
        found = [np.ascontiguousarray(arrays[array]) for array in _KERAS_ARRAYS[1::2]]
    else:
        found = [read_idx(path) for path in parts[1::2]]
    _check_sums(name, _IDX_PARTS[1::2], found, _CHECKSUMS[name][1::2])
    return np.concatenate(found)


def _check_sums(
    name: str, labels: Sequence[str], arrays: Sequence[Array], sums: Sequence[str]
) -> None:
    for label, array, expected in zip(labels, arrays, sums, strict=True):
        actual = hashlib.sha256(array.tobytes()).hexdigest()
        if actual != expected:
            raise DataError(
                f"{label} of {name} has SHA-256 {actual}, but the published one is {expected}. "
                "Download it again: everyone must measure on the same samples."
            )


def _image_parts(name: str) -> list[Path] | Path:
    folder = data_dir()
    keras = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets"
    places = [keras / _KERAS_FOLDER[name]] if _KERAS_FOLDER[name] else []
    if folder is not None:
        places.insert(0, folder / name)
    for place in places:
        paths = [_plain_or_gz(place / part) for part in _IDX_PARTS]
        if all(paths):
            return [path for path in paths if path]
    if (keras / f"{name}.npz").is_file():
        return keras / f"{name}.npz"
    looked = ", ".join(str(place) for place in [*places, keras / f"{name}.npz"])
    raise DataError(
        f"the files of {name} are not here (looked in {looked}). Put the four IDX files "
        f"({_IDX_PARTS[0]}, ...; plain or .gz) into {name}/ below BCFL_DATA_DIR, or run "
        f'python -c "import keras; keras.datasets.{name}.load_data()".'
    )


def _plain_or_gz(path: Path) -> Path | None:
    packed = path.with_name(path.name + ".gz")
    return path if path.is_file() else packed if packed.is_file() else None


def read_idx(path: Path) -> Array:
    """The array in an IDX file of unsigned bytes (yann.lecun.com/exdb/mnist), plain or .gz."""
    data = read_bytes(path)
    if path.suffix == ".gz":
        try:
            with gzip.open(io.BytesIO(data)) as packed:
                data = packed.read(MAX_FILE_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is not a complete gzip file: {error}.") from error
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataError(f"{path} starts with {data[:4].hex()}, but IDX starts with 0000.")
    kind, dimensions = data[2], data[3]
    if kind != 8:
        raise DataError(f"{path} holds type 0x{kind:02x}, but expected 0x08 (unsigned bytes).")
    start = 4 + 4 * dimensions
    if not 1 <= dimensions <= 4 or len(data) < start:
        raise DataError(f"{path} has {dimensions} dimensions in {len(data)} bytes: cut off.")
    shape = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4))
    if len(data) - start != math.prod(shape):
        raise DataError(
            f"{path} promises {shape}, so {math.prod(shape)} bytes, but {len(data) - start} follow "
            "the header."
        )
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def own_file(name: str) -> Path:
    """Where one's own file is; DataError when it is not, or the name leads out of the folder."""
    folder = data_dir()
    if folder is None:
        raise DataError(f"BCFL_DATA_DIR is not set, so {name} cannot be found. Set it.")
    path = folder / name
    if Path(name).name != name or name.startswith("."):
        raise DataError(f"{name!r} is not the plain name of a file in {folder}.")
    if not path.is_file():
        raise DataError(f"no file {name} in {folder}. Put it there, or correct the name.")
    return path


def read_table(path: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """x float32 (n, ...) and y int32 (n,) of a .csv or .npz file; DataError says what is wrong."""
    if path.suffix == ".csv":
        return _read_csv(path)
    if path.suffix == ".npz":
        return _read_npz(path)
    raise DataError(f"{path.name} ends in {path.suffix!r}, but only .csv and .npz are read.")


def _read_csv(path: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """A header line, numbers, and the class (0, 1, 2, ...) in the column `label` or the last."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 at byte {error.start}. Save it as UTF-8.") from (
            error
        )
    lines = csv.reader(io.StringIO(text), strict=True)
    rows: list[list[float]] = []
    labels: list[int] = []
    try:
        header = [name.strip() for name in next(lines, [])]
        if len(header) < 2:
            raise DataError(
                f"{path.name}, line 1: {len(header)} columns, but expected names of at least one "
                "feature and the label."
            )
        if all(_is_number(name) for name in header):
            raise DataError(f"{path.name}, line 1: {header[:3]}..., but expected column names.")
        at_label = header.index("label") if "label" in header else len(header) - 1
        for cells in lines:
            where = f"{path.name}, line {lines.line_num}"
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(f"{where}: {len(cells)} columns, but expected {len(header)}.")
            numbers = [
                _number(cell, where, header[at], at, whole=at == at_label)
                for at, cell in enumerate(cells)
            ]
            labels.append(int(numbers.pop(at_label)))
            rows.append(numbers)
            if len(rows) > MAX_SAMPLES:
                raise DataError(f"{where}: more than {MAX_SAMPLES} samples.")
    except csv.Error as error:
        raise DataError(f"{path.name}, line {lines.line_num}: {error}.") from error
    x = np.array(rows, dtype=np.float32).reshape(len(rows), len(header) - 1)
    return x, _classes(path.name, np.array(labels, dtype=np.int64))


def csv_columns(path: Path) -> tuple[str, ...]:
    """Names of the features of a .csv file, in order, without the label's."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = [name.strip() for name in next(csv.reader(file), [])]
    at_label = header.index("label") if "label" in header else len(header) - 1
    return tuple(name for at, name in enumerate(header) if at != at_label)


def _number(cell: str, where: str, column: str, at: int, *, whole: bool) -> float:
    expected = f"a class from 0 to {MAX_CLASSES - 1}" if whole else "a finite number"
    error = DataError(
        f"{where}, column {at + 1} ({column}): {cell[:40]!r}, but expected {expected}."
    )
    try:
        number = float(cell)
    except ValueError:
        raise error from None
    if not abs(number) <= FLOAT32_MAX:
        raise error
    if whole and not (number.is_integer() and 0 <= number < MAX_CLASSES):
        raise error
    return number


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_npz(path: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Arrays `x` (n, ...) of numbers and `y` (n,) of classes."""
    arrays = npz_arrays(path)
    for name in ("x", "y"):
        if name not in arrays:
            raise DataError(
                f"{path.name} has the arrays {sorted(arrays)[:5]}, but expected x and y."
            )
    x, y = arrays["x"], arrays["y"]
    if x.dtype.kind not in "fiub" or x.ndim < 2 or x.ndim > 4 or 0 in x.shape[1:]:
        raise DataError(
            f"{path.name}: x is {x.dtype} of shape {x.shape}, but expected numbers of shape "
            "(samples, features), (samples, height, width) or (samples, height, width, channels)."
        )
    if y.dtype.kind not in "iu" or y.shape != (len(x),):
        raise DataError(
            f"{path.name}: y is {y.dtype} of shape {y.shape}, but expected whole numbers of "
            f"shape ({len(x)},), one class for each of x."
        )
    if len(x) > MAX_SAMPLES:
        raise DataError(f"{path.name}: {len(x)} samples, but at most {MAX_SAMPLES}.")
    with np.errstate(over="ignore"):
        as_float = np.ascontiguousarray(x, dtype=np.float32)
    bad = np.argwhere(~np.isfinite(as_float))
    if len(bad):
        place = tuple(bad[0].tolist())
        raise DataError(f"{path.name}: x{list(place)} is {x[place]}, but expected a finite number.")
    return as_float, _classes(path.name, y.astype(np.int64))


def npz_arrays(path: Path, only: Sequence[str] | None = None) -> dict[str, Array]:
    """The plain arrays of an NPZ file; nothing is unpickled. DataError."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise DataError(f"{path} has {path.stat().st_size} bytes, but at most {MAX_FILE_BYTES}.")
    try:
        with zipfile.ZipFile(path) as archive:  # before unpacking: a bomb announces its size
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_FILE_BYTES:
            raise DataError(f"{path.name} unpacks to {size} bytes, but at most {MAX_FILE_BYTES}.")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if only is None or name in only}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path.name} is not an NPZ file of plain arrays: {error}.") from error


def _classes(name: str, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    if not len(labels):
        raise DataError(f"{name} has no samples.")
    bad = np.flatnonzero((labels < 0) | (labels >= MAX_CLASSES))
    if len(bad):
        raise DataError(
            f"{name}: label {labels[bad[0]]} of sample {bad[0]}, but expected 0 to "
            f"{MAX_CLASSES - 1}."
        )
    absent = np.setdiff1d(np.arange(labels.max() + 1), labels)
    if len(absent) or labels.max() < 1:
        missing = absent[0] if len(absent) else 1
        raise DataError(
            f"{name}: no sample of class {missing}, but expected classes 0, 1, 2, ... without gaps."
        )
    return labels.astype(np.int32)


def read_bytes(path: Path) -> bytes:
    """A file of at most MAX_FILE_BYTES; DataError."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(f"{path} has {size} bytes, but at most {MAX_FILE_BYTES}.")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def describe(path: Path) -> dict[str, Any]:
    """What a configuration says of one's own file: see `training.specs.OwnData`."""
    x, y = read_table(path)
    return {
        "file": path.name,
        "sha256": hashlib.sha256(read_bytes(path)).hexdigest(),
        "samples": len(x),
        "classes": int(y.max()) + 1,
        "input_shape": list(x.shape[1:]),
    }
