"""What all pages share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from sessions_app.access import ACTIONS, require_role
from sessions_app.models import Notification, Task, User
from sessions_app.selectors.chrome import chrome
from sessions_app.selectors.task.data import task_get

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def viewer(request: HttpRequest) -> User:
    """The signed-in person; use it behind login_required."""
    return cast(User, request.user)


def page(
    request: HttpRequest,
    template: str,
    context: dict[str, Any] | None = None,
    *,
    nav: str = "",
    status: int = 200,
) -> HttpResponse:
    """A full page inside the frame. ``nav`` marks the entry of the navigation it belongs to."""
    values = {**(context or {}), "chrome": chrome(), "nav": nav}
    values["unread"] = Notification.objects.filter(user=viewer(request), read_at=None).count()
    return render(request, template, values, status=status)


def find_task(pk: int) -> Task:
    """Raises Http404, whose text the page shows."""
    try:
        return task_get(pk)
    except Task.DoesNotExist as error:
        raise Http404(
            f"There is no task {pk}. It may have been a draft that was deleted."
        ) from error


def whole_number(request: HttpRequest, name: str, default: int | None = None) -> int | None:
    """A whole number of the query string; 404 when it is something else."""
    text = request.GET.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise Http404(f"{name}={text} is not a whole number.")
    return int(text)


def download(
    text: str | bytes, name: str, *, content_type: str = "text/csv; charset=utf-8"
) -> HttpResponse:
    """A file to keep; CSV unless said otherwise."""
    response = HttpResponse(text, content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def is_htmx(request: HttpRequest) -> bool:
    return bool(getattr(request, "htmx", False))


def acts(name: str) -> Callable[[View], View]:
    """Marks a view that writes with its action in the table of access.

    Refuses whoever's role never reaches the action; the service then asks again, with the object.
    A test fails when a view takes POST and has no mark.
    """
    if name not in ACTIONS:
        raise KeyError(f"{name} is not in sessions_app.access; add it there.")

    def mark(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
            require_role(request.user, name)
            return view(request, *args, **kwargs)

        checked.action = name  # type: ignore[attr-defined]
        return cast(View, checked)

    return mark
