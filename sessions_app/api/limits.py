"""Requests a minute for each token, person or, unsigned, address; counted in Redis."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from redis import Redis
from redis.exceptions import RedisError

from sessions_app.api.callers import Caller
from sessions_app.api.problems import ApiError

logger = logging.getLogger(__name__)
WINDOW = 60  # seconds


@dataclass(frozen=True)
class Count:
    """Where a caller stands in the window that runs."""

    quota: int
    used: int
    reset: int  # seconds until the window ends

    def headers(self) -> dict[str, str]:
        """draft-ietf-httpapi-ratelimit-headers."""
        left = max(0, self.quota - self.used)
        return {
            "RateLimit-Policy": f'"default";q={self.quota};w={WINDOW}',
            "RateLimit": f'"default";r={left};t={self.reset}',
        }


def take(request: HttpRequest, caller: Caller | None) -> Count | None:
    """Count this request. Raises ApiError (429) above the quota.

    None when Redis is away: the console is then read-only at best, and refusing would only add
    to the trouble.
    """
    if caller is None:
        quota, ident = settings.API_RATE_ANONYMOUS, f"ip:{request.META.get('REMOTE_ADDR', '')}"
    else:
        quota, ident = settings.API_RATE, caller.ident
    now = time.time()
    key = f"bcfl:rate:{ident}:{int(now // WINDOW)}"
    try:
        with connection(settings.REDIS_URL).pipeline() as pipe:
            pipe.incr(key)
            pipe.expire(key, WINDOW + 5)
            used = int(pipe.execute()[0])
    except RedisError as error:
        logger.warning("API requests are not counted: %s", error)
        return None
    count = Count(quota, used, WINDOW - int(now % WINDOW))
    if used > quota:
        raise ApiError(
            429,
            "too-many",
            f"{quota} requests a minute are allowed; this is number {used}.",
            headers={"Retry-After": str(count.reset), **count.headers()},
        )
    return count


def tell(response: HttpResponse, count: Count | None) -> None:
    if count is not None:
        for name, value in count.headers().items():
            response.setdefault(name, value)


@lru_cache(maxsize=4)
def connection(url: str) -> Redis:
    """The process's own, by URL."""
    return Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
