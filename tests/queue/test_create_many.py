"""Create many: a result for each, a handful of statements, and nothing twice."""

import threading

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from app.errors import BatchRefused, QueueError
from app.lifecycle import TaskStatus
from app.queue.complete import complete_task
from app.queue.create_many import create_tasks
from app.queue.new_task import NewTask
from app.queue.tasks import list_tasks, read_task
from app.queue.workflows import Node, create_workflow, list_workflows
from app.storage.models import dependencies, line_places, task_labels
from tests.support.clock import ClockAhead
from tests.support.factories import Queue
from tests.support.faults import lose_the_answer
from tests.support.statements import counted_statements


def new(number=None, type_name="work", **more):
    return NewTask(type_name=type_name, params={} if number is None else {"n": number}, **more)


def test_each_task_gets_a_result_in_its_place(queue):
    queue.register(param_schema={"type": "object", "properties": {"n": {"type": "integer"}}})
    known = queue.create("work", {"n": 1})
    items = [new(0), new(1), new("x"), new(0, type_name="none"), new(3, depends_on=[10**12]), new(0), new(5)]
    results = queue.do(create_tasks, items)
    codes = [each.code if isinstance(each, QueueError) else each[1:] for each in results]
    assert codes == [
        (False, False),
        (True, False),
        "invalid_parameters",
        "task_type_not_found",
        "dependency_not_found",
        (True, False),
        (False, False),
    ]
    assert results[1].task["id"] == known["id"]
    assert results[5].task["id"] == results[0].task["id"]
    for created in (results[0], results[6]):
        read = queue.do(read_task, created.task["id"])
        assert {name: read[name] for name in created.task} == created.task
    assert len(queue.do(list_tasks, limit=10)) == 3


def test_all_or_none(queue):
    queue.register()
    with pytest.raises(BatchRefused) as refused:
        queue.do(create_tasks, [new(0), new(1, type_name="none"), new(2, depends_on=[10**12])], atomic=True)
    assert [detail["field"] for detail in refused.value.details] == ["tasks.1", "tasks.2.depends_on"]
    assert queue.do(list_tasks, limit=10) == []
    assert len(queue.do(create_tasks, [new(0), new(1)], atomic=True)) == 2


def test_of_many_faults_fifty_are_named(queue):
    with pytest.raises(BatchRefused) as refused:
        queue.do(create_tasks, [new(n, type_name="none") for n in range(60)], atomic=True)
    assert [detail["field"] for detail in refused.value.details] == [f"tasks.{n}" for n in range(50)]


def test_a_thousand_tasks_cost_a_handful_of_statements(queue, database):
    queue.register()
    queue.create()
    with counted_statements(database) as seen:
        results = queue.do(create_tasks, [new(f"many {number}") for number in range(1000)])
    assert len({created.task["id"] for created in results}) == 1000
    # BEGIN, types, equals, two chunks of inserts, two of ids, COMMIT.
    assert len(seen) == 8


def test_a_thousand_tasks_with_keys_and_labels_cost_a_handful_too(queue, database):
    queue.register(key_max_concurrency=1)
    queue.create("work", {"n": "warms the caches"})
    items = [
        new(number, concurrency_key=f"key {number % 500}", tags=["a"], metadata={"m": number}) for number in range(1000)
    ]
    with counted_statements(database) as seen:
        results = queue.do(create_tasks, items)
    assert len(seen) < 30
    assert sum(created.task["status"] == TaskStatus.PENDING for created in results) == 500
    assert len(queue.do(lambda tx: tx.all(task_labels.select()))) == 2000


def test_a_retried_batch_with_dedupe_makes_nothing_twice_at_once(queue, open_database, clock):
    queue.register()
    items = [new(number) for number in range(60)]
    made = []

    def work(number, order):
        # Whoever has met in a deadlock and runs again knows its own tasks by their instant, which is nobody else's.
        made.append(Queue(open_database(clock=ClockAhead(clock, seconds=number))).do(create_tasks, order))

    orders = (items, items[::-1], items[30:] + items[:30])
    threads = [threading.Thread(target=work, args=each) for each in enumerate(orders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 3
    assert len(queue.do(list_tasks, limit=1000)) == 60
    assert sum(not created.is_duplicate for results in made for created in results) == 60


def test_tasks_that_equal_no_other_are_all_created(queue):
    queue.register(dedupe="never")
    results = queue.do(create_tasks, [new(0)] * 5)
    assert len({created.task["id"] for created in results}) == 5


def test_no_task_of_a_batch_gets_in_under_a_schema_that_another_process_has_replaced(queue, open_database):
    queue.register()
    queue.create()
    strict = {"type": "object", "properties": {"n": {"type": "string"}}}
    Queue(open_database()).register(param_schema=strict)
    results = queue.do(create_tasks, [new(1), new("text")])
    assert isinstance(results[0], QueueError)
    assert not isinstance(results[1], QueueError)


LOST_AT = ["INSERT INTO tasks", "INSERT INTO dependencies", "INSERT INTO line_places", "COMMIT"]


def _needs_a_server(database_kind):
    if database_kind == "sqlite":
        pytest.skip("SQLite is a library: an answer cannot be lost")


@pytest.mark.parametrize("dedupe", ["never", "unfinished"])
@pytest.mark.parametrize("part", LOST_AT)
def test_a_batch_whose_answer_was_lost_is_created_once(queue, database_kind, part, dedupe):
    _needs_a_server(database_kind)
    queue.register(key_max_concurrency=1, dedupe=dedupe)
    first = queue.create()
    items = [new("a"), new("b", concurrency_key="k"), new("c", concurrency_key="k", depends_on=[first["id"]])]
    lost = lose_the_answer(queue.database, part)
    results = queue.do(create_tasks, items)
    assert lost
    assert [created[1:] for created in results] == [(False, False)] * 3
    assert len(queue.do(list_tasks, limit=10)) == 4
    assert [TaskStatus(created.task["status"]).word for created in results] == ["pending", "pending", "blocked"]
    assert len(queue.do(lambda tx: tx.all(dependencies.select()))) == 1
    assert len(queue.do(lambda tx: tx.all(line_places.select()))) == 1


def _complete(queue, task):
    token = task["lease_token"]
    queue.do(complete_task, task["id"], worker_id=task["claimed_by"], lease_token=token, result=None)


def test_a_batch_whose_answer_was_lost_makes_no_second_task_though_its_first_is_finished_by_then(
    queue, open_database, database_kind
):
    _needs_a_server(database_kind)
    kind = queue.register()
    other = Queue(open_database())
    lost = []

    def finish_and_lose(_connection, _cursor, statement, *_rest):
        if statement == "COMMIT" and not lost:
            lost.append(statement)
            _complete(other, other.must_claim(kind))
            raise OperationalError(statement, {}, Exception(2013, "Lost connection to server during query"))

    event.listen(queue.database.engine, "after_cursor_execute", finish_and_lose)
    (created,) = queue.do(create_tasks, [new("a")])
    (row,) = queue.do(list_tasks, limit=10)
    assert (created.task["id"], created.is_duplicate, row["status"]) == (row["id"], False, TaskStatus.COMPLETED)


def test_a_batch_that_is_done_again_does_not_take_what_has_finished_before_for_its_own(queue, database_kind, clock):
    _needs_a_server(database_kind)
    kind = queue.register()
    first = queue.create("work", {"n": "a"})
    _complete(queue, queue.must_claim(kind))
    clock.advance(seconds=1)
    lost = lose_the_answer(queue.database, "INSERT INTO tasks")
    (created,) = queue.do(create_tasks, [new("a")])
    assert lost
    assert not created.is_duplicate
    assert created.task["id"] > first["id"]


@pytest.mark.parametrize("options", [{"concurrency_key": "k"}, {}], ids=["with a key", "plain"])
def test_what_was_created_is_not_refused_though_its_answer_was_lost_and_its_type_changed(
    queue, open_database, clock, database_kind, options
):
    _needs_a_server(database_kind)
    queue.register()
    other = Queue(open_database(clock=ClockAhead(clock, seconds=1)))

    def change_and_lose(_connection, _cursor, statement, *_rest):
        if statement == "COMMIT" and not other.database.engine.pool.checkedin():
            other.register(param_schema={"type": "object", "required": ["url"]})
            queue.database.cache.clear()
            raise OperationalError(statement, {}, Exception(2013, "Lost connection to server during query"))

    event.listen(queue.database.engine, "after_cursor_execute", change_and_lose)
    (created,) = queue.do(create_tasks, [new("a", **options)])
    assert other.database.engine.pool.checkedin()
    (row,) = queue.do(list_tasks, limit=10)
    assert (created.task["id"], created.is_duplicate) == (row["id"], False)
    assert isinstance(queue.do(create_tasks, [new("b")])[0], QueueError)


@pytest.mark.parametrize("part", ["INSERT INTO workflows", *LOST_AT[:2], "UPDATE tasks SET extras", "COMMIT"])
def test_a_workflow_whose_answer_was_lost_is_created_once(queue, database_kind, part):
    _needs_a_server(database_kind)
    queue.register()
    nodes = [Node("a", new(1), ()), Node("b", new(2), ("a",))]
    lost = lose_the_answer(queue.database, part)
    workflow, ids = queue.do(create_workflow, "test", nodes)
    assert lost
    assert sorted(ids) == ["a", "b"]
    assert len(queue.do(list_tasks, limit=10)) == 2
    page, _ = queue.do(list_workflows, below_id=None, limit=10)
    assert [row["id"] for row in page] == [workflow["id"]]
    assert queue.do(read_task, ids["b"])["extras"] == {"workflow_id": workflow["id"], "depends_on": [ids["a"]]}


def test_a_workflow_of_one_task_whose_answer_was_lost_is_created_once(queue, database_kind):
    _needs_a_server(database_kind)
    queue.register()
    lost = lose_the_answer(queue.database, "COMMIT")
    workflow, ids = queue.do(create_workflow, "test", [Node("a", new(1), ())])
    assert lost
    assert queue.do(read_task, ids["a"])["extras"] == {"workflow_id": workflow["id"]}
    assert len(queue.do(list_tasks, limit=10)) == 1


def test_equal_tasks_of_a_batch_replace_each_other_in_their_order(queue):
    queue.register(on_duplicate="replace", dedupe="unfinished")
    first = queue.create("work", {"n": "x"})
    one, two, three = queue.do(create_tasks, [new("x", priority=1), new("x", delay_seconds=5), new("x", priority=3)])
    assert [created.is_replaced for created in (one, two, three)] == [True, True, True]
    stored = queue.do(read_task, first["id"])
    assert (stored["status"], stored["priority"]) == (TaskStatus.PENDING, 3)


@pytest.mark.parametrize("in_turn", [False, True])
def test_a_task_is_replaced_that_the_same_batch_has_just_admitted_to_its_place(queue, in_turn):
    queue.register(on_duplicate="replace", dedupe="unfinished", key_max_concurrency=1)
    tasks = [queue.create("work", {"n": n}, concurrency_key="k", priority=1)["id"] for n in range(2)]
    # In whatever order the database shows the equal tasks, they are met in that of the batch.
    numbers = [0, 1] if in_turn else [1, 0]
    results = queue.do(create_tasks, [new(n, concurrency_key="k", priority=-n) for n in numbers])
    assert [each.task["id"] for each in results] == [tasks[n] for n in numbers]
    assert [each.is_replaced for each in results] == [True, True]
    rows = [queue.do(read_task, task_id) for task_id in tasks]
    assert [row["priority"] for row in rows] == [0, -1]
    # Each gives its place to the other when it is replaced, and the last to be replaced is behind.
    last = rows[numbers[-1]]
    assert [row["id"] for row in rows if row["status"] == TaskStatus.BLOCKED] == [last["id"]]


def test_a_new_task_of_a_batch_is_replaced_by_the_next_equal_one(queue):
    queue.register(on_duplicate="replace", dedupe="unfinished")
    one, two = queue.do(create_tasks, [new("x"), new("x", priority=7)])
    assert (one.is_duplicate, two.is_replaced, two.task["id"]) == (False, True, one.task["id"])
    assert queue.do(read_task, one.task["id"])["priority"] == 7
