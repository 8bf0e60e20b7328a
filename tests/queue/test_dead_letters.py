"""Dead letters: listed from the latest, counted by cause, purged."""

from datetime import timedelta

import pytest

from app.errors import NotADeadLetter, TaskNotFound
from app.lifecycle import TaskStatus
from app.queue import dead_letters
from app.queue.cancel import cancel_task
from app.queue.complete import complete_task
from app.queue.dead_letters import count_dead_letters, list_dead_letters, purge_dead_letter
from app.queue.due import do_what_is_due
from app.queue.filters import TaskFilter
from app.queue.requeue import requeue_task
from app.queue.tasks import read_task
from app.storage.models import dependencies
from tests.queue.test_operations import change_row
from tests.support.rows import add_rows, label_rows

FAILED = TaskStatus.FAILED
ALL = TaskFilter()


def walk(queue, which=ALL, *, limit):
    """Return the ids of all pages, one after the other."""
    found, below, pages = [], None, 0
    while pages == 0 or below is not None:
        page, below = queue.do(list_dead_letters, which, limit=limit, below=below)
        assert len(page) <= limit
        found += [row["id"] for row in page]
        pages += 1
        assert pages < 200
    return found


@pytest.mark.parametrize("limit", [1, 7, 20, 500])
def test_the_latest_come_first_whatever_their_type(queue, database, clock, limit):
    kinds = [queue.register(name) for name in ("a", "b", "empty")]
    dead = []
    for number in range(4):
        clock.advance(seconds=10)
        dead += add_rows(database, kinds[number % 2], FAILED, 5)
    add_rows(database, kinds[2], TaskStatus.COMPLETED, 5)
    assert walk(queue, limit=limit) == dead[::-1]
    assert walk(queue, TaskFilter(type="b"), limit=limit) == [*dead[5:10], *dead[15:20]][::-1]
    page, _ = queue.do(list_dead_letters, ALL, limit=1, below=None)
    assert page[0]["type"] == "b"


def test_thousands_that_died_at_the_same_instant_are_each_listed_once(queue, database, clock):
    kind = queue.register()
    rank = int(clock.instant.timestamp() * 1000)
    dead = add_rows(database, kind, FAILED, 1200, completed_at=clock.instant, claim_rank=rank)
    assert walk(queue, limit=500) == dead[::-1]
    assert walk(queue, limit=251) == dead[::-1]


def test_a_list_with_a_rare_filter_goes_on_page_by_page(queue, database, monkeypatch):
    monkeypatch.setattr(dead_letters, "_MAX_EXAMINED", 250)
    dead = add_rows(database, queue.register(), FAILED, 1100)
    label_rows(database, [dead[3], dead[700]], "tag:x")
    page, below = queue.do(list_dead_letters, TaskFilter(tag="x"), limit=10, below=None)
    assert page == [] and below is not None
    assert walk(queue, TaskFilter(tag="x"), limit=10) == [dead[700], dead[3]]
    assert walk(queue, TaskFilter(error_contains="nothing has this"), limit=10) == []


def test_a_list_ends_where_it_has_looked_far_enough_and_goes_on_right_behind(queue, database, monkeypatch):
    monkeypatch.setattr(dead_letters, "_MAX_EXAMINED", 500)
    add_rows(database, queue.register(), FAILED, 1100)
    dead = walk(queue, limit=500)
    _, below = queue.do(list_dead_letters, TaskFilter(tag="x"), limit=10, below=None)
    assert below[1] == dead[499]
    label_rows(database, dead[499:501], "tag:x")
    assert walk(queue, TaskFilter(tag="x"), limit=10) == dead[499:501]


def test_a_page_that_holds_all_there_is_has_no_next(queue, database):
    add_rows(database, queue.register(), FAILED, 300)
    dead, below = queue.do(list_dead_letters, ALL, limit=300, below=None)
    assert (len(dead), below) == (300, None)
    label_rows(database, [row["id"] for row in dead[:2]], "tag:x")
    page, below = queue.do(list_dead_letters, TaskFilter(tag="x"), limit=2, below=None)
    assert ([row["id"] for row in page], below) == ([row["id"] for row in dead[:2]], None)


def test_a_page_holds_what_was_found_far_apart(queue, database):
    dead = add_rows(database, queue.register(), FAILED, 1100)
    label_rows(database, [dead[3], dead[700], dead[701]], "tag:x")
    page, below = queue.do(list_dead_letters, TaskFilter(tag="x"), limit=10, below=None)
    assert ([row["id"] for row in page], below) == ([dead[701], dead[700], dead[3]], None)


def test_the_filters_of_an_operation_are_those_of_the_list(queue, database, clock):
    dead = add_rows(database, queue.register(), FAILED, 4)
    change_row(queue, dead[1], failure_reason="not_retryable", error_message="disk full")
    died_at = queue.do(read_task, dead[1])["completed_at"]
    around = {"failed_from": died_at, "failed_before": died_at + timedelta(milliseconds=1)}
    for which in ({"failure_reason": "not_retryable"}, {"error_contains": "sk fu"}, around):
        assert walk(queue, TaskFilter(**which), limit=10) == [dead[1]]


def test_dead_letters_are_counted_by_their_cause(queue, database, clock):
    work, other = queue.register("work"), queue.register("other")
    dead = add_rows(database, work, FAILED, 6)
    clock.advance(seconds=10)
    dead += add_rows(database, other, FAILED, 1)
    add_rows(database, work, TaskStatus.CANCELLED, 3)
    for task_id, error in zip(dead, ("disk full\nat a.py", "disk full\nat b.py", "Disk full", None), strict=False):
        change_row(queue, task_id, error_message=error)
    change_row(queue, dead[5], failure_reason="deadline_passed")
    causes, is_complete = queue.do(count_dead_letters, ALL)
    assert is_complete
    assert {(c.type, c.failure_reason, c.error): (c.count, c.example_id) for c in causes} == {
        ("work", "attempts_exhausted", "disk full"): (2, dead[1]),
        ("work", "attempts_exhausted", "Disk full"): (1, dead[2]),
        ("work", "attempts_exhausted", None): (1, dead[3]),
        ("work", "attempts_exhausted", "it broke"): (1, dead[4]),
        ("work", "deadline_passed", "it broke"): (1, dead[5]),
        ("other", "attempts_exhausted", "it broke"): (1, dead[6]),
    }
    assert causes[0].count == 2
    assert causes[0].latest_at == queue.do(read_task, dead[1])["completed_at"]
    causes, _ = queue.do(count_dead_letters, TaskFilter(type="other"))
    assert [(cause.type, cause.count) for cause in causes] == [("other", 1)]


def test_of_equal_first_lines_the_latest_is_the_example(queue, database):
    dead = add_rows(database, queue.register(), FAILED, 4)
    for number, (task_id, error) in enumerate(
        zip(dead, ("full\na\nx", "full\nb\ny", "gone\nb\nx", "gone\na\ny"), strict=True)
    ):
        completed_at = queue.do(read_task, task_id)["completed_at"] + timedelta(seconds=number)
        change_row(queue, task_id, error_message=error, completed_at=completed_at)
    causes, _ = queue.do(count_dead_letters, ALL)
    latest_at = {task_id: queue.do(read_task, task_id)["completed_at"] for task_id in dead}
    assert {(c.error, c.count, c.example_id, c.latest_at) for c in causes} == {
        ("full", 2, dead[1], latest_at[dead[1]]),
        ("gone", 2, dead[3], latest_at[dead[3]]),
    }


@pytest.mark.parametrize(("number", "is_all"), [(10_000, True), (10_002, False)])
def test_the_count_says_that_it_stopped_somewhere(queue, database, number, is_all):
    add_rows(database, queue.register(), FAILED, number)
    causes, is_complete = queue.do(count_dead_letters, ALL)
    assert (sum(cause.count for cause in causes), is_complete) == (10_000, is_all)


def test_the_count_says_that_it_has_not_come_to_the_last_types(queue, database, monkeypatch):
    monkeypatch.setattr(dead_letters, "_COUNTED_IN_ALL", 6)
    monkeypatch.setattr(dead_letters, "_MAX_GROUPS", 6)
    kinds = [queue.register(name) for name in ("a", "b", "c")]
    for kind in kinds[:2]:
        dead = add_rows(database, kind, FAILED, 3)
        for task_id in dead:
            change_row(queue, task_id, error_message=f"error {task_id}")
    causes, is_complete = queue.do(count_dead_letters, ALL)
    assert (len(causes), is_complete) == (6, True)
    add_rows(database, kinds[2], FAILED, 3)
    causes, is_complete = queue.do(count_dead_letters, ALL)
    assert (sum(cause.count for cause in causes), is_complete) == (6, False)


def test_one_dead_letter_is_purged(queue, database, clock):
    kind = queue.register()
    (old,) = add_rows(database, kind, FAILED, 1)
    clock.advance(seconds=61)
    assert queue.do(purge_dead_letter, old)
    with pytest.raises(TaskNotFound):
        queue.do(read_task, old)
    with pytest.raises(TaskNotFound):
        queue.do(purge_dead_letter, old)
    waiting = queue.create()
    for _ in range(2):
        with pytest.raises(NotADeadLetter):
            queue.do(purge_dead_letter, waiting["id"])
        queue.do(cancel_task, waiting["id"])


def test_a_new_dead_letter_is_purged_a_minute_later_and_can_be_requeued_until_then(queue, database, clock):
    (new,) = add_rows(database, queue.register(), FAILED, 1, created_at=clock.instant)
    assert not queue.do(purge_dead_letter, new)
    assert queue.do(read_task, new)["due_at"] == clock.instant + timedelta(seconds=60)
    assert queue.do(requeue_task, new)["due_at"] is None


def test_those_that_wait_for_a_dead_letter_that_is_purged_fail_with_it(queue, database, clock):
    kind = queue.register()
    first, second = add_rows(database, kind, FAILED, 2)
    edge = {"task_id": second, "depends_on_id": first, "on_failure": "fail", "is_met": True}
    database.write(lambda tx: tx.execute(dependencies.insert(), edge))
    assert queue.do(requeue_task, second)["status"] == TaskStatus.BLOCKED
    clock.advance(seconds=61)
    assert queue.do(purge_dead_letter, first)
    assert queue.do(read_task, second)["failure_reason"] == "dependency_failed"


def test_requeued_tasks_of_a_key_stand_in_its_line(queue, database):
    kind = queue.register(key_max_concurrency=1)
    made = [queue.create(concurrency_key="tenant-7")["id"] for _ in range(3)]
    for task_id in made:
        queue.do(cancel_task, task_id)
        while queue.do(do_what_is_due):
            pass
    for task_id in made:
        queue.do(requeue_task, task_id)
    claimed = queue.must_claim(kind)
    assert claimed["id"] == made[0]
    assert queue.claim(kind) is None
    token = claimed["lease_token"]
    queue.do(complete_task, claimed["id"], worker_id="w1", lease_token=token, result=None)
    assert queue.must_claim(kind)["id"] == made[1]
