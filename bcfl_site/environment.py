"""Reading the environment: typed, and with a clear error for a value that cannot be used."""

import hashlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

# sun_path holds 104 bytes on macOS and 108 on Linux, the closing zero included.
UNIX_PATH_LIMIT = 100


def text(name: str, default: str = "") -> str:
    """The variable's value; an empty one counts as unset."""
    return os.environ.get(name) or default


def number(name: str, default: float) -> float:
    value = os.environ.get(name)
    if not value:
        return default
    try:
        return float(value)
    except ValueError:
        raise ImproperlyConfigured(
            f"{name}={value} is not a number; unset means {default}"
        ) from None


def integer(name: str, default: int) -> int:
    value = os.environ.get(name)
    if not value:
        return default
    try:
        return int(value)
    except ValueError:
        raise ImproperlyConfigured(
            f"{name}={value} is not a whole number; unset means {default}"
        ) from None


def flag(name: str, default: bool = False) -> bool:
    value = os.environ.get(name, "").lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name}={value} is neither yes nor no; write 1 or 0")


def mail_settings(url: str) -> dict[str, Any]:
    """Django's mail settings for ``smtp://user:password@host:587``, ``smtps://…:465``,
    ``file:///folder`` or ``console:``. smtp speaks STARTTLS; ``?tls=0`` turns it off.

    Raises ImproperlyConfigured.
    """
    backends = "django.core.mail.backends"
    parts = urlsplit(url)
    if parts.scheme == "console":
        return {"EMAIL_BACKEND": f"{backends}.console.EmailBackend"}
    if parts.scheme == "file" and parts.path:
        return {
            "EMAIL_BACKEND": f"{backends}.filebased.EmailBackend",
            "EMAIL_FILE_PATH": unquote(parts.path),
        }
    if parts.scheme in ("smtp", "smtps") and parts.hostname:
        secure = parts.scheme == "smtps"
        return {
            "EMAIL_BACKEND": f"{backends}.smtp.EmailBackend",
            "EMAIL_HOST": parts.hostname,
            "EMAIL_PORT": parts.port or (465 if secure else 587),
            "EMAIL_HOST_USER": unquote(parts.username or ""),
            "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
            "EMAIL_USE_SSL": secure,
            "EMAIL_USE_TLS": not secure and "tls=0" not in parts.query,
        }
    raise ImproperlyConfigured(
        "EMAIL_URL is none of smtp://user:password@host:587, smtps://…, file:///folder, console:"
    )


def secret_from_file(path: Path) -> str:
    """A secret kept in a file of mode 600, made on first use; safe when two processes race.

    Raises ImproperlyConfigured when the file cannot be made or read.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            draft = path.with_name(f"{path.name}.{os.getpid()}")
            with os.fdopen(
                os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
            ) as file:
                file.write(secrets.token_urlsafe(48))
            try:
                os.link(draft, path)  # fails for the one who comes second
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"the secret {path} cannot be kept ({error.strerror}); make the folder writable "
            "or choose another with BCFL_HOME=…"
        ) from error


def unix_socket_path(home: Path) -> Path:
    """Where the embedded Redis listens: in ``home``, or in a private folder of the temp dir
    when the path in ``home`` would be too long for the system."""
    path = home / "redis.sock"
    if len(os.fsencode(path)) <= UNIX_PATH_LIMIT:
        return path
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"bcfl-{os.getuid()}-{digest}" / "redis.sock"
