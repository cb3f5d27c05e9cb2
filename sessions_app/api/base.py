"""What the routers of all areas share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Generic, TypeVar, cast

from django.http import Http404, HttpRequest
from ninja import Field, NinjaAPI, Query, Router, Schema
from ninja.operation import Operation

from sessions_app.api.callers import SIGNED_IN, Caller, caller_of
from sessions_app.api.problems import CONTENT_TYPE, ApiError, Problem, as_api_error, problem
from sessions_app.models import User

T = TypeVar("T")
PAGE = 50
LARGEST = 200
# In the JSON of the API a sum of money is a whole number of wei as text: JavaScript and others
# read larger numbers than 2**53 wrongly.
Wei = Annotated[str, Field(pattern=r"^[0-9]{1,78}$", examples=["1000000000000000000"])]
Hash = Annotated[str, Field(pattern=r"^(0x[0-9a-f]{64})?$")]
Address = Annotated[str, Field(pattern=r"^(0x[0-9a-fA-F]{40})?$")]
# Parameters: within what the database can hold, and readable for OpenAPI.
Key = Annotated[int, Field(ge=1, le=2**53)]


class Page(Schema, Generic[T]):
    """A page of a list, newest first. Ask again with `cursor` = `next` for older items."""

    items: list[T]
    next: str | None = Field(None, description="Cursor of the next page; null on the last one.")


class PageQuery(Schema):
    limit: int = Field(PAGE, ge=1, le=LARGEST, description="Items on a page.")
    cursor: str = Field("", max_length=200, description="`next` of the page before.")


PageIn = Query[PageQuery]


def area(tag: str, *, auth: Any = SIGNED_IN) -> Router:
    """A router whose operations need a signed-in caller, unless `auth` is None."""
    return Router(tags=[tag], auth=auth)


def caller(request: HttpRequest) -> Caller:
    """Who calls; for operations that need somebody signed in."""
    found = caller_of(request)
    if found is None:
        raise ApiError(401, "sign-in", "This needs somebody signed in.")
    return found


def user_of(request: HttpRequest) -> User:
    return caller(request).user


def page_by_key(rows: Iterable[Any], limit: int, key: Callable[[Any], Any]) -> dict[str, Any]:
    """`rows` in order, up to `limit` + 1 of them; `key` of the last one shown is the cursor."""
    found = list(rows)
    more = len(found) > limit
    found = found[:limit]
    return {"items": found, "next": str(key(found[-1])) if more else None}


def read_key(cursor: str) -> int | None:
    """A cursor that is a primary key or a sequence number; None for the first page."""
    if not cursor:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise ApiError(
            422,
            "invalid",
            f"“{cursor[:40]}” is no place in this list.",
            next_step="Leave `cursor` out for the first page, or send `next` of a page unchanged.",
            errors=[{"field": "query.cursor", "detail": "not a cursor of this list"}],
        )
    return int(cursor)


def not_found(what: str) -> Http404:
    return Http404(what)


class Api(NinjaAPI):
    """NinjaAPI whose errors are problems and whose description says so."""

    def set_default_exception_handlers(self) -> None:
        self.add_exception_handler(
            Exception, lambda request, error: problem(request, as_api_error(cast(Exception, error)))
        )

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        schema = super().get_openapi_schema(**kwargs)
        schemas = schema["components"].setdefault("schemas", {})
        description = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= description.pop("$defs", {})
        schemas["Problem"] = description
        for path in schema["paths"].values():
            for method, operation in path.items():
                _describe(method, operation)
        return schema


_EVERYWHERE = {
    "400": "The request cannot be read",
    "403": "Not allowed",
    "404": "Not found",
    "409": "Does not fit where things are now",
    "422": "Some values do not fit",
    "429": "Too many requests",
    "503": "The chain does not answer",
}
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
    "description": "Within 24 hours the same key gets the first answer, without a second effect.",
}


def _describe(method: str, operation: dict[str, Any]) -> None:
    """The refusals that every operation shares."""
    refusals = dict(_EVERYWHERE)
    refusals["401"] = "Not signed in"
    for status, text in refusals.items():
        operation["responses"][status] = {
            "description": text,
            "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    if method not in ("get", "head") and operation.get("security"):
        operation["parameters"] = [*operation.get("parameters", []), _IDEMPOTENCY]
