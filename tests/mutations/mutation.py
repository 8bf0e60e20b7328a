"""A plausible fault in the source, and where it must be caught."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutation:
    """One fault: in `file` the text `old`, which occurs there once, becomes `new`."""

    #: A sentence that says what is wrong then.
    name: str
    file: str
    old: str
    new: str
    #: The files of tests, or single tests, of which one must fail.
    tests: tuple[str, ...]
    #: The kind of database on which it must be caught, `sqlite` or `mariadb`.
    on: str = "sqlite"
