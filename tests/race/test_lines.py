"""Lines: workers that claim and complete tasks of the same concurrency key do not stop each other."""

import logging
import threading
import time

import pytest

from app.queue.complete import complete_task
from app.queue.create_many import create_tasks
from app.queue.new_task import NewTask
from tests.support.factories import Queue


@pytest.mark.parametrize("limit", [{"key_max_concurrency": 4}, {"key_rate_limit": "5000/60"}])
def test_workers_of_the_same_keys_meet_in_no_deadlock(database, open_database, caplog, limit):
    queue = Queue(database)
    kind = queue.register(**limit)
    news = [NewTask(type_name="work", params={"n": n}, concurrency_key="ab"[n % 2]) for n in range(120)]
    queue.do(create_tasks, news)
    done = []
    give_up_at = time.monotonic() + 30

    def work(name):
        own = Queue(open_database())
        while len(done) < len(news) and time.monotonic() < give_up_at:
            task = own.claim(kind, worker_id=name)
            if task is not None:
                own.do(complete_task, task["id"], worker_id=name, lease_token=task["lease_token"], result=None)
                done.append(task["id"])

    workers = [threading.Thread(target=work, args=(f"w{n}",), daemon=True) for n in range(6)]
    with caplog.at_level(logging.WARNING, "taskmanager.database"):
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert sorted(done) == sorted(set(done))
    assert len(done) == len(news)
    assert [record.getMessage() for record in caplog.records if "Deadlock" in record.getMessage()] == []
