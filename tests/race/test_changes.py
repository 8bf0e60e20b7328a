"""Priorities are changed, logs are written and heartbeats sent while workers claim and complete: nobody is lost."""

import random
from threading import Thread

from sqlalchemy import func, select

from app.errors import TaskNotClaimed, TaskNotWaiting
from app.lifecycle import TaskStatus
from app.queue.change import change_task
from app.queue.complete import complete_task
from app.queue.heartbeat import report_progress
from app.queue.logs import LogLine, add_logs
from app.storage.models import task_logs, tasks
from tests.support.factories import Queue

TASKS = 60
WORKERS = 3
TRIES = 2000


def _run(*works):
    failures = []

    def guarded(work):
        try:
            work()
        except Exception as error:
            failures.append(error)

    threads = [Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_priorities_that_change_while_workers_claim_lose_no_task_and_touch_no_ended_one(queue, open_database):
    kind = queue.register()
    ids = [queue.create()["id"] for _ in range(TASKS)]
    done = []

    def change():
        mine, chance = Queue(open_database()), random.Random(4711)
        for _ in range(TRIES):
            if len(done) == TASKS:
                return
            try:
                mine.do(change_task, chance.choice(ids), priority=chance.randrange(-9, 9))
            except TaskNotWaiting:
                continue

    def work(number):
        mine = Queue(open_database())
        for _ in range(TRIES):
            if len(done) == TASKS:
                return
            # None is found while the last one is just being changed.
            if (task := mine.claim(kind, worker_id=f"w{number}")) is None:
                continue
            holder = {"worker_id": f"w{number}", "lease_token": task["lease_token"]}
            mine.do(add_logs, task["id"], **holder, lines=[LogLine(level="info", message="x")])
            mine.do(complete_task, task["id"], **holder, result=None)
            done.append(task["id"])

    _run(change, *(lambda number=number: work(number) for number in range(WORKERS)))
    assert sorted(done) == sorted(ids)
    rows = queue.do(lambda tx: tx.all(select(tasks.c.status, tasks.c.claim_rank)))
    assert {row["status"] for row in rows} == {TaskStatus.COMPLETED}
    # The rank of what has ended is the time of its end, whatever its priority was.
    assert all(row["claim_rank"] > 10**12 for row in rows)


def test_a_worker_that_logs_from_several_threads_while_it_completes_stops_in_good_order(queue, open_database):
    kind = queue.register()
    queue.create()
    task = queue.must_claim(kind)
    holder = {"worker_id": "w1", "lease_token": task["lease_token"]}
    written = []

    def write():
        mine = Queue(open_database())
        try:
            for number in range(TRIES):
                mine.do(add_logs, task["id"], **holder, lines=[LogLine(level="info", message="x")])
                written.append(1)
                mine.do(report_progress, task["id"], **holder, progress=number % 100, message=None, result=number)
        except TaskNotClaimed:
            return

    def complete():
        mine = Queue(open_database())
        for number in range(50):
            mine.do(report_progress, task["id"], **holder, progress=number, message=None)
        mine.do(complete_task, task["id"], **holder, result="all")

    _run(write, write, complete)
    assert queue.do(lambda tx: tx.execute(select(func.count()).select_from(task_logs)).scalar_one()) == len(written)
    row = queue.do(lambda tx: tx.one(select(tasks)))
    assert (row["status"], row["result"], row["progress"]) == (TaskStatus.COMPLETED, "all", 100)
