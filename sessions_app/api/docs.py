"""The API's own page: its OpenAPI, rendered here. No script, nothing from another host.

django-ninja brings Swagger UI along, but that is 1.4 MB of script; ours is a page like the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from sessions_app.api.base import Api
from sessions_app.selectors.chrome import chrome

DEEPEST = 3  # of an example inside an example


@dataclass(frozen=True)
class Parameter:
    name: str
    place: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True)
class Operation:
    id: str
    method: str
    path: str
    summary: str
    description: str
    signed_in: bool
    parameters: list[Parameter]
    body: str  # an example, JSON
    answer: str
    status: str
    curl: str


@dataclass
class Group:
    name: str
    operations: list[Operation] = field(default_factory=list)


def page_of(api: Api) -> Any:
    """The view of the page."""

    @login_required
    @require_GET
    def docs(request: HttpRequest) -> HttpResponse:
        schema = api.get_openapi_schema()
        context = {
            "chrome": chrome(),
            "nav": "api",
            "groups": groups(schema, request.build_absolute_uri("/").rstrip("/")),
            "count": sum(len(methods) for methods in schema["paths"].values()),
            "info": schema["info"],
        }
        return render(request, "pages/api_docs.html", context)

    return docs


def groups(schema: Mapping[str, Any], site: str) -> list[Group]:
    """Operations by their tag, in the order of the routers."""
    found: dict[str, Group] = {}
    for path, methods in schema["paths"].items():
        for method, described in methods.items():
            tag = (described.get("tags") or ["Other"])[0]
            group = found.setdefault(tag, Group(tag))
            group.operations.append(_operation(schema, site, path, method, described))
    return list(found.values())


def _operation(
    schema: Mapping[str, Any], site: str, path: str, method: str, described: Mapping[str, Any]
) -> Operation:
    content = described.get("requestBody", {}).get("content", {})
    kinds = [one.get("schema") for one in content.values()]
    body = _example(schema, kinds[0], 0) if kinds else None
    status = min((s for s in described["responses"] if str(s).startswith("2")), key=str)
    answers = described["responses"][status].get("content", {})
    answer = answers.get("application/json", {}).get("schema")
    signed_in = bool(described.get("security"))
    return Operation(
        id=described["operationId"],
        method=method.upper(),
        path=path,
        summary=described.get("summary", ""),
        description=described.get("description", ""),
        signed_in=signed_in,
        parameters=[_parameter(p) for p in described.get("parameters", [])],
        body=json.dumps(body, indent=2) if body is not None else "",
        answer=json.dumps(_example(schema, answer, 0), indent=2) if answer else "",
        status=str(status),
        curl=_curl(site, path, method, signed_in, body),
    )


def _parameter(described: Mapping[str, Any]) -> Parameter:
    kind = described.get("schema", {})
    return Parameter(
        name=described["name"],
        place=described["in"],
        type=_type(kind),
        required=bool(described.get("required")),
        description=described.get("description") or kind.get("description", ""),
    )


def _type(kind: Mapping[str, Any]) -> str:
    if "anyOf" in kind:
        return " or ".join(_type(one) for one in kind["anyOf"])
    if "enum" in kind:
        return ", ".join(f"“{value}”" for value in kind["enum"])
    return str(kind.get("type", "any"))


def _example(schema: Mapping[str, Any], kind: Mapping[str, Any] | None, depth: int) -> Any:
    """A value of a type: its default or example, else the plainest there is."""
    if kind is None:
        return None
    if "$ref" in kind:
        name = kind["$ref"].rpartition("/")[2]
        return _example(schema, schema["components"]["schemas"][name], depth)
    for key in ("example", "default", "const"):
        if key in kind:
            return kind[key]
    for key in ("examples", "enum"):
        if kind.get(key):
            return kind[key][0]
    if "anyOf" in kind:
        return _example(schema, kind["anyOf"][0], depth)
    if kind.get("type") == "object":
        inner = kind.get("properties", {}) if depth < DEEPEST else {}
        return {name: _example(schema, one, depth + 1) for name, one in inner.items()}
    if kind.get("type") == "array":
        return [_example(schema, kind.get("items", {}), depth + 1)] if depth < DEEPEST else []
    plain = {"integer": 0, "number": 0.0, "boolean": False, "string": "…"}
    return plain.get(str(kind.get("type")))


def _curl(site: str, path: str, method: str, signed_in: bool, body: Any) -> str:
    parts = [f"curl -X {method.upper()} {site}{path.replace('{', '').replace('}', '')}"]
    if signed_in:
        parts.append("-H 'Authorization: Bearer bcfl_…'")
        if method not in ("get", "head"):
            parts.append("-H 'Idempotency-Key: …'")
    if body is not None:
        parts.append(f"-H 'Content-Type: application/json' -d '{json.dumps(body)}'")
    return " \\\n  ".join(parts)
