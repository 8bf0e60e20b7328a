"""Cursors: where the next page of a list begins."""

import base64
import binascii
import json

from app.errors import InvalidCursor
from app.rest.fields import MAX_ID


def make_cursor(below_id: int) -> str:
    """Return the cursor of the page that begins below this id."""
    return base64.urlsafe_b64encode(json.dumps({"below_id": below_id}).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> int:
    """Return the id below which the page begins; raises InvalidCursor."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        value = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        below_id = value["below_id"]
    except (binascii.Error, ValueError, TypeError, KeyError, RecursionError):
        raise InvalidCursor from None
    if not isinstance(below_id, int) or isinstance(below_id, bool) or not 0 < below_id <= MAX_ID:
        raise InvalidCursor
    return below_id
