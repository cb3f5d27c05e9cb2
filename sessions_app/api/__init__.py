"""The HTTP API under ``/api/v1``: what the pages can do, for programs and wallets.

* ``base``: how an operation is declared, who calls it, pages of a list.
* ``callers``: session, API token, wallet token.
* ``problems``: every error as problem+json (RFC 9457) with a next step.
* ``guard``: around every operation: rate limit, idempotency keys.
* ``urls``: the routers, one file for each area.

A new area: a file with ``router = area("name")``, operations that call services and selectors,
and one line in ``urls.ROUTERS``.
"""
