"""Cursors: where the next page of a list begins."""

import base64
import binascii
import json
from typing import Any

from app.errors import InvalidCursor
from app.rest.fields import MAX_ID


def make_cursor(below_id: int) -> str:
    """Return the cursor of the page that begins below this id."""
    return _write({"below_id": below_id})


def read_cursor(cursor: str) -> int:
    """Return the id below which the page begins; raises InvalidCursor."""
    return _number(_read(cursor), "below_id", low=1)


def make_rank_cursor(rank: int, below_id: int) -> str:
    """Return the cursor of the page that begins below this rank and, within it, below this id."""
    return _write({"rank": rank, "below_id": below_id})


def read_rank_cursor(cursor: str) -> tuple[int, int]:
    """Return the rank and the id below which the page begins; raises InvalidCursor."""
    read = _read(cursor)
    return _number(read, "rank", low=-MAX_ID), _number(read, "below_id", low=1)


def _write(place: dict[str, int]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _read(cursor: str) -> Any:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise InvalidCursor from None


def _number(read: Any, name: str, *, low: int) -> int:
    number = read.get(name) if isinstance(read, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= MAX_ID:
        raise InvalidCursor
    return number
