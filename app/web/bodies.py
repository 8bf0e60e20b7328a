"""Request bodies: JSON in UTF-8, whatever the Content-Type says, and nothing that the database could not hold."""

import json
import math
import re
from typing import Any

from flask import current_app, request
from werkzeug.exceptions import RequestEntityTooLarge

from app.web.errors import BadRequest, BodyTooLarge, InvalidJson

MAX_DEPTH = 64
# Its place in WSGI's environment.
_BODY = "taskmanager.body"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_object(*, is_optional: bool = False) -> dict[str, Any]:
    """Return the JSON object in the request's body; raises InvalidJson, BodyTooLarge or BadRequest.

    Where the body is optional, an empty one is an object without fields.
    """
    body = read_body()
    if is_optional and not body.strip():
        return {}
    value = parse(body)
    if not isinstance(value, dict):
        raise InvalidJson("The body must be a JSON object: { … }.")
    return value


def is_body_read() -> bool:
    """Tell whether the body of the present request has been read."""
    return _BODY in request.environ


def read_body() -> bytes:
    """Return the body of the present request, which is read but once; raises BodyTooLarge or BadRequest."""
    environ = request.environ
    body: bytes | None = environ.get(_BODY)
    if body is None:
        body = environ[_BODY] = _read(environ)
    return body


def _read(environ: dict[str, Any]) -> bytes:
    try:
        said = environ.get("CONTENT_LENGTH", "")
        if said.isdecimal() and len(said) < 10 and "HTTP_TRANSFER_ENCODING" not in environ:
            # Werkzeug does the same by way of several objects.
            length = int(said)
            if length > current_app.config["MAX_CONTENT_LENGTH"]:
                raise BodyTooLarge
            read = environ["wsgi.input"].read
            body: bytes = read(length)
            while len(body) < length:
                part = read(length - len(body))
                if not part:
                    raise EOFError
                body += part
            return body
        return request.get_data(cache=False)
    except (BodyTooLarge, RequestEntityTooLarge):
        raise BodyTooLarge from None
    except Exception:
        # Each server has errors of its own for a body that breaks off, is cut wrong or does not come in time.
        raise BadRequest("The body did not come whole, or not in time: send the request again.") from None


def parse(body: bytes) -> Any:
    """Return the JSON value in `body`; raises InvalidJson."""
    if not body.strip():
        raise InvalidJson("The body is empty; it must be a JSON object: { … }.")
    try:
        text = body.decode("utf-8")
        value = _decode(text)
    except UnicodeDecodeError:
        raise InvalidJson("The body is not valid UTF-8.") from None
    except RecursionError:
        raise InvalidJson(f"The body is nested deeper than {MAX_DEPTH} levels.") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(
            f"The body is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}."
        ) from None
    except _NoNumber as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None
    except ValueError:
        # Python reads no integer beyond 4,300 digits, and says so in words that are not for callers.
        raise InvalidJson("The body has an integer with too many digits.") from None
    # Both checks walk the value only where it could matter.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise InvalidJson(f"The body is nested deeper than {MAX_DEPTH} levels.")
    if _SURROGATE.search(body) and not _is_unicode(value):
        raise InvalidJson("The body has half of a surrogate pair, which is not a character.")
    return value


class _NoNumber(ValueError):
    """What Python's parser takes for a number and JSON does not."""


def _refuse_constant(name: str) -> None:
    raise _NoNumber(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NoNumber("a number is too large")
    return number


# One decoder for all: `json.loads` builds one for every call with options.
_decode = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite).decode


def _depth(value: Any) -> int:
    depth = 0
    level = [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        if depth > MAX_DEPTH:
            break
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
