"""Text that the database never holds in clear, for secrets that must be used and not only checked.

Fernet (AES-128-CBC with HMAC-SHA256) under a key made of ``SECRET_KEY``: a copy of the database
alone gives none of them away. Whoever has both can read them, as the signing process itself must.
"""

from __future__ import annotations

import base64
import hmac
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db import models


def _box() -> Fernet:
    key = hmac.digest(settings.SECRET_KEY.encode(), b"sealed fields", "sha256")
    return Fernet(base64.urlsafe_b64encode(key))


def seal(text: str) -> str:
    return _box().encrypt(text.encode()).decode()


class SealedField(models.CharField):
    """Reads as the text, or as ``""`` when ``SECRET_KEY`` is another than it was written with."""

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        if not value:
            return value
        try:
            return _box().decrypt(value.encode()).decode()
        except InvalidToken:
            return ""

    def get_prep_value(self, value: Any) -> str | None:
        return seal(str(value)) if value else value
