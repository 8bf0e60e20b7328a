"""A month under constant load: what finished tasks leave behind is removed, so that no table grows without end."""

import random
from collections import Counter

from sqlalchemy import event, func, select

from app.housekeeping import Housekeeper
from app.lifecycle import FINISHED
from app.queue.complete import complete_task
from app.queue.create import create_task
from app.queue.due import SLICE
from app.queue.fail import fail_task
from app.queue.idempotency import RepeatableRequest, answer_once
from app.queue.logs import LogLine, add_logs
from app.queue.new_task import NewTask
from app.queue.release import release_task
from app.queue.remove import DETAILS_SLICE
from app.queue.usage import SLICE as USAGE_SLICE
from app.storage.models import metadata, task_type_usage, tasks
from tests.support.factories import Queue

DAYS = 30
ROUNDS_A_DAY = 5
TASKS_A_ROUND = 15
RETENTION_DAYS = 2
_DAY = 86400
_QUIET_DAYS = range(13, 18)
_LINES = [LogLine(level="info", message="one"), LogLine(level="error", message="two")]


class Month:
    """Producers and workers that do a bit of everything, and what the tables hold after each day."""

    def __init__(self, database, settings, clock):
        self.database, self.clock = database, clock
        self.queue = Queue(database)
        self.housekeeper = Housekeeper(database, settings)
        self.random = random.Random(4711)
        self.number = 0
        self.latest = None
        self.ends = Counter()
        self.counts = []
        self.kind = self.queue.register(
            retention_seconds=RETENTION_DAYS * _DAY,
            lease_seconds=3600,
            retry_delay_seconds=1800,
            max_attempts=3,
            key_max_concurrency=2,
        )

    def create(self):
        self.number += 1
        new = NewTask(
            type_name="work",
            params={"n": self.number},
            priority=self.number % 3,
            delay_seconds=_DAY / 2 if self.number % 7 == 0 else None,
            tags=["nightly"] if self.number % 2 else [],
            metadata={"number": self.number} if self.number % 2 else {},
            depends_on=[self.latest] if self.number % 5 == 0 else [],
            on_dependency_failure="run_anyway" if self.number % 10 else "fail",
            concurrency_key=f"tenant-{self.number % 4}" if self.number % 6 == 0 else None,
        )

        def work(tx):
            self.latest = create_task(tx, new).task["id"]
            return 201, {"id": self.latest}

        if self.number % 3 == 0:
            answer_once(self.database, RepeatableRequest(1, f"key-{self.number}", "0" * 64), work)
        else:
            self.database.write(work)

    def work_off(self):
        """Claim all there is; most is completed, some fails, is given back, or is never heard of again."""
        for number in range(3 * TASKS_A_ROUND):
            task = self.queue.claim(self.kind, worker_id=f"w{number % 4}")
            if task is None:
                return
            holder = {"worker_id": task["claimed_by"], "lease_token": task["lease_token"]}
            end = self.random.choices(("complete", "fail", "release", "die"), (70, 15, 5, 10))[0]
            self.ends[end] += 1
            if number % 2:
                self.queue.do(add_logs, task["id"], **holder, lines=_LINES)
            if end == "complete":
                self.queue.do(complete_task, task["id"], **holder, result={"n": 1})
            elif end == "fail":
                terms = {"error": "bad", "error_details": "long", "retryable": True, "retry_after_seconds": None}
                self.queue.do(fail_task, task["id"], **holder, **terms)
            elif end == "release":
                self.queue.do(release_task, task["id"], **holder, delay_seconds=600)

    def run(self):
        for day in range(DAYS):
            for _ in range(ROUNDS_A_DAY):
                self.clock.advance(seconds=_DAY / ROUNDS_A_DAY)
                # On a long weekend no housekeeping comes by; it then finds more than one slice.
                if day not in _QUIET_DAYS:
                    self.keep_house()
                for _ in range(TASKS_A_ROUND):
                    self.create()
                self.work_off()
            self.counts.append(self.count())

    def keep_house(self):
        with RecordedChanges(self.database) as changes:
            self.housekeeper.run(budget_seconds=60)
        for transaction in changes:
            assert all(rows <= bound for _, rows, bound in transaction), transaction

    def count(self):
        def read(tx):
            return {
                table.name: tx.execute(select(func.count()).select_from(table)).scalar_one()
                for table in metadata.sorted_tables
            }

        return self.database.read(read)


class RecordedChanges:
    """Collects how many rows each changing statement hit, transaction by transaction, and how many it may."""

    def __init__(self, database):
        self.engine = database.engine
        self.transactions = []
        self.is_open = False

    def __enter__(self):
        event.listen(self.engine, "after_cursor_execute", self.keep)
        return self.transactions

    def __exit__(self, *_):
        event.remove(self.engine, "after_cursor_execute", self.keep)

    def keep(self, _connection, cursor, statement, _parameters, _context, _many):
        verb, *words = statement.split()
        if verb in ("START", "BEGIN"):
            self.is_open = True
            self.transactions.append([])
        elif verb in ("COMMIT", "ROLLBACK"):
            self.is_open = False
        elif verb in ("UPDATE", "DELETE", "INSERT"):
            if not self.is_open:
                self.transactions.append([])
            is_detail = verb == "DELETE" and words[1] in ("task_logs", "attempts")
            bound = DETAILS_SLICE if is_detail else (USAGE_SLICE if "usage" in statement else SLICE)
            self.transactions[-1].append((statement[:60], cursor.rowcount, bound))


def test_a_month_under_constant_load_leaves_every_table_bounded(database, settings, clock):
    month = Month(database, settings, clock)
    month.run()
    created = DAYS * ROUNDS_A_DAY * TASKS_A_ROUND
    assert month.number == created
    assert min(month.ends[end] for end in ("complete", "fail", "release", "die")) > 50, month.ends
    counts = month.counts
    # What is kept in the steady state: the days of retention, and what is not finished yet.
    a_day = ROUNDS_A_DAY * TASKS_A_ROUND
    second_week, quiet, last_weeks = counts[7:13], counts[13:18], counts[22:]
    for table in counts[0]:
        before = max(day[table] for day in second_week)
        after = max(day[table] for day in last_weeks)
        # A twentieth more, since chance has its share in it.
        assert after <= before * 1.05 + 5, (table, before, after)
    assert max(day["tasks"] for day in last_weeks) <= (RETENTION_DAYS + 2) * a_day
    assert quiet[-1]["tasks"] > quiet[0]["tasks"] + SLICE
    assert {table for table, number in counts[-1].items() if number} >= {
        *("tasks", "attempts", "task_logs", "task_labels", "dependencies", "line_places", "idempotency_keys")
    }
    # When nothing new comes, nothing stays.
    for _ in range(3 * RETENTION_DAYS * ROUNDS_A_DAY):
        month.clock.advance(seconds=_DAY / ROUNDS_A_DAY)
        month.keep_house()
        month.work_off()
    unfinished = database.read(
        lambda tx: tx.all(select(tasks.c.status).where(tasks.c.status.not_in([int(status) for status in FINISHED])))
    )
    assert unfinished == []
    month.clock.advance(seconds=(RETENTION_DAYS + 1) * _DAY)
    month.keep_house()
    left = month.count()
    stays = ("task_types", "task_type_usage", "task_type_limits", "concurrency_keys", "counters", "duties", "api_keys")
    assert {table: number for table, number in left.items() if number and table not in stays} == {}
    # Only the usage of the type still knows of them.
    usage = database.read(lambda tx: tx.one(select(task_type_usage.c.usage_count)))
    assert usage == {"usage_count": created}
