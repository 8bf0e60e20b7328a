"""Makes what a test is not about: task types, tasks and claims, with only what the test says."""

from typing import Any

from app.lifecycle import TaskStatus
from app.policies import Policies
from app.queue.claim import claim_task
from app.queue.claim_batch import claim_tasks
from app.queue.create import create_task
from app.queue.new_task import NewTask
from app.queue.register import register_type
from app.queue.report_batch import Report, apply_reports
from app.queue.take import ClaimOrder
from app.queue.tasks import read_task
from app.storage.database import Database, Row

ANYTHING = {"type": "object"}


class Queue:
    """The verbs of the queue on one database, each as its own request would run it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def register(self, name: str = "work", *, param_schema: Row = ANYTHING, **policies: Any) -> int:
        """Register a task type and return its id."""
        flags = {key: policies.pop(key) for key in ("is_active", "is_paused", "result_schema") if key in policies}
        defaults = {"retry_jitter": 0.0, **policies}
        row, _ = self.database.write(
            lambda tx: register_type(
                tx,
                name=name,
                version="1",
                param_schema=param_schema,
                policies=defaults,
                defaults=Policies(),
                **flags,
            )
        )
        self.database.cache.clear()
        return int(row["id"])

    def create(self, type_name: str = "work", params: Row | None = None, **options: Any) -> Row:
        """Create a task and return its row; each has parameters of its own unless the test gives some."""
        self._number = getattr(self, "_number", 0) + 1
        new = NewTask(type_name=type_name, params={"n": self._number} if params is None else params, **options)
        return self.database.write(lambda tx: create_task(tx, new), atomic=False)[0]

    def claim(self, *type_ids: int, worker_id: str = "w1", **options: Any) -> Row | None:
        """Claim a task of these types."""
        order = ClaimOrder(worker_id=worker_id, **options)
        return self.database.write(lambda tx: claim_task(tx, type_ids, order), atomic=False)

    def must_claim(self, *type_ids: int, worker_id: str = "w1", **options: Any) -> Row:
        """Claim a task that must be there."""
        task = self.claim(*type_ids, worker_id=worker_id, **options)
        assert task is not None
        return task

    def told_of(self, task_id: int) -> Row:
        """Return the row of a claimed task as its worker is told of it."""
        row = self.do(read_task, task_id)
        del row["dedupe_hash"]
        return row

    def claim_batch(self, *type_ids: int, max_tasks: int = 100, worker_id: str = "w1", **options: Any) -> list[Row]:
        """Claim up to so many tasks of these types."""
        order = ClaimOrder(worker_id=worker_id, **options)
        return self.database.write(lambda tx: claim_tasks(tx, type_ids, order, max_tasks), atomic=False)

    def report(self, *reports: Report, worker_id: str = "w1") -> list[Any]:
        """Report on many tasks; the verdicts are the words of statuses and the codes of errors."""
        verdicts = self.database.write(lambda tx: apply_reports(tx, worker_id, reports), atomic=False)
        return [verdict.word if isinstance(verdict, TaskStatus) else verdict.code for verdict in verdicts]

    def do(self, verb: Any, *arguments: Any, **options: Any) -> Any:
        """Run a verb of the queue as a request would."""
        return self.database.write(lambda tx: verb(tx, *arguments, **options), atomic=False)
