"""Celery: no results are kept, and workers reserve many tasks at once, as its guide advises for short ones.

https://docs.celeryq.dev/en/stable/userguide/optimizing.html#prefetch-limits
"""

import os

from celery import Celery
from started import note

_store = os.environ["PEERS_STORE"]
app = Celery("with_celery", broker=f"sqla+{_store}" if _store.startswith("mysql") else _store)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=64, broker_connection_retry_on_startup=True)
begin = app.task(name="begin")(note)


def open() -> None:
    """Connect with the first task."""


def send(number: int) -> None:
    """Enqueue one task."""
    begin.delay(number)
