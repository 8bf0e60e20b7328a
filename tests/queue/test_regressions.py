"""Faults that were found once, each as it was found."""

import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from app.errors import Invalid, LastAdminKey, LeaseLost
from app.housekeeping import Housekeeper
from app.lifecycle import FailureReason, TaskStatus
from app.queue.attempts import list_attempts
from app.queue.complete import complete_task
from app.queue.create import create_task
from app.queue.due import SLICE, do_what_is_due
from app.queue.fail import fail_task
from app.queue.idempotency import RepeatableRequest, answer_once
from app.queue.keys import create_key, find_key, has_admin_key, list_keys, revoke_key
from app.queue.new_task import NewTask
from app.queue.register import change_type
from app.queue.release import release_task
from app.queue.task_types import find_type, read_type
from app.queue.tasks import list_tasks, read_page, read_task
from app.queue.usage import SLICE as USAGE_SLICE
from app.queue.usage import read_watermark
from tests.support.factories import Queue
from tests.support.statements import counted_statements


@pytest.fixture
def rerun_once(database, database_kind):
    """Let the commit, or the update, of the next work be done and its answer be lost."""

    def lose(part):
        lost = []

        def raise_after(_connection, _cursor, statement, *_rest):
            if part in statement and not lost:
                lost.append(statement)
                if database_kind == "sqlite":
                    raise _locked(statement)
                raise _gone(statement)

        event.listen(database.engine, "after_cursor_execute", raise_after)
        return lost

    return lose


def _locked(statement):
    return OperationalError(statement, {}, Exception("database is locked"))


def _gone(statement):
    return OperationalError(statement, {}, Exception(2013, "Lost connection to server during query"))


def _complete(queue, task, token=True, result=None):
    lease_token = task["lease_token"] if token is True else token
    queue.do(complete_task, task["id"], worker_id="w1", lease_token=lease_token, result=result)


def test_finished_tasks_that_cannot_be_removed_yet_hold_nothing_up(queue, clock):
    kind = queue.register("short", retention_seconds=0)
    queue.register("delayed")
    for _ in range(SLICE + 10):
        queue.create("short")
    while (task := queue.claim(kind)) is not None:
        _complete(queue, task)
    delayed = queue.create("delayed", delay_seconds=2)
    clock.advance(seconds=5)
    while queue.do(do_what_is_due):
        pass
    assert queue.do(read_task, delayed["id"])["status"] == TaskStatus.PENDING


def test_a_locked_row_that_is_due_holds_no_claim_up(queue, client, open_database, database_kind, clock):
    if database_kind == "sqlite":
        pytest.skip("SQLite has no row locks")
    queue.register("a")
    queue.register("b")
    due = queue.create("a", delay_seconds=1)
    other = queue.create("a", delay_seconds=1)
    clock.advance(seconds=1)
    with open_database().engine.connect() as connection:
        connection.exec_driver_sql("START TRANSACTION")
        connection.exec_driver_sql(f"UPDATE tasks SET progress = 1 WHERE id = {due['id']}")
        began = time.monotonic()
        answer = client.post("/api/tasks/claim", json={"worker_id": "w", "types": ["b"]})
        assert (answer.status_code, time.monotonic() - began < 2) == (404, True)
        connection.exec_driver_sql("ROLLBACK")
    assert queue.do(read_task, other["id"])["status"] == TaskStatus.PENDING


@pytest.mark.parametrize("sort_by", [None, "id"])
def test_many_overdue_tasks_are_given_up_in_slices_on_the_way_to_the_first_good_one(queue, clock, sort_by):
    kind = queue.register(expires_after_seconds=10)
    for _ in range(450):
        queue.create()
    clock.advance(seconds=10)
    fresh = queue.create()
    with counted_statements(queue.database) as seen:
        claimed = None
        for _ in range(10):
            claimed = claimed or queue.claim(kind, sort_by=sort_by)
    assert claimed is not None
    assert claimed["id"] == fresh["id"]
    if sort_by is None:
        assert len(seen) < 60


def test_a_full_type_does_not_hide_another_from_a_claim_in_its_own_order(queue):
    full, free = queue.register("full", max_concurrency=1), queue.register("free")
    for _ in range(120):
        queue.create("full")
    wanted = queue.create("free")
    queue.must_claim(full)
    assert queue.must_claim(full, free, sort_by="created_at")["id"] == wanted["id"]


def test_a_late_report_is_kept_with_its_own_attempt(queue, clock):
    kind = queue.register()
    queue.create()
    first = queue.must_claim(kind)
    clock.advance(seconds=300)
    queue.do(do_what_is_due)
    second = queue.must_claim(kind)
    clock.advance(seconds=300)
    queue.do(do_what_is_due)
    queue.must_claim(kind, worker_id="w2")
    for task, result in ((second, "second"), (first, "first")):
        with pytest.raises(LeaseLost):
            _complete(queue, task, result=result)
    reports = [attempt["late_report"]["result"] for attempt in queue.do(list_attempts, first["id"])]
    assert reports == ["first", "second"]


@pytest.mark.parametrize("token", [True, None])
def test_a_report_whose_answer_was_lost_succeeds_with_and_without_a_token(queue, rerun_once, database_kind, token):
    if database_kind == "sqlite":
        pytest.skip("SQLite is a library: an answer cannot be lost")
    kind = queue.register(retry_delay_seconds=0)
    for verb, part, terms in (
        (complete_task, "UPDATE tasks", {"result": 1}),
        (fail_task, "COMMIT", {"error": "x", "retryable": True, "retry_after_seconds": None}),
        (release_task, "COMMIT", {"delay_seconds": 0}),
    ):
        queue.create()
        task = queue.must_claim(kind)
        lost = rerun_once(part)
        lease_token = task["lease_token"] if token else None
        queue.do(verb, task["id"], worker_id="w1", lease_token=lease_token, **terms)
        assert lost
        assert len(queue.do(list_attempts, task["id"])) == (verb is not complete_task)
        if verb is fail_task:
            queue.must_claim(kind, worker_id="w2")


def test_whether_a_finished_task_still_counts_is_said_by_the_policy_of_now(queue):
    kind = queue.register(dedupe="forever")
    new = NewTask(type_name="work", params={})
    first = queue.do(create_task, new).task
    _complete(queue, queue.must_claim(kind))
    assert queue.do(create_task, new)[1]
    queue.register(dedupe="unfinished")
    second, is_duplicate, _ = queue.do(create_task, new)
    assert (is_duplicate, second["id"] == first["id"]) == (False, False)


@pytest.mark.parametrize("dedupe", ["never", "unfinished"])
def test_a_create_whose_answer_was_lost_is_done_once_even_if_its_task_is_finished_by_then(
    queue, open_database, dedupe, database_kind
):
    if database_kind == "sqlite":
        pytest.skip("SQLite is a library: an answer cannot be lost")
    kind = queue.register(dedupe=dedupe)
    other = Queue(open_database())
    lost = []

    def finish_and_lose(_connection, _cursor, statement, *_rest):
        if "INSERT INTO tasks" in statement and not lost:
            lost.append(statement)
            _complete(other, other.must_claim(kind))
            raise _gone(statement)

    event.listen(queue.database.engine, "after_cursor_execute", finish_and_lose)
    task, is_duplicate, _ = queue.do(create_task, NewTask(type_name="work", params={}))
    assert (task["status"], is_duplicate) == (TaskStatus.COMPLETED, False)
    assert len(queue.do(list_tasks, limit=9)) == 1


def test_two_admins_who_revoke_each_other_at_once_leave_one(queue, open_database, clock):
    ids = [queue.do(create_key, name="a", scopes=["admin"])[1]["id"] for _ in range(2)]
    outcomes = []

    def revoke(database, key_id):
        try:
            database.write(lambda tx: revoke_key(tx, key_id))
            outcomes.append("revoked")
        except LastAdminKey:
            outcomes.append("kept")

    threads = [threading.Thread(target=revoke, args=(open_database(), key_id)) for key_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == ["kept", "revoked"]
    assert queue.do(has_admin_key)


def test_a_name_that_is_registered_at_once_makes_one_type_at_any_isolation(open_database, database_kind):
    if database_kind == "sqlite":
        pytest.skip("one writer at a time")
    ids, errors = [], []

    def register():
        database = open_database()
        event.listen(
            database.engine,
            "connect",
            lambda connection, _record: connection.cursor().execute(
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
            ),
        )
        try:
            ids.append(Queue(database).register("same"))
        except Exception as error:
            errors.append(error)

    for _ in range(3):
        threads = [threading.Thread(target=register) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert (len(set(ids)), errors) == (1, [])


def test_all_old_answers_and_all_usage_are_worked_off_in_one_round(queue, settings, clock):
    queue.register(dedupe="never")
    for number in range(SLICE + 5):
        answer_once(queue.database, RepeatableRequest(1, str(number), "h"), lambda tx: (201, {}))

    def many(tx):
        for _ in range(USAGE_SLICE + 5):
            tx.nonce = f"{number_of_task():032x}"
            create_task(tx, NewTask(type_name="work", params={}))

    numbers = iter(range(10**6))
    number_of_task = numbers.__next__
    queue.database.write(many)
    clock.advance(seconds=settings.idempotency_seconds + 61)
    Housekeeper(queue.database, settings).run(budget_seconds=30)
    last = queue.do(list_tasks, limit=1)[0]["id"]
    assert queue.do(read_watermark) == last
    left = queue.database.read(lambda tx: tx.execute(text("SELECT COUNT(*) FROM idempotency_keys")).scalar_one())
    assert left == 0


def test_a_claim_by_pattern_reads_its_types_in_one_statement(queue):
    ids = [queue.register(f"type {number}") for number in range(30)]
    queue.database.cache.clear()
    with counted_statements(queue.database) as seen:
        assert queue.claim(*ids) is None
    assert len(seen) == 3  # The types, the signals, the first tasks.


def test_a_type_changed_elsewhere_does_not_stop_a_create_with_an_idempotency_key(queue, open_database):
    queue.register(param_schema={"type": "object"})
    queue.create()
    elsewhere = Queue(open_database())
    changed = []

    def work(tx):
        find_type(tx, "work")
        if not changed and tx.dialect.name != "sqlite":
            changed.append(elsewhere.do(change_type, "work", {"max_attempts": 9}))
        task = create_task(tx, NewTask(type_name="work", params={"a": 1})).task
        return 201, {"id": task["id"]}

    queue.database.cache.clear()
    assert answer_once(queue.database, RepeatableRequest(1, "k", "h"), work)[0] == 201


def test_a_deadline_must_leave_time_for_a_start(queue, clock):
    queue.register()
    for deadline, delay in ((0, None), (-5, None), (10, 10), (10, 3600)):
        with pytest.raises(Invalid, match="deadline_at"):
            queue.create(deadline_at=clock.instant + timedelta(seconds=deadline), delay_seconds=delay)


def test_a_deadline_ends_a_task_that_was_released_for_later(queue, clock):
    kind = queue.register()
    queue.create(deadline_at=clock.instant + timedelta(seconds=10))
    task = queue.must_claim(kind)
    queue.do(release_task, task["id"], worker_id="w1", lease_token=task["lease_token"], delay_seconds=3600)
    clock.advance(seconds=10)
    while queue.do(do_what_is_due):
        pass
    dead = queue.do(read_task, task["id"])
    assert (dead["status"], dead["failure_reason"]) == (TaskStatus.FAILED, FailureReason.DEADLINE_PASSED)


def test_a_holder_may_complete_after_lease_and_deadline_when_nobody_took_over(queue, clock):
    kind = queue.register()
    queue.create(deadline_at=clock.instant + timedelta(seconds=400))
    task = queue.must_claim(kind)
    for seconds in (300, 100):
        clock.advance(seconds=seconds)
        queue.do(do_what_is_due)
    assert queue.do(read_task, task["id"])["failure_reason"] == FailureReason.DEADLINE_PASSED
    _complete(queue, task, result="late, but nobody else did it")
    assert queue.do(read_task, task["id"])["status"] == TaskStatus.COMPLETED


def test_registering_the_same_again_changes_nothing(queue, clock):
    queue.register(max_attempts=4)
    before = queue.do(read_type, "work")
    clock.advance(seconds=1)
    queue.register(max_attempts=4)
    assert queue.do(read_type, "work") == before


def test_a_task_that_was_claimed_and_failed_since_it_was_seen_is_not_taken_as_it_was(queue, open_database):
    kind = queue.register(retry_delay_seconds=0)
    queue.create()
    other = Queue(open_database())
    done = []

    def claim_and_fail(_connection, _cursor, statement, *_rest):
        if "UPDATE tasks" in statement and not done:
            done.append(1)
            task = other.must_claim(kind, worker_id="w2")
            other.do(
                fail_task,
                task["id"],
                worker_id="w2",
                lease_token=task["lease_token"],
                error="x",
                retryable=True,
                retry_after_seconds=None,
            )

    event.listen(queue.database.engine, "before_cursor_execute", claim_and_fail)
    task = queue.must_claim(kind)
    assert (task["attempts"], task["error_message"]) == (2, "x")
    assert task == queue.told_of(task["id"])


def test_a_page_of_large_tasks_ends_early_and_goes_on(queue):
    queue.register()
    made = [queue.create(params={"n": number, "text": "x" * 3_000_000})["id"] for number in range(5)]
    seen, below = [], None
    for _ in range(5):
        page, below = queue.do(read_page, limit=5, include=["params"], below_id=below)
        assert len(page) <= 2
        seen += [row["id"] for row in page]
        assert all(len(row["params"]["text"]) == 3_000_000 for row in page)
        if below is None:
            break
    assert seen == made[::-1]


def test_a_held_limit_does_not_hold_up_other_types(queue, open_database, database_kind):
    if database_kind == "sqlite":
        pytest.skip("SQLite has no row locks")
    limited, free = queue.register("limited", max_concurrency=5), queue.register("free")
    queue.create("limited", priority=9)
    wanted = queue.create("free")
    with open_database().engine.connect() as connection:
        connection.exec_driver_sql("START TRANSACTION")
        connection.exec_driver_sql(f"SELECT * FROM task_type_limits WHERE type_id = {limited} FOR UPDATE")
        began = time.monotonic()
        assert queue.must_claim(limited, free)["id"] == wanted["id"]
        assert time.monotonic() - began < 3
        connection.exec_driver_sql("ROLLBACK")


def test_a_key_whose_commit_was_not_answered_is_made_once(queue, rerun_once, database_kind):
    if database_kind == "sqlite":
        pytest.skip("SQLite is a library: an answer cannot be lost")
    lost = rerun_once("COMMIT")
    secret, row = queue.database.write(lambda tx: create_key(tx, name="k", scopes=["read"]))
    assert lost
    assert [key["id"] for key in queue.do(list_keys)] == [row["id"]]
    assert queue.do(find_key, secret) is not None
