"""Signals: what the server wants all workers and producers to know, read at most once in `cache_seconds`."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, insert, null, select, union_all, update
from sqlalchemy.exc import IntegrityError

from app.errors import CommandedQuiet, CommandedTerminate, NoAvailableTasks, QueueDraining
from app.queue.audit import PROGRAM, Actor, describe_changes, write_audit
from app.queue.task_types import TaskType
from app.storage.database import Transaction
from app.storage.models import counters, workers

QUIET, TERMINATE = "quiet", "terminate"
COMMANDS = (QUIET, TERMINATE)
_PAUSED, _DRAINING = "queue_is_paused", "queue_is_draining"
_DRAINING_SECONDS = 60

# The switches that are on, and beside them the workers that have a command: seldom any of either. Asked for workers
# whose command is not NULL, or while MariaDB's statistics are old without the hint, the index of all is walked through.
_READ = union_all(
    select(counters.c.name, null().label("command")).where(
        counters.c.name.in_([_PAUSED, _DRAINING]), counters.c.value != 0
    ),
    select(workers.c.worker_id, workers.c.command)
    .with_hint(workers, "FORCE INDEX (ix_workers_command)", "mysql")
    .where(workers.c.command.in_(COMMANDS)),
)
_SWITCH = update(counters).where(counters.c.name == bindparam("switch")).values(value=bindparam("position"))
_NEW_SWITCH = insert(counters)


@dataclass(frozen=True, slots=True)
class Signals:
    """What everybody is to know now."""

    is_paused: bool
    is_draining: bool
    #: By the id of the worker, for those that have one.
    commands: Mapping[str, str]

    def refuses_claims_of(self, worker_id: str) -> bool:
        """Tell whether this worker gets no tasks, whatever there is."""
        return self.is_paused or worker_id in self.commands

    def empty_claim(self, worker_id: str, retry_after_seconds: int) -> NoAvailableTasks:
        """Return what the worker hears when its claim has found nothing."""
        command = self.commands.get(worker_id)
        if command is not None:
            refusal = CommandedTerminate if command == TERMINATE else CommandedQuiet
            return refusal(retry_after_seconds=retry_after_seconds)
        detail = "The whole queue is paused; ask again after `Retry-After` seconds." if self.is_paused else None
        return NoAvailableTasks(detail, retry_after_seconds=retry_after_seconds)

    def pauses(self, task_type: TaskType) -> bool:
        """Tell whether no tasks of this type are given out, because it or the whole queue is paused."""
        return self.is_paused or task_type.is_paused


def find_signals(tx: Transaction) -> Signals:
    """Return the signals, from the cache if they were read a moment ago."""
    found = tx.cache.get("signals", lambda: read_signals(tx))
    assert found is not None
    return found


def read_signals(tx: Transaction) -> Signals:
    """Return the signals as they are stored now."""
    rows = tx.all(_READ)
    switches = {row["name"] for row in rows if row["command"] is None}
    commands = {row["name"]: row["command"] for row in rows if row["command"] is not None}
    return Signals(_PAUSED in switches, _DRAINING in switches, commands)


def refuse_while_draining(tx: Transaction) -> None:
    """Raise QueueDraining if the whole queue takes no new tasks."""
    if find_signals(tx).is_draining:
        raise QueueDraining(retry_after_seconds=_DRAINING_SECONDS)


def change_queue(tx: Transaction, changes: Mapping[str, bool], actor: Actor = PROGRAM) -> Signals:
    """Set `is_paused` and `is_draining` of the whole queue, where `changes` has them, and return the signals then."""
    before = read_signals(tx)
    details = describe_changes({"is_paused": before.is_paused, "is_draining": before.is_draining}, changes)
    if not details:
        return before
    for name in details:
        _turn(tx, f"queue_{name}", changes[name])
    write_audit(tx, actor, "change_queue", "queue", details)
    return read_signals(tx)


def _turn(tx: Transaction, switch: str, is_on: bool) -> None:
    position = {"switch": switch, "position": int(is_on)}
    if tx.changes(_SWITCH, position):
        return
    try:
        tx.execute(_NEW_SWITCH, {"name": switch, "value": int(is_on)})
    except IntegrityError:
        # Somebody else has turned it for the first time too: the later one decides.
        tx.execute(_SWITCH, position)
