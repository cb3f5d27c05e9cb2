"""The API's routers and addresses."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from sessions_app.api import (
    admin,
    compare,
    docs,
    drafts,
    events,
    ledger,
    me,
    models,
    network,
    outreach,
    outside,
    participants,
    sign_in,
    steering,
    task_reads,
    tasks,
)
from sessions_app.api.base import Api
from sessions_app.api.guard import guarded
from sessions_app.api.problems import ApiError, problem

VERSION = "1.0.0"
ROUTERS = (
    ("/auth", sign_in.router),
    ("/me", me.router),
    ("/models", models.router),
    ("/tasks", tasks.router),
    ("/tasks", task_reads.router),
    ("/tasks", outside.router),
    ("/tasks", participants.tasks_router),
    ("/participants", participants.router),
    ("/tasks", steering.router),
    ("/invitations", steering.people),
    ("/drafts", drafts.router),
    ("/templates", drafts.templates),
    ("/prices", drafts.prices),
    ("/compare", compare.router),
    ("/webhooks", outreach.router),
    ("/notifications", outreach.news),
    ("/users", admin.router),
    ("/audit", admin.audit),
    ("/maintenance", admin.jobs),
    ("/events", events.router),
    ("/ledger", ledger.router),
    ("", network.router),
)

api = Api(
    title="BCFL Console",
    version=VERSION,
    description=(
        "Everything the pages show and do. Sums of money are whole numbers of wei as text "
        "(1 FLT = 10^18 wei); times are ISO 8601 in UTC. Errors are problem+json (RFC 9457)."
    ),
    urls_namespace="api",
    docs_url=None,
)
for prefix, router in ROUTERS:
    api.add_router(prefix, router)


@csrf_exempt
def nothing_here(request: HttpRequest, **_: str) -> HttpResponse:
    return problem(
        request,
        ApiError(
            404,
            "not-found",
            f"The API has nothing at {request.path}.",
            next_step="See /api/v1/docs for what it has.",
        ),
    )


_patterns, _app, _namespace = api.urls
for _pattern in _patterns:
    assert _pattern.callback is not None
    _pattern.callback = guarded(_pattern.callback)
_patterns.insert(0, path("docs", docs.page_of(api), name="docs"))
_patterns.append(path("<path:rest>", nothing_here))
urlpatterns = [path("", (_patterns, _app, _namespace))]


# The path that was promised before the API had versions: the same operation.
_predict = [pattern for pattern in _patterns if getattr(pattern, "name", "") == "models_predict"]
assert len(_predict) == 1
assert _predict[0].callback is not None
predict = _predict[0].callback
