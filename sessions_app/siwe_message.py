"""The text of EIP-4361 (Sign-In with Ethereum), built and parsed by its ABNF.

https://eips.ethereum.org/EIPS/eip-4361. Pure: no database, no network, no clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from eth_utils.address import is_checksum_formatted_address, to_checksum_address

from sessions_app.errors import SignInRefused

# RFC 3986. The authority is checked for its characters and shape, not resolved.
_UNRESERVED = r"A-Za-z0-9\-._~"
_SUB_DELIMS = r"!$&'()*+,;="
_GEN_DELIMS = r":/?#\[\]@"
_PCT = r"%[0-9A-Fa-f]{2}"
_PCHAR = rf"(?:[{_UNRESERVED}{_SUB_DELIMS}:@]|{_PCT})"
_HOST = rf"(?:\[[0-9A-Fa-f:.]+\]|(?:[{_UNRESERVED}{_SUB_DELIMS}]|{_PCT})+)"
_AUTHORITY = rf"(?:(?:[{_UNRESERVED}{_SUB_DELIMS}:]|{_PCT})*@)?{_HOST}(?::[0-9]*)?"
_SCHEME = r"[A-Za-z][A-Za-z0-9+\-.]*"
_URI = rf"{_SCHEME}:(?:[{_UNRESERVED}{_SUB_DELIMS}{_GEN_DELIMS}]|{_PCT})+"
_DATE_TIME = (  # RFC 3339
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_STATEMENT = rf"[{_UNRESERVED}{_SUB_DELIMS}{_GEN_DELIMS} ]+"
_MESSAGE = re.compile(
    rf"(?:(?P<scheme>{_SCHEME})://)?(?P<domain>{_AUTHORITY})"
    r" wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9A-Fa-f]{40})\n"
    r"\n"
    rf"(?:(?P<statement>{_STATEMENT})\n)?"
    r"\n"
    rf"URI: (?P<uri>{_URI})\n"
    r"Version: (?P<version>1)\n"
    r"Chain ID: (?P<chain_id>[0-9]{1,18})\n"
    r"Nonce: (?P<nonce>[A-Za-z0-9]{8,128})\n"
    rf"Issued At: (?P<issued_at>{_DATE_TIME})"
    rf"(?:\nExpiration Time: (?P<expiration_time>{_DATE_TIME}))?"
    rf"(?:\nNot Before: (?P<not_before>{_DATE_TIME}))?"
    rf"(?:\nRequest ID: (?P<request_id>{_PCHAR}*))?"
    rf"(?P<has_resources>\nResources:(?P<resources>(?:\n- {_URI})*))?"
)
MAX_LENGTH = 4_096  # characters; ours are about 350


@dataclass(frozen=True)
class SiweMessage:
    """One message. Times keep the time zone they were written with.

    `address` is in checksum form (EIP-55). `resources` are URIs.
    """

    domain: str
    address: str
    uri: str
    chain_id: int
    nonce: str
    issued_at: datetime
    scheme: str = ""
    statement: str = ""
    expiration_time: datetime | None = None
    not_before: datetime | None = None
    request_id: str | None = None
    resources: tuple[str, ...] | None = None

    def __str__(self) -> str:
        """The text that is signed. Raises SignInRefused when a field breaks the ABNF."""
        scheme = f"{self.scheme}://" if self.scheme else ""
        lines = [
            f"{scheme}{self.domain} wants you to sign in with your Ethereum account:",
            self.address,
            "",
            *([self.statement] if self.statement else []),
            "",
            f"URI: {self.uri}",
            "Version: 1",
            f"Chain ID: {self.chain_id}",
            f"Nonce: {self.nonce}",
            f"Issued At: {_written(self.issued_at)}",
        ]
        if self.expiration_time is not None:
            lines.append(f"Expiration Time: {_written(self.expiration_time)}")
        if self.not_before is not None:
            lines.append(f"Not Before: {_written(self.not_before)}")
        if self.request_id is not None:
            lines.append(f"Request ID: {self.request_id}")
        if self.resources is not None:
            lines += ["Resources:", *(f"- {uri}" for uri in self.resources)]
        text = "\n".join(lines)
        if parse(text) != self:
            raise SignInRefused(f"These fields do not make a message of EIP-4361: {text!r}")
        return text


def parse(text: str) -> SiweMessage:
    """Read a message strictly by the ABNF. Raises SignInRefused, which names the first line
    that does not fit."""
    if len(text) > MAX_LENGTH:
        raise SignInRefused(
            f"The message has {len(text)} characters; the limit is {MAX_LENGTH}. Ask for a new one."
        )
    found = _MESSAGE.fullmatch(text)
    if found is None:
        raise SignInRefused(_why_not(text))
    address = found["address"]
    if not is_checksum_formatted_address(address) or to_checksum_address(address) != address:
        raise SignInRefused(
            f"{address} is not in checksum form (EIP-55); write it as "
            f"{to_checksum_address(address)}."
        )
    resources = None
    if found["has_resources"] is not None:
        resources = tuple(line[2:] for line in (found["resources"] or "").split("\n")[1:])
    return SiweMessage(
        scheme=found["scheme"] or "",
        domain=found["domain"],
        address=address,
        statement=found["statement"] or "",
        uri=found["uri"],
        chain_id=int(found["chain_id"]),
        nonce=found["nonce"],
        issued_at=_time("Issued At", found["issued_at"]),
        expiration_time=_time_or_none("Expiration Time", found["expiration_time"]),
        not_before=_time_or_none("Not Before", found["not_before"]),
        request_id=found["request_id"],
        resources=resources,
    )


def _written(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _time_or_none(name: str, text: str | None) -> datetime | None:
    return None if text is None else _time(name, text)


def _time(name: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise SignInRefused(f"“{name}: {text}” is not a time: {error}.") from error


def _why_not(text: str) -> str:
    """The first line that is missing or malformed, for a person who builds such messages."""
    wanted = ("URI: ", "Version: ", "Chain ID: ", "Nonce: ", "Issued At: ")
    head, *rest = text.split("\n")
    if not head.endswith(" wants you to sign in with your Ethereum account:"):
        return "Its first line is not “DOMAIN wants you to sign in with your Ethereum account:”."
    if not rest or not re.fullmatch(r"0x[0-9A-Fa-f]{40}", rest[0]):
        return "Its second line is not an Ethereum address (0x and 40 hex digits)."
    for prefix in wanted:
        lines = [line for line in rest if line.startswith(prefix)]
        if len(lines) != 1:
            return f"It needs exactly one line “{prefix}…”, it has {len(lines)} (EIP-4361)."
    if "Version: 1" not in rest:
        return "Its version is not 1, the only one that EIP-4361 knows."
    return (
        "It does not follow the order or the characters of EIP-4361's grammar. Sign the message "
        "that the console gives, unchanged."
    )
