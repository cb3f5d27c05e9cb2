"""Content-addressed store of blobs: a blob's name is the keccak256 of its bytes."""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from functools import lru_cache
from pathlib import Path

from training.canonical import check_hash, keccak_hex
from training.errors import BlobCorrupt, BlobMissing, TrainingError
from training.weights import Float32, decode

_MAP_FROM_BYTES = 1 << 20
_REMEMBERED = 4096  # blobs
_SETTLED_NS = 2_000_000_000  # a file changed later than that may change again unnoticed


class BlobStore:
    """Blobs below one folder, safe for many processes at once.

    A blob appears under its name by one rename, so a reader sees all of it or nothing, and two
    writers of the same blob write the same bytes.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        # What `open` has hashed: ref -> inode, size and times of change. A file that still has
        # all of these has the same bytes (a change sets ctime, which nobody can set back).
        self._verified: dict[str, tuple[int, ...]] = {}

    @classmethod
    def default(cls) -> BlobStore:
        """The store at the environment's BLOB_ROOT, one in this process."""
        root = os.environ.get("BLOB_ROOT", "")
        if not root:
            raise TrainingError(
                "BLOB_ROOT is not set. Start the worker with it, or pass BlobStore(folder)."
            )
        return _store(root)

    def path(self, ref: str) -> Path:
        """Where `ref` is or would be; SpecError unless it is a hash (so never outside root)."""
        check_hash("ref", ref)
        return self.root / ref[2:4] / f"{ref[4:]}.safetensors"

    def exists(self, ref: str) -> bool:
        return self.path(ref).is_file()

    def put(self, data: bytes) -> str:
        """Stores `data` and returns its name. Storing it again costs one comparison."""
        ref = keccak_hex(data)
        path = self.path(ref)
        try:
            if path.read_bytes() == data:
                return ref
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return ref

    def get(self, ref: str) -> bytes:
        """The bytes, checked against their name; BlobMissing or BlobCorrupt."""
        try:
            data = self.path(ref).read_bytes()
        except FileNotFoundError as error:
            raise self._missing(ref) from error
        self._verify(ref, data)
        return data

    def open(self, ref: str) -> mmap.mmap | bytes:
        """The bytes, mapped read-only unless they are few, and checked against their name.

        A map holds a file descriptor until the last view into it goes.
        """
        try:
            with self.path(ref).open("rb") as file:
                data: mmap.mmap | bytes
                found = os.fstat(file.fileno())
                if found.st_size < _MAP_FROM_BYTES:
                    data = file.read()
                else:
                    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise self._missing(ref) from error
        state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if self._verified.get(ref) == state:
            return data
        self._verify(ref, data)
        if time.time_ns() - found.st_ctime_ns > _SETTLED_NS:
            if len(self._verified) >= _REMEMBERED:
                self._verified.clear()
            self._verified[ref] = state
        return data

    def open_weights(self, ref: str) -> dict[str, Float32]:
        """The tensors of a weights blob as read-only views into a memory map."""
        return decode(self.open(ref))

    def size(self, ref: str) -> int:
        """Bytes on disk; BlobMissing."""
        try:
            return self.path(ref).stat().st_size
        except FileNotFoundError as error:
            raise self._missing(ref) from error

    def _missing(self, ref: str) -> BlobMissing:
        return BlobMissing(
            f"no blob {ref} in {self.root}. Check that every worker has the same BLOB_ROOT."
        )

    def _verify(self, ref: str, data: bytes | mmap.mmap) -> None:
        actual = keccak_hex(data)
        if actual != ref:
            raise BlobCorrupt(
                f"blob {ref} hashes to {actual}. Delete {self.path(ref)}; it can be made again."
            )


@lru_cache(maxsize=4)
def _store(root: str) -> BlobStore:
    return BlobStore(root)
