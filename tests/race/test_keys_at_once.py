"""Many workers and producers at once: the limits per concurrency key hold, and no task is forgotten in a line."""

import threading
import time
from collections import Counter, defaultdict

import pytest

from app.lifecycle import TaskStatus
from app.queue.complete import complete_task
from app.queue.due import do_what_is_due
from app.queue.fail import fail_task
from app.queue.line import admit_due
from app.queue.tasks import list_tasks
from tests.race.test_many_workers import run_at_once
from tests.support.factories import Queue

WORKERS = 6
KEYS = ("a", "b", None)


@pytest.mark.parametrize("policies", [{}, {"key_order": "round_robin"}, {"key_rate_limit": "9000/60"}], ids=str)
def test_a_limit_per_key_holds_whatever_the_number_of_workers(queue, open_database, policies):
    kind = queue.register(key_max_concurrency=2, max_attempts=1000, retry_delay_seconds=0, **policies)
    each = 12
    lock = threading.Lock()
    running: Counter[str | None] = Counter()
    most: Counter[str | None] = Counter()
    done: Counter[int] = Counter()
    give_up_at = time.monotonic() + 60

    def work(number):
        mine = Queue(open_database())
        for made in range(each):
            key = KEYS[(number + made) % len(KEYS)]
            mine.create("work", {"of": number, "n": made}, concurrency_key=key)
        while sum(done.values()) < WORKERS * each and time.monotonic() < give_up_at:
            task = mine.claim(kind, worker_id=f"w{number}")
            if task is None:
                mine.do(do_what_is_due)
                mine.do(admit_due)
                continue
            key = (task["extras"] or {}).get("concurrency_key")
            with lock:
                running[key] += 1
                most[key] = max(most[key], running[key])
            holder = {"worker_id": f"w{number}", "lease_token": task["lease_token"]}
            fails = task["attempts"] == 1 and task["id"] % 5 == 0
            with lock:
                running[key] -= 1
                done[task["id"]] += not fails
            if fails:
                mine.do(fail_task, task["id"], **holder, error="x", retryable=True, retry_after_seconds=None)
            else:
                mine.do(complete_task, task["id"], **holder, result=None)

    run_at_once([lambda number=number: work(number) for number in range(WORKERS)])
    assert sum(done.values()) == WORKERS * each
    assert set(done.values()) == {1}
    assert most["a"] <= 2
    assert most["b"] <= 2
    states = Counter(TaskStatus(task["status"]).word for task in queue.do(list_tasks, limit=1000))
    assert states == {"completed": WORKERS * each}


def test_a_rate_per_key_holds_whatever_the_number_of_workers(queue, open_database):
    kind = queue.register(key_rate_limit="5/3600")
    claims: defaultdict[str, list[int]] = defaultdict(list)

    def work(number):
        mine = Queue(open_database())
        for made in range(6):
            mine.create("work", {"of": number, "n": made}, concurrency_key="ab"[made % 2])
        for _ in range(15):
            task = mine.claim(kind, worker_id=f"w{number}")
            if task is not None:
                claims[task["extras"]["concurrency_key"]].append(task["id"])
                token = task["lease_token"]
                mine.do(complete_task, task["id"], worker_id=f"w{number}", lease_token=token, result=None)

    run_at_once([lambda number=number: work(number) for number in range(WORKERS)])
    assert {key: len(ids) for key, ids in claims.items()} == {"a": 5, "b": 5}
    assert len(set(claims["a"] + claims["b"])) == 10
