"""Which workers this process has heard of, written down after the answer and not with every request."""

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from flask import Response, after_this_request, request

from app.errors import QueueError
from app.queue.sightings import SIGHTING_SECONDS, note_worker
from app.storage.database import Database, Transaction

log = logging.getLogger("taskmanager.sightings")

MAX_TYPES = 100
_REMEMBERED = 5000
_LONGEST_VERSION = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class _Heard:
    """What was heard of a worker and is not written down yet; replaced as a whole, since threads share it."""

    next_write: float
    version: str | None = None
    asked: Mapping[int, float] = field(default_factory=dict)


class Sightings:
    """Remembers, for this process, which workers it heard of, and has each written down at most every 30 s.

    What a worker asks for in between is kept for the next time, so that every type it asks for gets its turn.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._heard: dict[str, _Heard] = {}

    def note_claim(self, worker_id: str, version: str | None, type_ids: Sequence[int]) -> None:
        """Remember the worker of the present request and the types that it asks for, the first hundred of them.

        Where it does not say its version, that is its program's, as HTTP knows it.
        """
        told = version or _CONTROL.sub("", request.environ.get("HTTP_USER_AGENT", ""))[:_LONGEST_VERSION]
        self._note(worker_id, told or None, type_ids[:MAX_TYPES])

    def note_report(self, worker_id: str) -> None:
        """Remember the worker of the present request, which reports on a task."""
        self._note(worker_id, None, ())

    def _note(self, worker_id: str, version: str | None, type_ids: Sequence[int]) -> None:
        """Remember what was heard; if the worker's time has come, write it down once it has its answer."""
        moment = self._clock()
        heard = self._heard.get(worker_id)
        if heard is None and len(self._heard) >= _REMEMBERED:
            self._heard = {}
        known = heard or _Heard(next_write=moment)
        is_due = known.next_write <= moment
        self._heard[worker_id] = _Heard(
            moment + SIGHTING_SECONDS if is_due else known.next_write,
            version or known.version,
            _merged(known.asked, type_ids, moment),
        )
        if is_due:
            after_this_request(lambda response: self._write_on_close(response, worker_id))

    def _write_on_close(self, response: Response, worker_id: str) -> Response:
        response.call_on_close(lambda: self._write(worker_id))
        return response

    def _write(self, worker_id: str) -> None:
        """Write down what was heard; an error is logged, since there is nobody left to tell."""
        heard = self._heard.get(worker_id)
        if heard is None:
            return
        moment = self._clock()
        ages = {type_id: timedelta(seconds=max(moment - asked_at, 0)) for type_id, asked_at in heard.asked.items()}

        def work(tx: Transaction) -> bool:
            asked = {type_id: tx.now - age for type_id, age in ages.items()}
            return note_worker(tx, worker_id, version=heard.version, asked=asked)

        try:
            is_written = self._database.write(work, atomic=False)
        except QueueError as error:
            log.warning("a worker was not written down: %s", error)
        except Exception:
            log.exception("a worker could not be written down")
        else:
            latest = self._heard.get(worker_id)
            if is_written and latest is not None:
                unwritten = {type_id: at for type_id, at in latest.asked.items() if at > moment}
                self._heard[worker_id] = replace(latest, asked=unwritten)


def _merged(asked: Mapping[int, float], type_ids: Sequence[int], moment: float) -> Mapping[int, float]:
    if not type_ids:
        return asked
    latest = dict.fromkeys(type_ids, moment)
    merged = {**asked, **latest}
    return merged if len(merged) <= MAX_TYPES else latest
