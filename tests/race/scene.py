"""The scene of a forced race: three processes on one database, and what came of two of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from app.errors import QueueError
from app.lifecycle import TaskStatus
from app.queue.tasks import read_task
from app.storage.database import Row
from app.storage.models import tasks
from tests.support.clock import ManualClock
from tests.support.factories import Queue
from tests.support.pauses import Died

#: By how much the clocks are apart: that of the first verb is ahead of the test's, that of the second ahead of both.
APART_SECONDS = 0.01


def is_unknown(outcome: Any) -> bool:
    """Tell whether nobody is left who could say what came of it."""
    return isinstance(outcome, Died)


def succeeded(outcome: Any) -> bool:
    """Tell whether the verb has said that it was done."""
    return not isinstance(outcome, QueueError | Died)


class Scene:
    """What a pair of verbs finds, is told, and leaves behind; the stage adds names of its own."""

    kind: int
    task: Row
    a: Any
    b: Any

    def __init__(self, queue: Queue, clock: ManualClock) -> None:
        #: Sets the stage before, and looks at it afterwards.
        self.queue = queue
        self.clock = clock
        #: The limits that a check of all tasks goes by, where those of now are not what held all the time.
        self.limits: dict[str, int] = {}
        #: Whether a task may go on waiting for a dead letter until that is removed.
        self.waits_for_dead = False
        #: The statements that the held verb had done when the other one ended before it; None if that had to wait.
        self.done_before: list[str] | None = None
        self.is_a_held = False

    @property
    def has_died(self) -> bool:
        """Whether one of the two has died, so that nobody knows what came of it."""
        return isinstance(self.a, Died) or isinstance(self.b, Died)

    def row(self, task_id: int | None = None) -> Row:
        """Return the row of a task as it is now, by default that of `task`."""
        return self.queue.do(read_task, self.task["id"] if task_id is None else task_id)

    def status(self, task_id: int | None = None) -> TaskStatus:
        """Return what has become of a task, by default of `task`."""
        return TaskStatus(self.row(task_id)["status"])

    def rows(self) -> list[Row]:
        """Return all tasks."""
        return self.queue.do(lambda tx: tx.all(select(tasks).order_by(tasks.c.id)))

    def number_of(self, status: TaskStatus) -> int:
        """Return how many tasks are so."""
        return sum(row["status"] == status for row in self.rows())

    def come_back(self) -> None:
        """Bring the test's time on, so that what is due to the two is due to all."""
        self.clock.advance(seconds=10 * APART_SECONDS)


Step = Callable[[Scene, Queue], Any]


@dataclass(frozen=True)
class Pair:
    """Two verbs that may meet."""

    name: str
    #: Sets the stage, with the queue of the scene.
    stage: Callable[[Scene], None]
    a: Step
    b: Step
    #: Says what must be true afterwards, whoever was held where and what became of him.
    check: Callable[[Scene], None]
    is_symmetric: bool = field(default=False)
