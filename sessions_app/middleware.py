"""Middleware of ours."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from sessions_app.origin import coming_from


def client_address(request: HttpRequest) -> str:
    """The caller's network address. A proxy's word counts only with TRUST_PROXY_HEADERS, and of
    it the last entry alone: the proxy wrote that one, the caller may have made up the others."""
    if getattr(settings, "TRUST_PROXY_HEADERS", False):
        forwarded = request.headers.get("X-Forwarded-For", "").split(",")[-1].strip()
        if forwarded:
            return forwarded
    return str(request.META.get("REMOTE_ADDR", ""))


class Origin:
    """Tells what runs in the request where it came from."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with coming_from(client_address(request)):
            return self._get_response(request)
