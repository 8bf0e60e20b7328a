"""An explanation: why a task is not being worked on, in one sentence and in fields."""

from dataclasses import dataclass, field
from datetime import datetime

from app.queue.activity import Count
from app.queue.obstacles import LIMIT_REACHED, QUEUE_PAUSED, TYPE_PAUSED
from app.storage.database import Row

FINISHED = "finished"
BEING_WORKED_ON = "being_worked_on"
NOT_BEFORE_ITS_TIME = "not_before_its_time"
WAITS_FOR_RETRY = "waits_for_retry"
WAITS_FOR_TASKS = "waits_for_tasks"
WAITS_IN_LINE = "waits_in_line"
NO_WORKER = "no_worker"
IN_ORDER = "in_order"
NEXT = "next"
DUE = "due"

#: What each reason means, for the documentation.
REASONS = {
    FINISHED: "It has ended.",
    BEING_WORKED_ON: "A worker has it.",
    NOT_BEFORE_ITS_TIME: "It was given a time before which it may not begin.",
    WAITS_FOR_RETRY: "Its latest attempt failed, and the pause before the next is not over.",
    WAITS_FOR_TASKS: "It depends on tasks that have not ended.",
    WAITS_IN_LINE: "Others with its concurrency key use up what the key is allowed.",
    QUEUE_PAUSED: "An admin has paused the whole queue.",
    TYPE_PAUSED: "An admin has paused its task type.",
    LIMIT_REACHED: "Its task type is at its `max_concurrency` or `rate_limit`.",
    NO_WORKER: "Nobody has asked for tasks of its type lately, and nobody works on one.",
    IN_ORDER: "Others of its type are claimed before it.",
    NEXT: "It is the first of its type.",
    DUE: "Time has come to do something to it, and the next request to the server does that.",
}


@dataclass(frozen=True, slots=True)
class WaitsFor:
    """Tasks that must end first: how many, and the first of them with id and status."""

    number: Count = field(default_factory=Count)
    tasks: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a task is not being worked on, and what would change that.

    `until` is when this reason ends by itself, where that is known. `held_by` are tasks that use up a limit; `ahead`
    counts those that are claimed before this one, or leave the line of its concurrency key before it.
    """

    reason: str
    sentence: str
    what_would_change_it: str
    until: datetime | None = None
    waits_for: WaitsFor = field(default_factory=WaitsFor)
    ahead: Count | None = None
    estimated_seconds: float | None = None
    held_by: tuple[Row, ...] = ()
    last_asked_at: datetime | None = None
