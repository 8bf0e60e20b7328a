"""Dramatiq: a broker on Redis.

https://dramatiq.io/guide.html#workers
"""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from started import note

dramatiq.set_broker(RedisBroker(url=os.environ["PEERS_STORE"]))
begin = dramatiq.actor(note)


def open() -> None:
    """Connect with the first task."""


def send(number: int) -> None:
    """Enqueue one task."""
    begin.send(number)
