"""Private data in the wizard: its columns read from an example, its held-out samples stored.

The rows of an example are dropped at once. Held-out samples are stored: members and evaluators
may read them, as the agreement on a result needs everyone to measure on the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from django.core.files.uploadedfile import UploadedFile

from sessions_app.access import require
from sessions_app.errors import InvalidTask
from sessions_app.forms.columns import columns_read, names_read, schema_fields
from sessions_app.forms.values import Values
from sessions_app.models import TaskDraft, User
from training import private
from training.blobs import BlobStore
from training.canonical import keccak_hex
from training.errors import TrainingError
from training.schema import DataSchema

MOST_BYTES = 20_000_000  # of a file that is read here
FILE = "private_file"  # the form's field for it; never among the values of a draft
_NO_HASH, _NO_SAMPLES = "0x" + "0" * 64, 2  # until the samples are there


def columns_from(*, draft: TaskDraft, by: User, upload: UploadedFile | None) -> Values:
    """Columns, label and classes as the file has them; nothing of the file is kept.

    Raises NotAllowed, and InvalidTask with the line and column of what cannot be read.
    """
    require(by, "draft.change", draft)
    with _file(upload) as path, _told("private__columns"):
        schema, _ = private.describe(path, _label(draft, path))
    found = schema_fields(schema)
    return {name: found[name] for name in found if name != "private__held_out"}


def held_out_from(*, draft: TaskDraft, by: User, upload: UploadedFile | None) -> Values:
    """Store the file's samples as the held-out ones; without columns, it tells them too.

    Raises NotAllowed, and InvalidTask with the line and column of what does not fit.
    """
    require(by, "draft.change", draft)
    with _file(upload) as path, _told("private__held_out"):
        if str(draft.values.get("private__columns", "")).strip():
            schema, blob = _read(draft, path)
        else:
            schema, blob = private.describe(path, _label(draft, path))
        BlobStore.default().put(blob)
    return dict(schema_fields(schema, file=path.name))


def _read(draft: TaskDraft, path: Path) -> tuple[DataSchema, bytes]:
    """The samples, by the columns that stand in the draft."""
    try:
        features = columns_read(str(draft.values.get("private__columns", "")))
    except ValueError as error:
        raise InvalidTask(
            f"The columns cannot be read: {error} Settle that first.", field="private__columns"
        ) from None
    label = str(draft.values.get("private__label", "")).strip()
    classes = names_read(str(draft.values.get("private__classes", "")))
    schema = DataSchema(tuple(features), label, tuple(classes), _NO_HASH, _NO_SAMPLES)
    table = private.read(path, schema)
    blob = private.evaluation_blob(table)
    return replace(schema, evaluation=keccak_hex(blob), evaluation_samples=len(table.y)), blob


def _label(draft: TaskDraft, path: Path) -> str:
    label = str(draft.values.get("private__label", "")).strip()
    if not label:
        raise InvalidTask(
            f"Say first which column of {path.name} is the label, such as diagnosis.",
            field="private__label",
        )
    return label


@contextmanager
def _file(upload: UploadedFile | None) -> Iterator[Path]:
    """The upload as a file under its own name, gone again at the end."""
    if upload is None or not upload.name:
        raise InvalidTask("Choose a CSV file first.", field="private__held_out")
    name = Path(upload.name).name
    if Path(name).suffix.lower() != ".csv":
        raise InvalidTask(
            f"{name} is no .csv file. Save it as CSV in UTF-8, with the column names in its first "
            "line.",
            field="private__held_out",
        )
    if upload.size is None or upload.size > MOST_BYTES:
        raise InvalidTask(
            f"{name} has {upload.size or 0:,} bytes, and at most {MOST_BYTES:,} are read here. "
            "Some hundreds of rows do.",
            field="private__held_out",
        )
    with TemporaryDirectory(prefix="bcfl-") as folder:
        path = Path(folder) / f"{Path(name).stem[:100]}.csv"
        with path.open("wb") as file:
            for chunk in upload.chunks():
                file.write(chunk)
        yield path


@contextmanager
def _told(field: str) -> Iterator[None]:
    try:
        yield
    except TrainingError as error:
        raise InvalidTask(str(error), field=field) from error
