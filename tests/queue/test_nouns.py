"""Task types, usage, keys, lists, and the answers to Idempotency-Keys."""

from datetime import timedelta

import pytest

from app.errors import IdempotencyKeyReused, KeyNotFound, LastAdminKey, TaskTypeNotFound
from app.lifecycle import TaskStatus
from app.policies import Policies
from app.queue.complete import complete_task
from app.queue.create import create_task
from app.queue.due import do_what_is_due
from app.queue.idempotency import RepeatableRequest, answer_once, remove_old_answers
from app.queue.keys import Scope, change_key, create_key, find_key, has_admin_key, revoke_key
from app.queue.new_task import NewTask
from app.queue.register import change_type, register_type
from app.queue.task_types import find_type, list_types, read_type
from app.queue.tasks import list_tasks, read_page, read_task
from app.queue.usage import count_usage, read_usage
from tests.support.factories import Queue
from tests.support.faults import interrupt


def test_a_policy_left_out_at_a_second_registration_stays(queue):
    queue.register("a", max_attempts=7)
    queue.register("A")
    row = queue.do(read_type, "a")
    assert (row["name"], row["max_attempts"], row["revision"]) == ("A", 7, 2)


def _register(queue, **given):
    terms = {"name": "new", "version": "1", "param_schema": {"type": "object"}, "policies": {}, "defaults": Policies()}
    return queue.database.write(lambda tx: register_type(tx, **{**terms, **given}))


def test_a_type_is_new_once(queue):
    assert [_register(queue, policies={"max_attempts": number})[1] for number in (3, 4)] == [True, False]


@pytest.mark.parametrize("database_kind", ["mariadb"])
def test_a_type_that_somebody_else_registers_in_the_same_moment_is_theirs(queue, open_database):
    other = Queue(open_database())
    met = interrupt(queue.database, "INSERT INTO task_types", lambda: _register(other, policies={"max_attempts": 3}))
    row, is_new = _register(queue, policies={"max_attempts": 4})
    assert met
    assert (row["max_attempts"], row["revision"], is_new) == (4, 2, False)


def test_a_change_is_seen_at_once_in_the_process_that_made_it(queue):
    queue.register("a", max_attempts=7)
    assert queue.do(find_type, "a").policies.max_attempts == 7
    queue.do(change_type, "a", {"max_attempts": 8})
    queue.database.cache.clear()
    assert queue.do(find_type, "a").policies.max_attempts == 8
    with pytest.raises(TaskTypeNotFound):
        queue.do(change_type, "b", {})


def test_task_types_are_listed_in_the_order_asked_for(queue):
    for name in ("b", "a", "c"):
        queue.register(name, is_active=name != "c")
    assert [row["name"] for row in queue.do(list_types, active_only=False, sort_by="name", descending=True)] == [
        "c",
        "b",
        "a",
    ]
    assert [row["name"] for row in queue.do(list_types, active_only=True, sort_by="id", descending=False)] == ["b", "a"]


def test_usage_is_exact_before_and_after_it_is_counted_and_outlives_the_tasks(queue, clock):
    kind, other = queue.register("work", retention_seconds=0), queue.register("other")
    queue.create("other")
    last = None
    for _ in range(3):
        clock.advance(seconds=1)
        last = queue.create()
    expected = {kind: (3, last["created_at"]), other: (1, last["created_at"] - timedelta(seconds=3))}

    def seen():
        return {key: (row["usage_count"], row["last_used_at"]) for key, row in queue.do(read_usage).items()}

    assert seen() == expected
    assert queue.do(count_usage) == 0  # Too young: an older id could still be on its way.
    for _ in range(3):
        task = queue.must_claim(kind)
        queue.do(complete_task, task["id"], worker_id="w1", lease_token=task["lease_token"], result=None)
    clock.advance(seconds=61)
    while queue.do(do_what_is_due):
        pass
    assert [row["type"] for row in queue.do(list_tasks, limit=9)] == ["other"]
    assert seen() == expected
    queue.create("other")
    assert seen()[other] == (2, clock.instant)


def test_a_task_is_not_removed_before_it_is_counted(queue, clock):
    kind = queue.register(retention_seconds=0)
    queue.create()
    task = queue.must_claim(kind)
    queue.do(complete_task, task["id"], worker_id="w1", lease_token=task["lease_token"], result=None)
    clock.advance(seconds=5)
    assert queue.do(do_what_is_due) == 1  # It is put off.
    assert queue.do(do_what_is_due) == 0
    assert queue.do(read_task, task["id"])["status"] == TaskStatus.COMPLETED
    clock.advance(seconds=60)
    assert queue.do(do_what_is_due) == 1
    assert queue.do(list_tasks, limit=9) == []
    assert queue.do(read_usage)[kind]["usage_count"] == 1


def test_tasks_are_listed_newest_first_and_filtered(queue, clock):
    kind = queue.register("check_sum")
    queue.register("checkXsum")
    old = queue.create("check_sum")
    clock.advance(seconds=10)
    other = queue.create("checkXsum", delay_seconds=5)
    queue.must_claim(kind, worker_id="ann")

    def ids(**filters):
        return [row["id"] for row in queue.do(list_tasks, limit=10, **filters)]

    assert ids() == [other["id"], old["id"]]
    assert ids(statuses=[TaskStatus.SCHEDULED]) == [other["id"]]
    assert ids(statuses=[]) == []
    assert ids(type_name="check_sum") == [old["id"]]
    assert ids(type_name="CHECK%") == [other["id"], old["id"]]
    assert ids(type_name="nothing") == []
    assert ids(worker_id="ann") == [old["id"]]
    assert ids(worker_id="Ann") == []
    assert ids(created_from=clock.instant) == [other["id"]]
    assert ids(created_before=clock.instant) == [old["id"]]
    assert ids(below_id=other["id"]) == [old["id"]]
    assert ids(offset=1) == [old["id"]]
    assert "params" not in queue.do(list_tasks, limit=1)[0]
    assert queue.do(read_page, limit=1, include=["params"])[0][0]["params"] == other["params"]


def test_a_key_is_found_by_itself_only_and_only_its_hash_is_stored(queue, clock):
    secret, row = queue.do(create_key, name="k", scopes=["worker", "producer"])
    assert secret not in str(row)
    key = queue.do(find_key, secret)
    assert key.is_usable(clock.instant)
    assert [scope for scope in Scope if key.may(scope)] == [Scope.PRODUCER, Scope.WORKER, Scope.READ]
    assert queue.do(find_key, secret + "x") is None


def test_a_key_ceases_to_work_when_it_expires_or_is_revoked(queue, clock):
    end = clock.instant + timedelta(days=1)
    secret, row = queue.do(create_key, name="k", scopes=["read"], expires_at=end)
    key = queue.do(find_key, secret)
    assert (key.is_usable(clock.instant), key.is_usable(end)) == (True, False)
    queue.do(change_key, row["id"], {"expires_at": None})
    queue.database.cache.clear()
    assert queue.do(find_key, secret).is_usable(end)
    queue.do(revoke_key, row["id"])
    queue.database.cache.clear()
    assert not queue.do(find_key, secret).is_usable(clock.instant)
    with pytest.raises(KeyNotFound):
        queue.do(revoke_key, 987654321)


def test_the_last_admin_key_stays(queue, clock):
    assert not queue.do(has_admin_key)
    _, first = queue.do(create_key, name="a", scopes=["admin"])
    _, second = queue.do(create_key, name="b", scopes=["admin"])
    assert queue.do(has_admin_key)
    queue.do(revoke_key, first["id"])
    with pytest.raises(LastAdminKey):
        queue.do(revoke_key, second["id"])
    with pytest.raises(LastAdminKey):
        queue.do(change_key, second["id"], {"expires_at": clock.instant})


def test_a_repeated_request_gets_the_first_answer_even_when_the_task_has_moved_on(queue):
    kind = queue.register(dedupe="never")
    request = RepeatableRequest(1, "key", "hash")

    def work(tx):
        task = create_task(tx, NewTask(type_name="work", params={})).task
        return 201, {"id": task["id"]}

    first = answer_once(queue.database, request, work)
    queue.must_claim(kind)
    assert answer_once(queue.database, request, work) == first
    assert len(queue.do(list_tasks, limit=9)) == 1
    with pytest.raises(IdempotencyKeyReused):
        answer_once(queue.database, RepeatableRequest(1, "key", "other hash"), work)
    assert answer_once(queue.database, RepeatableRequest(2, "key", "hash"), work) != first


def test_when_the_work_fails_its_key_is_free_again(queue):
    request = RepeatableRequest(1, "key", "hash")

    def fail(tx):
        raise TaskTypeNotFound

    with pytest.raises(TaskTypeNotFound):
        answer_once(queue.database, request, fail)
    assert answer_once(queue.database, request, lambda tx: (201, {})) == (201, {})


def test_two_requests_with_one_key_at_once_are_done_once(queue, open_database):
    queue.register(dedupe="never")
    request = RepeatableRequest(1, "key", "hash")
    other = open_database()

    def work(tx):
        task = create_task(tx, NewTask(type_name="work", params={})).task
        return 201, {"id": task["id"]}

    answers = []
    original = queue.database.write

    def write_after_the_other(work, **options):
        queue.database.write = original
        answers.append(answer_once(other, request, work_of_other))
        return original(work, **options)

    work_of_other = work
    queue.database.write = write_after_the_other
    answers.append(answer_once(queue.database, request, work))
    assert answers[0] == answers[1]
    assert len(queue.do(list_tasks, limit=9)) == 1


def test_kept_answers_are_removed_after_their_time(queue, clock):
    request = RepeatableRequest(1, "key", "hash")
    answer_once(queue.database, request, lambda tx: (201, {"n": 1}))
    clock.advance(seconds=3599)
    assert queue.do(remove_old_answers, 3600) == 0
    clock.advance(seconds=1)
    assert queue.do(remove_old_answers, 3600) == 1
    assert answer_once(queue.database, request, lambda tx: (201, {"n": 2})) == (201, {"n": 2})
