"""How news reaches the caller: notifications, and webhooks with what became of each delivery."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Field, Schema, Status

from sessions_app.access import require
from sessions_app.api.base import (
    Key,
    Page,
    PageIn,
    area,
    caller,
    not_found,
    page_by_key,
    read_key,
    user_of,
)
from sessions_app.models import ApiToken, Notification, User, Webhook, WebhookDelivery
from sessions_app.services import notifications, webhooks
from sessions_app.services.outreach import EVENTS, ways_of

router = area("Webhooks")
news = area("Notifications")
DELIVERIES = 50
Way = Literal["app", "mail"]


class WebhookIn(Schema):
    url: str = Field(min_length=1, max_length=500, description="Of a public host, http or https.")
    events: list[str] = Field(
        min_length=1, max_length=20, description=f"Of {', '.join(EVENTS)}.", examples=[["fault"]]
    )


class DeliveryOut(Schema):
    uuid: UUID
    event: str
    status: Literal["waiting", "delivered", "failed"]
    attempts: int
    next_at: datetime | None
    response_status: int | None
    error: str
    created_at: datetime
    finished_at: datetime | None


class WebhookOut(Schema):
    id: int
    url: str
    events: list[str]
    active: bool
    created_at: datetime


class WebhookDetail(WebhookOut):
    secret: str = Field(
        description="Signs each delivery: X-BCFL-Signature. Empty for a token that may only read."
    )
    deliveries: list[DeliveryOut] = Field(description="The newest 50.")


class NewsOut(Schema):
    id: int
    event: str
    title: str
    text: str
    task: int | None
    at: datetime
    read_at: datetime | None


class ReadOut(Schema):
    read: int = Field(description="How many were unread.")


class NewsChoiceOut(Schema):
    event: str
    what: str
    ways: list[Way]


class NewsChoicesIn(Schema):
    """Event → ways. An event that is left out keeps its ways."""

    ways: dict[str, list[Way]] = Field(examples=[{"round.finalized": ["app"]}])


# --- webhooks -------------------------------------------------------------------------------------


def _find(webhook_id: int, user: User) -> Webhook:
    found = Webhook.objects.filter(pk=webhook_id).first()
    if found is None:
        raise not_found(f"There is no webhook {webhook_id}.")
    require(user, "webhook.change", found)
    return found


@router.get("", response=list[WebhookOut], summary="My webhooks")
def webhooks_list(request: HttpRequest) -> list[Webhook]:
    """At most 10."""
    return list(user_of(request).webhooks.all())


@router.post("", response={201: WebhookDetail}, summary="Add a webhook")
def webhooks_create(request: HttpRequest, response: HttpResponse, body: WebhookIn) -> Any:
    """Each event is posted as JSON, signed, and tried again for half a day."""
    made = webhooks.webhook_create(user=user_of(request), url=body.url, events=body.events)
    response["Location"] = f"/api/v1/webhooks/{made.pk}"
    return Status(201, _detail(request, made))


@router.get("/{webhook_id}", response=WebhookDetail, summary="A webhook and its deliveries")
def webhooks_read(request: HttpRequest, webhook_id: Key) -> dict[str, Any]:
    return _detail(request, _find(webhook_id, user_of(request)))


@router.post("/{webhook_id}/test", response={201: DeliveryOut}, summary="Send a ping")
def webhooks_test(request: HttpRequest, webhook_id: Key) -> Status[WebhookDelivery]:
    """Queued; read the webhook to see what became of it."""
    user = user_of(request)
    return Status(201, webhooks.webhook_test(webhook=_find(webhook_id, user), by=user))


@router.delete("/{webhook_id}", response={204: None}, summary="Remove a webhook")
def webhooks_delete(request: HttpRequest, webhook_id: Key) -> Status[None]:
    """With the deliveries that wait."""
    user = user_of(request)
    webhooks.webhook_delete(webhook=_find(webhook_id, user), by=user)
    return Status(204, None)


def _detail(request: HttpRequest, hook: Webhook) -> dict[str, Any]:
    token = caller(request).token
    writes = token is None or token.scope == ApiToken.Scope.WRITE
    return {
        "id": hook.pk,
        "url": hook.url,
        "events": hook.events,
        "active": hook.active,
        "created_at": hook.created_at,
        "secret": hook.secret if writes else "",
        "deliveries": list(hook.deliveries.all()[:DELIVERIES]),
    }


# --- notifications --------------------------------------------------------------------------------


@news.get("", response=Page[NewsOut], summary="My notifications")
def notifications_list(request: HttpRequest, page: PageIn, unread: bool = False) -> dict[str, Any]:
    """The latest made first; news of the same kind replace one another."""
    user = user_of(request)
    require(user, "notification.read")
    rows = Notification.objects.filter(user=user).order_by("-pk")
    if unread:
        rows = rows.filter(read_at=None)
    before = read_key(page.cursor)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = page_by_key(rows[: page.limit + 1], page.limit, lambda row: row.pk)
    return {**found, "items": [_news(row) for row in found["items"]]}


@news.post("/read", response=ReadOut, summary="Mark all as read")
def notifications_read(request: HttpRequest) -> dict[str, Any]:
    return {"read": notifications.notifications_read(user=user_of(request))}


@news.get("/choices", response=list[NewsChoiceOut], summary="What I am told, and how")
def notification_choices(request: HttpRequest) -> list[dict[str, Any]]:
    return _choices(user_of(request))


@news.put("/choices", response=list[NewsChoiceOut], summary="Choose what I am told, and how")
def notification_choose(request: HttpRequest, body: NewsChoicesIn) -> list[dict[str, Any]]:
    """What has come already stays."""
    user = user_of(request)
    notifications.notifications_choose(user=user, ways=body.ways)
    return _choices(user)


def _choices(user: User) -> list[dict[str, Any]]:
    return [
        {"event": name, "what": what, "ways": list(ways_of(user, name))}
        for name, (what, _) in EVENTS.items()
    ]


def _news(row: Notification) -> dict[str, Any]:
    return {
        "id": row.pk,
        "event": row.event,
        "title": row.title,
        "text": row.text,
        "task": row.task_id,
        "at": row.at,
        "read_at": row.read_at,
    }
