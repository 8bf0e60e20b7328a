"""Pages: parts of a list, read one row further to see whether there is a next one. Pure."""

from collections.abc import Sequence
from typing import Any

from app.storage.database import Row


def cut_page(rows: Sequence[Row], limit: int, column: str = "id") -> tuple[list[Row], Any]:
    """Return the first `limit` of these rows, and `column` of the last where the next page begins behind it."""
    page = list(rows[:limit])
    return page, page[-1][column] if len(rows) > limit else None
