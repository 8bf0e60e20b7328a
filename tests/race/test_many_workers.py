"""Many workers at once: none of the tasks is lost, none is claimed twice, no limit is exceeded."""

import threading
from collections import Counter

from app.errors import QueueError
from app.lifecycle import TaskStatus
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.create import create_task
from app.queue.due import do_what_is_due
from app.queue.new_task import NewTask
from app.queue.report_batch import Report
from app.queue.tasks import list_tasks
from tests.support.factories import Queue

WORKERS = 6


def run_at_once(functions) -> None:
    """Run all at once and raise the first error of any."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_every_task_is_claimed_once_and_completed_once(queue, open_database):
    kinds = [queue.register(name) for name in ("a", "b")]
    for number in range(60):
        queue.create("ab"[number % 2], priority=number % 3)
    done: Counter[int] = Counter()

    def work(number):
        mine = Queue(open_database())
        selectors = ([kinds[0]], [kinds[1]], kinds)
        for selector in selectors[number % 3 :] + selectors[: number % 3]:
            terms = {"sort_by": "id", "descending": True} if number == WORKERS - 1 else {}
            while (task := mine.claim(*selector, worker_id=f"w{number}", **terms)) is not None:
                done[task["id"]] += 1
                token = task["lease_token"]
                mine.do(complete_task, task["id"], worker_id=f"w{number}", lease_token=token, result=None)

    run_at_once([lambda number=number: work(number) for number in range(WORKERS)])
    assert len(done) == 60
    assert set(done.values()) == {1}
    states = Counter(task["status"] for task in queue.do(list_tasks, limit=1000))
    assert states == {TaskStatus.COMPLETED: 60}


def test_equal_creates_at_once_all_succeed_with_one_task(queue, open_database):
    queue.register()
    answers = []

    def work():
        mine = Queue(open_database())
        for number in range(10):
            answers.append((number, *mine.do(create_task, NewTask(type_name="work", params={"n": number}))[:2]))

    run_at_once([work] * WORKERS)
    for number in range(10):
        of_number = [(task["id"], is_duplicate) for at, task, is_duplicate in answers if at == number]
        assert len({task_id for task_id, _ in of_number}) == 1
        assert [is_duplicate for _, is_duplicate in of_number].count(False) == 1


def test_a_limit_holds_whatever_the_number_of_workers(queue, open_database):
    kind = queue.register(max_concurrency=3, rate_limit="7/60")
    for _ in range(30):
        queue.create()
    lock = threading.Lock()
    state = {"running": 0, "most": 0, "claims": 0}

    def work(number):
        mine = Queue(open_database())
        for _ in range(20):
            task = mine.claim(kind, worker_id=f"w{number}")
            if task is None:
                continue
            with lock:
                state["claims"] += 1
                state["running"] += 1
                state["most"] = max(state["most"], state["running"])
            with lock:
                state["running"] -= 1
            token = task["lease_token"]
            mine.do(complete_task, task["id"], worker_id=f"w{number}", lease_token=token, result=None)

    run_at_once([lambda number=number: work(number) for number in range(WORKERS)])
    assert state["claims"] == 7
    assert 1 <= state["most"] <= 3


def test_registering_one_name_at_once_makes_one_type(queue, open_database):
    ids = []

    def work():
        ids.append(Queue(open_database()).register("same"))

    run_at_once([work] * WORKERS)
    assert len(set(ids)) == 1


def _done(tasks):
    return [Report(task_id=task["id"], lease_token=task["lease_token"], is_success=True) for task in tasks]


def test_every_task_is_claimed_once_and_completed_once_in_batches_of_any_size(queue, open_database):
    kinds = [queue.register(name) for name in ("a", "b")]
    for number in range(300):
        queue.create("ab"[number % 2], priority=number % 3)
    done: Counter[int] = Counter()

    def work(number):
        mine = Queue(open_database())
        selectors = ([kinds[0]], [kinds[1]], kinds)
        for selector in selectors[number % 3 :] + selectors[: number % 3]:
            terms = {"sort_by": "id", "descending": True} if number == WORKERS - 1 else {}
            size = (1, 7, 100, 20, 3, 10)[number]
            while batch := mine.claim_batch(*selector, worker_id=f"w{number}", max_tasks=size, **terms):
                assert len(batch) <= size
                done.update(task["id"] for task in batch)
                assert set(mine.report(*_done(batch), worker_id=f"w{number}")) == {"completed"}

    run_at_once([lambda number=number: work(number) for number in range(WORKERS)])
    assert len(done) == 300
    assert set(done.values()) == {1}
    states = Counter(task["status"] for task in queue.do(list_tasks, limit=1000))
    assert states == {TaskStatus.COMPLETED: 300}


def test_no_batch_claim_comes_back_empty_while_there_are_tasks_for_all(queue, open_database):
    kind = queue.register()
    for _ in range(10 * WORKERS):
        queue.create()
    together = threading.Barrier(WORKERS)
    sizes = []

    def work():
        mine = Queue(open_database())
        mine.claim_batch(queue.register("other"))
        together.wait(30)
        sizes.append(len(mine.claim_batch(kind, max_tasks=10)))

    queue.register("other")
    run_at_once([work] * WORKERS)
    assert sizes == [10] * WORKERS


def test_a_limit_holds_under_batch_claims_whatever_the_number_of_workers(queue, open_database):
    kind = queue.register(max_concurrency=5, rate_limit="23/60")
    for _ in range(60):
        queue.create()
    lock = threading.Lock()
    state = {"running": 0, "most": 0, "claims": 0}

    def work(number):
        mine = Queue(open_database())
        for _ in range(15):
            batch = mine.claim_batch(kind, worker_id=f"w{number}", max_tasks=1 + number)
            with lock:
                state["claims"] += len(batch)
                state["running"] += len(batch)
                state["most"] = max(state["most"], state["running"])
            with lock:
                state["running"] -= len(batch)
            if batch:
                assert set(mine.report(*_done(batch), worker_id=f"w{number}")) == {"completed"}

    run_at_once([lambda number=number: work(number) for number in range(WORKERS)])
    assert state["claims"] == 23
    assert 1 <= state["most"] <= 5


def test_reports_in_batches_meet_expiry_cancels_and_single_reports_and_each_task_ends_once(queue, open_database, clock):
    kind = queue.register(lease_seconds=60, max_attempts=1)
    for _ in range(60):
        queue.create()
    batch = queue.claim_batch(kind, max_tasks=60)
    clock.advance(seconds=60)
    together = threading.Barrier(4)
    heard: dict[str, dict[int, str]] = {"batch": {}, "single": {}, "cancel": {}}

    def report():
        mine = Queue(open_database())
        together.wait(30)
        for first in range(0, 60, 20):
            part = batch[first : first + 20]
            heard["batch"].update(zip((t["id"] for t in part), mine.report(*_done(part)), strict=True))

    def each(name, of_tasks, verb, **terms):
        def work():
            mine = Queue(open_database())
            together.wait(30)
            for task in of_tasks:
                try:
                    more = {"lease_token": task["lease_token"], **terms} if terms else {}
                    mine.do(verb, task["id"], **more)
                    heard[name][task["id"]] = "done"
                except QueueError as error:
                    heard[name][task["id"]] = error.code

        return work

    def expire():
        mine = Queue(open_database())
        together.wait(30)
        for _ in range(5):
            mine.do(do_what_is_due)

    run_at_once(
        [
            report,
            each("single", batch[::-1], complete_task, worker_id="w1", result=None),
            each("cancel", batch[5::10], cancel_task),
            expire,
        ]
    )
    for row in queue.do(list_tasks, limit=100):
        if row["status"] == TaskStatus.CANCELLED:
            assert heard["cancel"][row["id"]] == "done"
            assert "completed" not in (heard["batch"][row["id"]], heard["single"][row["id"]])
        else:
            # An expired attempt that nobody took over may be completed, and the same report twice is no fault.
            assert row["status"] == TaskStatus.COMPLETED
            assert (heard["batch"][row["id"]], heard["single"][row["id"]]) == ("completed", "done")
            assert heard["cancel"].get(row["id"], "task_finished") == "task_finished"
