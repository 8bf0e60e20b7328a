"""@contract: one place that says what an endpoint takes, gives and refuses; it checks, wraps and documents."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from flask import Response, request
from marshmallow import EXCLUDE, Schema, ValidationError

from app.errors import Invalid, QueueError
from app.queue.keys import Scope
from app.rest.refusals import MAX_DETAILS, refusal
from app.rest.schemas.base import AnswerSchema, RequestSchema
from app.web import auth
from app.web.answers import JsonResponse
from app.web.bodies import read_object


@dataclass(frozen=True, slots=True)
class Answer:
    """What a view answers: `data` in the envelope, with its sentence and status."""

    data: Mapping[str, Any]
    message: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Members beside `data`, for older clients.
    beside: Mapping[str, Any] = field(default_factory=dict)

    def envelope(self) -> dict[str, Any]:
        """Return the whole body."""
        return {
            "success": True,
            "message": self.message,
            "data": self.data,
            "timestamp": int(time.time()),
            **self.beside,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What an endpoint promises."""

    operation_id: str
    tag: str
    scope: Scope | None
    answer: type[AnswerSchema]
    messages: Mapping[int, str]
    body: RequestSchema | None = None
    is_body_optional: bool = False
    query: RequestSchema | None = None
    errors: tuple[type[QueueError], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    minimal: type[AnswerSchema] | None = None


View = Callable[..., Answer]


def contract(
    operation_id: str,
    *,
    tag: str,
    scope: Scope | None,
    answer: type[AnswerSchema],
    messages: Mapping[int, str],
    body: type[Schema] | None = None,
    is_body_optional: bool = False,
    query: type[Schema] | None = None,
    errors: tuple[type[QueueError], ...] = (),
    headers: Mapping[str, str] | None = None,
    minimal: type[AnswerSchema] | None = None,
) -> Callable[[View], Callable[..., Response]]:
    """Let the view below answer only callers with `scope`, with the checked `body` and `query` as dicts.

    `operation_id` is what generated clients call the method; `messages` says for each status of success the sentence
    of the envelope; `errors` are those of the queue that the view can raise beside the usual ones; `headers` are
    request headers that it looks at, with what they mean; where the body may be left out, no body is one without
    fields; `minimal` is the answer to `Prefer: return=minimal`.
    """
    terms = Contract(
        operation_id=operation_id,
        tag=tag,
        scope=scope,
        answer=answer,
        messages=messages,
        # A schema instance is expensive to build and is used by all requests.
        body=body() if body is not None else None,  # type: ignore[arg-type]
        is_body_optional=is_body_optional,
        # Where there is nothing to ask for, a query is a mistake; only the health may be asked with anything.
        query=query() if query is not None else (None if scope is None else RequestSchema()),  # type: ignore[arg-type]
        errors=errors,
        headers=headers or {},
        minimal=minimal,
    )

    def decorate(view: View) -> Callable[..., Response]:
        @wraps(view)
        def checked(**arguments: Any) -> Response:
            if terms.scope is not None:
                auth.require(terms.scope)
            # Where there is nothing to say, nothing said needs no check.
            if terms.query is not None and (query is not None or request.environ.get("QUERY_STRING")):
                asked = _load(terms.query, _query_arguments(terms.query))
                arguments.update({"query": asked} if query is not None else {})
            if terms.body is not None:
                arguments["body"] = _load(terms.body, read_object(is_optional=terms.is_body_optional))
            return respond(view(**arguments))

        checked.contract = terms  # type: ignore[attr-defined]
        return checked

    return decorate


def respond(answer: Answer) -> Response:
    """Write an answer as JSON."""
    return JsonResponse(answer.envelope(), answer.status, more=answer.headers)


def _query_arguments(schema: RequestSchema) -> dict[str, Any]:
    if schema.unknown == EXCLUDE:
        return dict(request.args.items())
    if not request.query_string:
        return {}
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise Invalid(
            f"The query says more than once: {', '.join(sorted(repeated)[:MAX_DETAILS])}.",
            details=[{"field": name[:200], "problem": "Given more than once."} for name in repeated[:MAX_DETAILS]],
        )
    return dict(request.args.items())


def _load(schema: RequestSchema, data: dict[str, Any]) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(data)
    except ValidationError as error:
        raise refusal(schema, error) from None
    return loaded
