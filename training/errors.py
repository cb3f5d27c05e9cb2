"""What can go wrong in training. Bad input and a broken store never share a class."""

from __future__ import annotations


class TrainingError(Exception):
    """Everything this package raises on purpose."""


class SpecError(TrainingError):
    """A task configuration that cannot be run.

    `field` is a dotted path ("local.batch_size"), `value` what was given, `limit` what is
    allowed, `next_step` what to do about it. The message says all four.
    """

    def __init__(self, field: str, value: object, limit: str, next_step: str) -> None:
        self.field = field
        self.value = value
        self.limit = limit
        self.next_step = next_step
        super().__init__(f"{field} is {_shown(value)}, but must be {limit}. {next_step}")

    def __reduce__(self) -> tuple[type[SpecError], tuple[str, object, str, str]]:
        return (type(self), (self.field, self.value, self.limit, self.next_step))


class DataError(TrainingError):
    """A data set, or a share of one, that cannot be used as asked."""


class InputRefused(TrainingError):
    """Rows that a model cannot be asked about; the message names the row and the number."""


class BlobMissing(TrainingError):
    """No blob of this hash in the store."""


class BlobCorrupt(TrainingError):
    """A blob whose bytes are not what its name (its hash) or its format promises."""


class UpdateRejected(TrainingError):
    """A client update that must not be averaged.

    `reason` is one of `REASONS`, short enough for a page or an evidence record; the message
    says the value and the limit.
    """

    REASONS = (
        "missing",  # no blob of that hash
        "hash",  # the bytes do not hash to what the chain says
        "size",  # more bytes than the model can need
        "format",  # not canonical safetensors
        "keys",  # other tensors than the model has
        "dtype",  # not float32
        "shape",  # a tensor of another shape
        "finite",  # NaN or infinity
        "norm",  # too far from the global model
        "samples",  # zero, negative or impossibly many samples
        "duplicate",  # the participant already has an update in this round
        "stranger",  # not a member of the task
    )

    def __init__(self, reason: str, message: str) -> None:
        if reason not in self.REASONS:
            raise ValueError(f"unknown reason {reason!r}; known: {', '.join(self.REASONS)}")
        self.reason = reason
        self.message = message
        super().__init__(message)

    def __reduce__(self) -> tuple[type[UpdateRejected], tuple[str, str]]:
        return (type(self), (self.reason, self.message))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
