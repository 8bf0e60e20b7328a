"""Name patterns as older clients write them: `%` any run, `_` one character, `\\` escapes. Pure."""

from collections.abc import Callable, Sequence

_ANY_RUN = object()
_ANY_ONE = object()


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a name fits `pattern`, without regard to case."""
    parts = _parse(pattern.casefold())
    whole = "".join(part for part in parts if isinstance(part, str))
    if len(whole) == len(parts):
        return lambda name: name.casefold() == whole
    return lambda name: _fits(parts, name.casefold())


def _fits(parts: Sequence[object], text: str) -> bool:
    """Tell whether the text fits the parts of a pattern.

    Two pointers and one point of return, so that `%a%b%c…` cannot take exponential time, as it can in SQL's LIKE.
    """
    at = in_text = 0
    star, star_text = -1, 0
    while in_text < len(text):
        if at < len(parts) and parts[at] is _ANY_RUN:
            star, star_text = at, in_text
            at += 1
        elif at < len(parts) and (parts[at] is _ANY_ONE or parts[at] == text[in_text]):
            at += 1
            in_text += 1
        elif star >= 0:
            star_text += 1
            at, in_text = star + 1, star_text
        else:
            return False
    return all(part is _ANY_RUN for part in parts[at:])


def exactly(name: str) -> str:
    """Return the pattern that is meant by a name in which only `%` makes a pattern."""
    return name if "%" in name else name.replace("\\", "\\\\").replace("_", "\\_")


def _parse(pattern: str) -> list[object]:
    parts: list[object] = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            parts.append(next(characters, "\\"))
        elif character == "%":
            parts.append(_ANY_RUN)
        else:
            parts.append(_ANY_ONE if character == "_" else character)
    return parts
