"""Webhooks: signed JSON to an address that a person named, tried again until it is taken.

``X-BCFL-Signature: t=<unix seconds>,v1=<hex>``, where v1 is HMAC-SHA256 with the webhook's secret
over ``<t>.<body>``: the receiver recomputes it and refuses an old t.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import socket
import time
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from sessions_app import audit
from sessions_app.access import require
from sessions_app.errors import InvalidWebhook
from sessions_app.models import User, Webhook, WebhookDelivery
from sessions_app.services.outreach import EVENTS

MOST = 10  # webhooks of one person
TIMEOUT = 10.0  # seconds
# Pauses after each failed try: about half a day in all.
PAUSES = tuple(timedelta(seconds=s) for s in (10, 60, 300, 1_800, 7_200, 36_000))
KEPT = 100  # deliveries that are kept of a webhook


def webhook_create(*, user: User, url: str, events: Sequence[str]) -> Webhook:
    """Raises InvalidWebhook."""
    require(user, "webhook.create")
    unknown = [event for event in events if event not in EVENTS]
    if unknown or not events:
        known = ", ".join(EVENTS)
        raise InvalidWebhook(f"Choose at least one event of {known}.", field="events")
    addresses_checked(url)
    if user.webhooks.count() >= MOST:
        raise InvalidWebhook(f"You have {MOST} webhooks, the most there may be. Remove one first.")
    with transaction.atomic():
        hook = Webhook.objects.create(user=user, url=url, events=list(events))
        audit.record(user, "webhook.create", hook, {"url": url, "events": list(events)})
    return hook


def webhook_delete(*, webhook: Webhook, by: User) -> None:
    require(by, "webhook.change", webhook)
    with transaction.atomic():
        audit.record(by, "webhook.change", webhook, {"url": webhook.url, "removed": True})
        webhook.delete()


def webhook_test(*, webhook: Webhook, by: User) -> WebhookDelivery:
    """Queue a delivery of the event ``ping``."""
    require(by, "webhook.change", webhook)
    now = timezone.now()
    return WebhookDelivery.objects.create(
        webhook=webhook, key=f"ping:{now.timestamp()}", event="ping", data={}, next_at=now
    )


def addresses_checked(url: str) -> list[str]:
    """The addresses of the URL's host. Raises InvalidWebhook for one that is not public, because
    the console must not be sent to look into its own network."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username:
        raise InvalidWebhook(f"{url} is not like https://example.org/hook.", field="url")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise InvalidWebhook(
            f"{parts.hostname} cannot be found ({error}). Check the address.", field="url"
        ) from error
    addresses = sorted({str(row[4][0]) for row in found})
    if not settings.WEBHOOK_PRIVATE_ADDRESSES:
        for address in addresses:
            if not ipaddress.ip_address(address.partition("%")[0]).is_global:
                raise InvalidWebhook(
                    f"{parts.hostname} is {address}, which is not a public address. An admin can "
                    "allow such addresses with WEBHOOK_PRIVATE_ADDRESSES=1.",
                    field="url",
                )
    return addresses


def signature(secret: str, moment: int, body: bytes) -> str:
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256)
    return f"t={moment},v1={digest.hexdigest()}"


def deliveries_due() -> list[int]:
    """Rows whose time has come; they are leased, so that two workers do not both send one."""
    now = timezone.now()
    waiting = WebhookDelivery.objects.filter(
        status=WebhookDelivery.Status.WAITING, next_at__lte=now
    )
    due = []
    for pk in waiting.order_by("next_at").values_list("pk", flat=True)[:100]:
        if waiting.filter(pk=pk).update(next_at=now + timedelta(seconds=60)):
            due.append(pk)
    return due


def deliver(pk: int) -> WebhookDelivery:
    """One try. Whatever goes wrong stands in the row."""
    row = WebhookDelivery.objects.select_related("webhook").get(pk=pk)
    body = json.dumps(
        {
            "id": str(row.uuid),
            "event": row.event,
            "created_at": row.created_at.isoformat(timespec="seconds"),
            "data": row.data,
        },
        separators=(",", ":"),
    ).encode()
    row.attempts += 1
    row.error, row.response_status = "", None
    try:
        row.response_status = _post(row, body)
        if not 200 <= row.response_status < 300:
            row.error = f"The receiver answered {row.response_status}."
    except (httpx.HTTPError, InvalidWebhook) as error:
        row.error = (str(error) or type(error).__name__)[:300]
    if not row.error:
        row.status, row.finished_at, row.next_at = "delivered", timezone.now(), None
    elif row.attempts > len(PAUSES):
        row.status, row.finished_at, row.next_at = "failed", timezone.now(), None
    else:
        row.next_at = timezone.now() + PAUSES[row.attempts - 1]
    row.save()
    old = row.webhook.deliveries.order_by("-pk").values_list("pk", flat=True)[KEPT:]
    WebhookDelivery.objects.filter(pk__in=list(old)).delete()
    return row


def _post(row: WebhookDelivery, body: bytes) -> int:
    """To an address that was just checked, not to a name that may have moved since."""
    hook = row.webhook
    if not hook.secret:
        raise InvalidWebhook(
            "The secret cannot be read: SECRET_KEY has changed. Set the webhook again."
        )
    parts = urlsplit(hook.url)
    address = addresses_checked(hook.url)[0]
    host = f"[{address}]" if ":" in address else address
    port = f":{parts.port}" if parts.port else ""
    target = parts._replace(netloc=f"{host}{port}").geturl()
    headers = {
        "Host": parts.netloc,
        "Content-Type": "application/json",
        "User-Agent": "BCFL-Console",
        "X-BCFL-Event": row.event,
        "X-BCFL-Delivery": str(row.uuid),
        "X-BCFL-Signature": signature(hook.secret, int(time.time()), body),
    }
    extensions = {"sni_hostname": parts.hostname} if parts.scheme == "https" else {}
    with httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client:
        answer = client.post(target, content=body, headers=headers, extensions=extensions)
    return answer.status_code
