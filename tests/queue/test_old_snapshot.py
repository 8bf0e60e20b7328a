"""Claims while somebody keeps an old view of the database open, as a backup does.

MariaDB and MySQL cannot remove what that view still sees: the entries of claimed tasks stay in the index of claims,
marked as deleted, before those of the tasks that can be claimed. How long that takes is measured by
`python -m bench.old_snapshot`.
"""

from collections.abc import Iterator

import pymysql
import pytest
from sqlalchemy import make_url, text

from app.queue.claim import claim_task
from app.queue.take import ClaimOrder
from app.settings import Settings
from tests.support.factories import Queue

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
