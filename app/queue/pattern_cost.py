"""How much work can a regular expression be at one character of a text, in the worst case? Pure.

The engine never backtracks, but for some patterns (`(a|b)*a(a|b){1000}c`) it must go through every state of the
pattern at every character: a thousand times the work of a plain one.
"""

import re

# Linear: between two runs of blanks there is something else. The engine takes leading zeros, and blanks of all kinds.
_COUNTED = re.compile(r"\{\s*([0-9]+)\s*(?:,\s*(?:([0-9]+)\s*)?)?\}")
# In this mode blanks and comments may stand between what is repeated and how often.
_WITH_BLANKS = re.compile(r"\(\?[a-zA-Z-]*x")
MOST_STATES = 10**9


def count_states(pattern: str) -> int:
    """Return an upper bound for the states of a pattern: its length with all that is repeated written out.

    What is counted after a single character or class adds to the length; after a group it may repeat all of it.
    """
    length, factor = len(pattern), 1
    repeats_all = _WITH_BLANKS.search(pattern) is not None
    for counted in _COUNTED.finditer(pattern):
        times = max(_number(digits) for digits in counted.groups() if digits)
        if repeats_all or pattern[: counted.start()][-1:] in ")}?*+":
            factor *= max(times, 1)
        else:
            length += times
        if factor > MOST_STATES:
            return MOST_STATES
    return min(length * factor, MOST_STATES)


def _number(digits: str) -> int:
    significant = digits.lstrip("0")
    return int(significant or 0) if len(significant) < len(str(MOST_STATES)) else MOST_STATES
