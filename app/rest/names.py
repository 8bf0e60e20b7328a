"""Names in paths."""

from collections.abc import Callable
from typing import TypeVar

from app.errors import NotFound

T = TypeVar("T")


def whichever_exists(name: str, work: Callable[[str], T]) -> T:
    """Do `work` with the name; one slash at its end is ignored, as everywhere, unless something is named with it."""
    try:
        return work(name)
    except NotFound:
        if len(name) < 2 or not name.endswith("/"):
            raise
        return work(name[:-1])
