"""RQ: functions by their names, in one queue.

https://python-rq.org/docs/workers/#performance-notes
"""

import os

from redis import Redis
from rq import Queue
from started import note

queue = Queue(connection=Redis.from_url(os.environ["PEERS_STORE"]))


def open() -> None:
    """Connect with the first task."""


def send(number: int) -> None:
    """Enqueue one task."""
    queue.enqueue(note, number)


def send_many(numbers: range) -> None:
    """Enqueue tasks in batches of a hundred."""
    for first in range(0, len(numbers), 100):
        queue.enqueue_many([Queue.prepare_data(note, (number,)) for number in numbers[first : first + 100]])
