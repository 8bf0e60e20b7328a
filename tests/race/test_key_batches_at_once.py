"""Batches of many workers at once: the limits per concurrency key hold, and nothing is left over in the lines."""

import threading
from collections import Counter

import pytest
from sqlalchemy import select

from app.lifecycle import TaskStatus
from app.queue.create_many import create_tasks
from app.queue.due import do_what_is_due
from app.queue.line import admit_due
from app.queue.new_task import NewTask
from app.queue.report_batch import Report
from app.storage.models import tasks as all_tasks
from tests.race.test_many_workers import WORKERS, run_at_once
from tests.support.factories import Queue
from tests.support.soundness import check_now, let_all_end

KEYS = ("a", "b", "c", None)
BATCHES = 3
OF_A_BATCH = 4
ROUNDS = 25


@pytest.mark.parametrize(
    ("policies", "most_at_once", "most_claims"),
    [
        ({"key_max_concurrency": 2}, 2, None),
        ({"key_order": "round_robin"}, None, None),
        ({"key_order": "round_robin", "key_max_concurrency": 2}, 2, None),
        ({"key_rate_limit": "5/3600"}, None, 5),
    ],
    ids=str,
)
def test_batches_of_many_workers_exceed_no_limit_and_leave_nothing_over(
    queue, open_database, clock, policies, most_at_once, most_claims
):
    kind = queue.register(max_attempts=1000, dedupe="never", **policies)
    lock = threading.Lock()
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    claims: Counter[str] = Counter()
    done: Counter[int] = Counter()

    def work(number):
        mine = Queue(open_database())
        worker_id = f"w{number}"
        for batch in range(BATCHES):
            keys = [KEYS[(number + batch + place) % len(KEYS)] for place in range(OF_A_BATCH)]
            created = mine.do(create_tasks, [NewTask(type_name="work", params={}, concurrency_key=key) for key in keys])
            assert all(isinstance(outcome.task["id"], int) for outcome in created)
        for _ in range(ROUNDS):
            tasks = mine.claim_batch(kind, worker_id=worker_id, max_tasks=5)
            of_key = Counter(key for task in tasks if (key := (task["extras"] or {}).get("concurrency_key")))
            with lock:
                running.update(of_key)
                claims.update(of_key)
                for key in of_key:
                    most[key] = max(most[key], running[key])
            # Before the report, for once that is in another may have the next.
            with lock:
                running.subtract(of_key)
            if tasks:
                reports = [
                    Report(task_id=task["id"], lease_token=task["lease_token"], is_success=True) for task in tasks
                ]
                assert set(mine.report(*reports, worker_id=worker_id)) == {"completed"}
                with lock:
                    done.update(task["id"] for task in tasks)
            else:
                mine.do(do_what_is_due)
                mine.do(admit_due)

    run_at_once([lambda number=number: work(number) for number in range(WORKERS)])
    assert set(done.values()) <= {1}, "completed twice"
    check_now(queue)
    if most_at_once is not None:
        assert max(most[key] for key in KEYS if key) <= most_at_once
    if most_claims is not None:
        assert set(claims.values()) == {most_claims}
    let_all_end(queue, clock)
    states = queue.do(lambda tx: Counter(TaskStatus(row["status"]).word for row in tx.all(select(all_tasks.c.status))))
    assert states == {"completed": WORKERS * BATCHES * OF_A_BATCH}
