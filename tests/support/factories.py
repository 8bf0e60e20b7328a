"""Makes what a test is not about: task types, tasks and claims, with only what the test says."""

from typing import Any

from app.policies import Policies
from app.queue.claim import claim_task
from app.queue.create import create_task
from app.queue.new_task import NewTask
from app.queue.register import register_type
from app.queue.take import ClaimOrder
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

    def do(self, verb: Any, *arguments: Any, **options: Any) -> Any:
        """Run a verb of the queue as a request would."""
        return self.database.write(lambda tx: verb(tx, *arguments, **options), atomic=False)
