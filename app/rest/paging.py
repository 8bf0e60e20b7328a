"""Cursors: where the next page of a list begins. Without one it is the first page, or there is no next one."""

import base64
import binascii
import json
import re
from typing import Any

from app.errors import InvalidCursor
from app.storage.columns import MAX_ID

_LONGEST_NAME = 255
# Control characters, and halves of surrogate pairs, which no database takes.
_NO_NAME = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def make_cursor(below_id: int | None) -> str | None:
    """Return the cursor of the page that begins below this id."""
    return None if below_id is None else _write({"below_id": below_id})


def read_cursor(cursor: str | None) -> int | None:
    """Return the id below which the page begins; raises InvalidCursor."""
    return _number(_read(cursor), "below_id", low=1) if cursor else None


def make_rank_cursor(below: tuple[int, int] | None) -> str | None:
    """Return the cursor of the page that begins below this rank and, within it, below this id."""
    return None if below is None else _write({"rank": below[0], "below_id": below[1]})


def read_rank_cursor(cursor: str | None) -> tuple[int, int] | None:
    """Return the rank and the id below which the page begins; raises InvalidCursor."""
    if not cursor:
        return None
    read = _read(cursor)
    return _number(read, "rank", low=-MAX_ID), _number(read, "below_id", low=1)


def make_name_cursor(after: str | None) -> str | None:
    """Return the cursor of the page that begins after this name."""
    return None if after is None else _write({"after": after})


def read_name_cursor(cursor: str | None) -> str | None:
    """Return the name after which the page begins; raises InvalidCursor."""
    if not cursor:
        return None
    after = _read(cursor).get("after")
    if not isinstance(after, str) or not 0 < len(after) <= _LONGEST_NAME or _NO_NAME.search(after):
        raise InvalidCursor
    return after


def _write(place: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place, ensure_ascii=False).encode()).decode().rstrip("=")


def _read(cursor: str) -> dict[str, Any]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        read = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise InvalidCursor from None
    if not isinstance(read, dict):
        raise InvalidCursor
    return read


def _number(read: dict[str, Any], name: str, *, low: int) -> int:
    number = read.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= MAX_ID:
        raise InvalidCursor
    return number
