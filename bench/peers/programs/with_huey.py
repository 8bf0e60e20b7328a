"""Huey: on SQLite, with processes as workers.

https://huey.readthedocs.io/en/latest/consumer.html
"""

import os

from huey import SqliteHuey
from started import note

huey = SqliteHuey(filename=os.environ["PEERS_STORE"], results=False)
begin = huey.task()(note)


def open() -> None:
    """Connect with the first task."""


def send(number: int) -> None:
    """Enqueue one task."""
    begin(number)
