"""What all pages share."""

from __future__ import annotations

from typing import Any, cast

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from sessions_app.models import User
from sessions_app.selectors.chrome import chrome


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
    return render(request, template, values, status=status)


def is_htmx(request: HttpRequest) -> bool:
    return bool(getattr(request, "htmx", False))


def require_operator(request: HttpRequest) -> User:
    """Raises PermissionDenied, whose text the 403 page shows."""
    user = viewer(request)
    if not user.is_operator:
        raise PermissionDenied(
            f"You are signed in as a {user.get_role_display().lower()}. Creating and running tasks "
            "needs the operator role; an admin can give it to you."
        )
    return user
