"""What docs/errors.md must say of every error; run as a module it prints these cells."""

from collections.abc import Iterator

from app import errors
from app.rest.problems import status_of
from app.web import errors as web_errors

_ONLY_SORT = (errors.NotFound, errors.Forbidden, errors.Conflict, errors.Unavailable, web_errors.Unauthenticated)


def known_errors() -> dict[str, list[str]]:
    """Return status, title and meaning by code, but for the classes that only sort others."""
    found = {}
    for kind in _subclasses(errors.QueueError):
        if kind in _ONLY_SORT:
            continue
        meaning = " ".join((kind.__doc__ or "").split())
        found[kind.code] = [str(status_of(kind)), kind.sentence, meaning]
    assert web_errors.InternalError.code in found
    return found


def _subclasses(kind: type[errors.QueueError]) -> Iterator[type[errors.QueueError]]:
    for subclass in kind.__subclasses__():
        if subclass.__module__ in (errors.__name__, web_errors.__name__):
            yield subclass
            yield from _subclasses(subclass)


if __name__ == "__main__":
    for code, cells in known_errors().items():
        print(f"| `{code}` | {' | '.join(cells)} | |")
