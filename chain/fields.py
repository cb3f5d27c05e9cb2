"""Model fields for amounts and hashes of an Ethereum chain."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

UINT256_MAX = 2**256 - 1
WEI_DIGITS = 78  # len(str(2**256 - 1))


class WeiField(models.CharField):
    """A whole number from 0 to 2**256 - 1 (wei), exact on every database.

    SQLite has no integers beyond 64 bits and turns larger decimals into floats, so the value is
    stored as text, padded with zeros to 78 digits: text order is number order.
    """

    description = "amount in wei (0 to 2**256 - 1)"
    # What type checkers see; django-stubs reads these two names.
    _pyi_private_set_type: int
    _pyi_private_get_type: int  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = WEI_DIGITS
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("max_length", None)
        return name, path, list(args), kwargs

    def from_db_value(self, value: str | None, *_: Any) -> int | None:
        return None if value is None else int(value)

    def to_python(self, value: Any) -> int | None:
        if value is None or isinstance(value, int):
            return value
        try:
            return int(value)
        except (TypeError, ValueError) as error:
            raise ValidationError(f"{value!r} is not a whole number of wei.") from error

    def get_prep_value(self, value: Any) -> str | None:
        number = self.to_python(value)
        if number is None:
            return None
        if not 0 <= number <= UINT256_MAX:
            raise ValidationError(f"{number} wei is outside 0 to 2**256 - 1.")
        return str(number).zfill(WEI_DIGITS)

    def run_validators(self, value: Any) -> None:
        """Text length does not apply to the Python value, which is an int."""

    def value_to_string(self, obj: models.Model) -> str:
        return str(self.value_from_object(obj))


class HashField(models.CharField):
    """A 32-byte hash as 0x and 64 lowercase hex digits; empty when not known yet."""

    description = "32-byte hash"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = 66
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("max_length", None)
        return name, path, list(args), kwargs


class AddressField(models.CharField):
    """A 20-byte address in checksum form (EIP-55); empty when not known yet."""

    description = "Ethereum address"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = 42
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("max_length", None)
        return name, path, list(args), kwargs
