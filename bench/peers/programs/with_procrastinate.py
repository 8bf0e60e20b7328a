"""Procrastinate: a task that is a coroutine, which its worker runs without threads.

https://procrastinate.readthedocs.io/en/stable/howto/basics/worker.html
"""

import os

import procrastinate
from started import note

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["PEERS_STORE"]))


@app.task(name="begin")
async def begin(number: int) -> None:
    """Begin."""
    note(number)


def open() -> None:
    """Connect."""
    app.open()


def send(number: int) -> None:
    """Enqueue one task."""
    begin.defer(number=number)


def send_many(numbers: range) -> None:
    """Enqueue tasks in batches of a hundred."""
    for first in range(0, len(numbers), 100):
        begin.batch_defer(*({"number": number} for number in numbers[first : first + 100]))
