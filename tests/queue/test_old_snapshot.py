"""Claims while somebody keeps an old view of the database open, as a backup does.

MariaDB and MySQL cannot remove what that view still sees: the entries of claimed tasks stay in the index of claims,
marked as deleted, before those of the tasks that can be claimed. How long that takes is measured by
`python -m bench.old_snapshot`.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pymysql
import pytest
from sqlalchemy import make_url, text

from app.lifecycle import TaskStatus
from app.queue import floor
from app.queue.claim import IN_ORDER, claim_task, claimable, end_of, place_of
from app.queue.due import do_what_is_due
from app.queue.floor import find_floor, keep_floor, look_from_start
from app.queue.release import release_task
from app.queue.take import ClaimOrder
from app.queue.tasks import read_task
from app.settings import Settings
from app.storage.database import Row
from app.storage.models import tasks
from tests.support.factories import Queue
from tests.support.statements import counted_statements

HOUR = 3600
BEHIND = 300


@pytest.fixture
def queue(database) -> Queue:
    return Queue(database)


@pytest.fixture
def old_view(database_kind: str, settings: Settings) -> Iterator[None]:
    """A view of an empty queue that stays open for the whole test."""
    if database_kind == "sqlite":
        pytest.skip("SQLite removes entries at once, and keeps what an old view sees in its log")
    url = make_url(settings.database_url)
    connection = pymysql.connect(
        host=url.host, port=url.port or 3306, user=url.username, password=url.password or "", database=url.database
    )
    cursor = connection.cursor()
    cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    cursor.execute("SELECT COUNT(*) FROM tasks")
    yield
    connection.close()


@pytest.mark.usefixtures("old_view")
def test_a_claim_that_locks_passes_by_what_was_claimed_before(queue: Queue) -> None:
    type_id = queue.register(max_concurrency=100_000)
    for _ in range(BEHIND // 100 + 1):
        for _ in range(100):
            queue.create()
    for _ in range(BEHIND // 100):
        assert len(queue.claim_batch(type_id)) == 100

    def pages_looked_at(tx) -> int:
        return int(tx.execute(text("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_read_requests'")).one()[1])

    def claim(tx) -> int:
        before = pages_looked_at(tx)
        assert claim_task(tx, [type_id], ClaimOrder(worker_id="w")) is not None
        return pages_looked_at(tx) - before

    # Others use the server too, and what they look at is counted as well: but not always. The claims count what is
    # being worked on, too, which is in few pages; a locking read looks into one or two for each entry.
    assert min(queue.database.write(claim) for _ in range(20)) < BEHIND


@pytest.fixture
def type_id(queue: Queue) -> int:
    return queue.register()


@pytest.fixture
def floored(queue: Queue, type_id: int) -> Row:
    """A queue whose first tasks are claimed, with a floor behind them, as it is kept while looks are slow."""
    for _ in range(4):
        queue.create()
    for _ in range(2):
        queue.must_claim(type_id)
    return _keep_floor_at_head(queue, type_id)


def _keep_floor_at_head(queue: Queue, type_id: int) -> Row:
    head = queue.database.read(lambda tx: tx.one(claimable(tasks).order_by(*IN_ORDER)))
    queue.do(keep_floor, type_id, place_of(head), HOUR)
    return head


def test_a_task_below_the_floor_is_found_when_there_is_none_above(queue: Queue, type_id: int, floored: Row) -> None:
    above = [floored["id"], floored["id"] + 1]
    urgent = queue.create(priority=5)["id"]
    assert [queue.must_claim(type_id)["id"] for _ in range(3)] == [*above, urgent]
    assert queue.claim(type_id) is None


def test_the_order_is_strict_again_when_the_floor_is_no_longer_kept(queue: Queue, type_id: int, floored: Row) -> None:
    urgent = queue.create(priority=5)["id"]
    queue.do(keep_floor, type_id, place_of(floored), 0)
    assert [queue.must_claim(type_id)["id"] for _ in range(2)] == [urgent, floored["id"]]


def test_a_task_that_is_tried_again_is_found_below_the_floor(queue: Queue, type_id: int, floored: Row) -> None:
    for _ in range(2):
        queue.must_claim(type_id)
    returned = floored["id"] - 1
    task = queue.database.read(lambda tx: read_task(tx, returned))
    queue.do(release_task, returned, worker_id="w1", lease_token=task["lease_token"], delay_seconds=0)
    assert queue.must_claim(type_id)["id"] == returned


@pytest.mark.usefixtures("floored")
def test_a_batch_takes_what_is_below_the_floor_when_there_is_too_little_above(queue: Queue, type_id: int) -> None:
    urgent = queue.create(priority=5)["id"]
    claimed = [task["id"] for task in queue.claim_batch(type_id, max_tasks=10)]
    assert claimed[0] == urgent
    assert len(claimed) == 3


def test_a_batch_that_is_filled_above_the_floor_begins_there(queue: Queue, type_id: int, floored: Row) -> None:
    queue.create(priority=5)
    claimed = queue.claim_batch(type_id, max_tasks=2)
    assert [task["id"] for task in claimed] == [floored["id"], floored["id"] + 1]


def test_no_other_process_has_this_ones_floor(queue: Queue, type_id: int, floored: Row, open_database) -> None:
    urgent = queue.create(priority=5)["id"]
    other = Queue(open_database())
    assert other.must_claim(type_id)["id"] == urgent
    assert other.must_claim(type_id)["id"] == floored["id"]


@pytest.mark.parametrize("limits", [{"max_concurrency": 100}, {"rate_limit": "100/60"}])
def test_limits_hold_and_nothing_is_missed_with_a_floor(queue: Queue, limits: Row) -> None:
    type_id = queue.register(**limits)
    tasks_in_order = [queue.create()["id"] for _ in range(3)]
    _keep_floor_at_head(queue, type_id)
    urgent = queue.create(priority=5)["id"]
    assert [queue.must_claim(type_id)["id"] for _ in range(4)] == [*tasks_in_order, urgent]
    assert queue.claim(type_id) is None


def test_a_limit_that_is_reached_ends_a_claim_with_a_floor(queue: Queue) -> None:
    type_id = queue.register(max_concurrency=1)
    for _ in range(3):
        queue.create()
    queue.must_claim(type_id)
    _keep_floor_at_head(queue, type_id)
    with counted_statements(queue.database) as seen:
        assert queue.claim(type_id) is None
    assert len([statement for statement in seen if "FOR UPDATE" in statement or "BEGIN" in statement]) == 1


def test_claims_of_several_types_begin_at_their_floors_and_miss_nothing(queue: Queue) -> None:
    type_ids = [queue.register(name) for name in ("first", "second", "third")]
    in_order = [queue.create(name)["id"] for name in ("second", "first", "second")]
    for type_id, task_id in ((type_ids[0], in_order[1]), (type_ids[1], in_order[0])):
        queue.do(keep_floor, type_id, {"type_id": type_id, "rank": 0, "first_id": task_id}, HOUR)
    # A floor at the very end, as one has where nothing was found: what has come since is below.
    queue.do(keep_floor, type_ids[2], {"type_id": type_ids[2], "rank": 2**63 - 1, "first_id": 0}, HOUR)
    urgent = [queue.create(name, priority=5)["id"] for name in ("first", "third")]
    claimed = [queue.must_claim(*type_ids)["id"] for _ in range(5)]
    assert claimed[:3] == in_order
    assert claimed[3:] == urgent
    assert queue.claim(*type_ids) is None


def test_nothing_is_looked_for_behind_the_end(queue: Queue) -> None:
    """InnoDB would walk over all that is marked as deleted behind it, as it does from the start."""
    full, emptied = queue.register("full"), queue.register("emptied")
    made = [queue.create("full")["id"] for _ in range(2)]
    queue.must_claim(full, emptied)
    _keep_floor_at_head(queue, full)
    queue.do(keep_floor, emptied, end_of(emptied), HOUR)
    with counted_statements(queue.database) as seen:
        assert queue.must_claim(full, emptied)["id"] == made[1]
    looks = [statement for statement in seen if statement.startswith("SELECT") and "claim_rank" in statement]
    # The one that finds the type of the head, and the one that claims it.
    assert len(looks) == 2
    assert queue.claim(full, emptied) is None
    late = queue.create("emptied")["id"]
    assert [task["id"] for task in queue.claim_batch(full, emptied)] == [late]


def test_a_batch_of_several_types_takes_all_that_there_is(queue: Queue) -> None:
    type_ids = [queue.register(name) for name in ("first", "second", "third")]
    expected = [queue.create(name)["id"] for name in ("first", "second", "first", "third")]
    queue.do(keep_floor, type_ids[0], {"type_id": type_ids[0], "rank": 0, "first_id": expected[2]}, HOUR)
    queue.do(keep_floor, type_ids[2], {"type_id": type_ids[2], "rank": 0, "first_id": expected[3] + 1}, HOUR)
    claimed = queue.claim_batch(*type_ids, max_tasks=10)
    assert [task["id"] for task in claimed] == expected


def test_a_floor_is_kept_after_slow_looks_that_are_quick_from_there_and_not_before(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floor, "monotonic", lambda: clock[0])
    # However slow this computer is.
    monkeypatch.setattr(floor, "_KEPT_FOR", HOUR)
    looked: list[Any] = []
    clock = [0.0]

    def look(place: Any) -> list[Row]:
        looked.append(place)
        clock[0] += 1.0 if place is None else quick
        return [{"id": 7}]

    def ask(number: int) -> None:
        for _ in range(number):
            found = queue.database.read(lambda tx: look_from_start(tx, "x", look, lambda rows: rows[0]["id"]))
            assert found == [{"id": 7}]

    quick = 0.9
    ask(10 * floor.SLOW_LOOKS)
    assert queue.database.read(lambda tx: find_floor(tx, "x")) is None
    assert len([place for place in looked if place is not None]) * 10 <= len(looked)
    quick = 0.1
    ask(2 * floor.SLOW_LOOKS)
    assert queue.database.read(lambda tx: find_floor(tx, "x")) == 7


@pytest.fixture
def slow_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look from the start counts as slow, and one from a floor as quick."""
    monkeypatch.setattr(floor, "SLOW_SECONDS", -1.0)
    monkeypatch.setattr(floor, "_GAIN", 0.0)
    monkeypatch.setattr(floor, "_KEPT_FOR", 10**9)


def test_claims_keep_the_floor_at_the_first_task_that_they_see(queue: Queue, slow_looks: None) -> None:
    type_id = queue.register()
    for _ in range(2):
        queue.create()
    first = queue.must_claim(type_id)
    looks = floor.SLOW_LOOKS + floor.COMPARISONS
    for _ in range(looks - 1):
        assert queue.database.read(lambda tx: find_floor(tx, type_id)) is None
        queue.do(release_task, first["id"], worker_id="w1", lease_token=None, delay_seconds=0)
        assert queue.must_claim(type_id)["id"] == first["id"]
    assert queue.database.read(lambda tx: find_floor(tx, type_id)) == place_of(first)


def test_claims_of_an_empty_queue_keep_the_floor_at_its_end_or_where_it_was(queue: Queue, slow_looks: None) -> None:
    empty, emptied = queue.register("empty"), queue.register("emptied")
    task = queue.create("emptied")
    queue.must_claim(emptied)
    queue.do(keep_floor, emptied, place_of(task), HOUR)
    for _ in range(floor.SLOW_LOOKS + floor.COMPARISONS):
        assert queue.claim(empty) is None
        assert queue.claim(emptied) is None
    at_end = queue.database.read(lambda tx: find_floor(tx, empty))
    assert (at_end["type_id"], at_end["rank"]) == (empty, 2**63 - 1)
    assert queue.database.read(lambda tx: find_floor(tx, emptied)) == place_of(task)
    made = [queue.create(name)["id"] for name in ("empty", "emptied")]
    assert [queue.must_claim(type_id)["id"] for type_id in (empty, emptied)] == made


@pytest.mark.parametrize("is_due", [False, True])
def test_housekeeping_keeps_the_floor_at_what_was_due_first_or_at_its_own_time(
    queue: Queue, clock, slow_looks: None, is_due: bool
) -> None:
    queue.register()
    for _ in range(floor.SLOW_LOOKS + floor.COMPARISONS - 1):
        assert queue.do(do_what_is_due) == 0
    first_due_at = clock.instant + timedelta(seconds=10)
    if is_due:
        queue.create(delay_seconds=10)
    clock.advance(seconds=20)
    assert queue.do(do_what_is_due) == is_due
    expected = first_due_at if is_due else clock.instant
    assert queue.database.read(lambda tx: find_floor(tx, "due")) == expected


def test_what_is_due_below_the_floor_is_done_when_it_is_no_longer_kept(queue: Queue, clock) -> None:
    queue.register()
    first = queue.create(delay_seconds=10)
    second = queue.create(delay_seconds=20)
    queue.do(keep_floor, "due", second["due_at"], HOUR)
    clock.advance(seconds=30)
    assert queue.do(do_what_is_due) == 1
    assert queue.database.read(lambda tx: read_task(tx, second["id"]))["status"] == TaskStatus.PENDING
    queue.do(keep_floor, "due", clock.instant, 0)
    assert queue.do(do_what_is_due) == 1
    assert queue.database.read(lambda tx: read_task(tx, first["id"]))["status"] == TaskStatus.PENDING
