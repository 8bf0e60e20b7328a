"""A backup that is taken under load is one moment of the queue, and a server on it goes on from there."""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text

from app.lifecycle import TaskStatus
from app.settings import Settings
from app.storage.database import Database, Row
from tests.backup.conftest import Installation
from tests.backup.load import TYPES, Acknowledged, Caller, load, wait_until
from tests.support.factories import ANYTHING

LEASE_SECONDS = 3
KEY_LIMIT = 2

# What may never be found, each as a question for the tasks or rows that break it.
BREACHES = {
    "a place in line without a task": "SELECT task_id FROM line_places WHERE task_id NOT IN (SELECT id FROM tasks)",
    "a place in line without a key": (
        "SELECT task_id FROM line_places WHERE key_id NOT IN (SELECT id FROM concurrency_keys)"
    ),
    "a place in line of a finished task": (
        "SELECT task_id FROM line_places JOIN tasks ON tasks.id = task_id "
        # Until its alarm has rung, which it sets for now.
        "WHERE tasks.status > 4 AND due_at > completed_at"
    ),
    "an admitted task that waits": (
        "SELECT task_id FROM line_places JOIN tasks ON tasks.id = task_id WHERE is_admitted AND tasks.status < 3"
    ),
    "a task in line that is not blocked": (
        "SELECT task_id FROM line_places JOIN tasks ON tasks.id = task_id WHERE NOT is_admitted AND tasks.status <> 1"
    ),
    "a key with more than its limit": (
        f"SELECT key_id FROM line_places WHERE is_admitted GROUP BY key_id HAVING COUNT(*) > {KEY_LIMIT}"
    ),
    "a dependency without a task": "SELECT task_id FROM dependencies WHERE task_id NOT IN (SELECT id FROM tasks)",
    "a dependency on nothing": "SELECT task_id FROM dependencies WHERE depends_on_id NOT IN (SELECT id FROM tasks)",
    "a blocked task that waits for nothing": (
        "SELECT id FROM tasks WHERE status = 1 AND id NOT IN (SELECT task_id FROM dependencies WHERE NOT is_met) "
        "AND id NOT IN (SELECT task_id FROM line_places)"
    ),
    "a task that runs too early": (
        "SELECT id FROM tasks WHERE status IN (3, 4, 5) AND id IN (SELECT task_id FROM dependencies WHERE NOT is_met)"
    ),
    "a label without a task": "SELECT task_id FROM task_labels WHERE task_id NOT IN (SELECT id FROM tasks)",
    "a task without its label": "SELECT id FROM tasks WHERE id NOT IN (SELECT task_id FROM task_labels)",
    "a claim without a lease": "SELECT id FROM tasks WHERE status = 4 AND (lease_token IS NULL OR due_at IS NULL)",
    "a result without its end": "SELECT id FROM tasks WHERE status = 5 AND (completed_at IS NULL OR result IS NULL)",
}


def test_a_backup_under_load_is_one_moment_and_the_queue_goes_on_from_it(
    original: Installation,
    copy: Installation,
    admin_key: str,
    back_up: Callable[[], Path],
    restore: Callable[[Path], None],
) -> None:
    server = original.start(admin_key)
    with Caller(server.url, admin_key) as caller:
        for name in TYPES:
            type_body = {"name": name, "version": "1", "param_schema": ANYTHING, "lease_seconds": LEASE_SECONDS}
            limits = {"key_max_concurrency": KEY_LIMIT} if name == "keyed" else {}
            caller.must("POST", "/task-types/register", {**type_body, **limits})
        revoked = caller.must("POST", "/keys", {"name": "to be revoked", "scopes": ["worker"]})
        quiet = {"type": "quiet", "tags": ["quiet"]}
        with load(server.url, admin_key) as seen:
            caller.must("POST", "/tasks", {**quiet, "params": {"n": 1}})
            held = _claim_quiet(caller, seen)
            redone = caller.must("POST", "/tasks", {**quiet, "params": {"n": 2}})["id"]
            wait_until(lambda: len(seen.created) > 40 and len(seen.completed) > 10)
            began = time.monotonic()
            file = back_up()
            ended = time.monotonic()
            caller.must("DELETE", f"/keys/{revoked['id']}")
            token = _claim_quiet(caller, seen, redone)["lease_token"]
            assert _complete(caller, redone, "worker-8", token) == 200
            highest = max(seen.created)
            wait_until(lambda: sum(task_id > highest for task_id in seen.completed.copy()) > 10)
    original.stop()

    restore(file)
    again = copy.run("setup_database.py")
    assert again.returncode == 0 and "There is an admin key already" in again.stdout, again
    checked = copy.run("check_setup.py")
    assert checked.returncode == 0, checked.stdout
    restored = _read(copy)
    _check_moment(seen, restored, began, ended)

    server = copy.start(admin_key)
    with Caller(server.url, admin_key) as caller:
        for name in TYPES:
            of_type = sum(row["type"] == name for row in restored.values())
            assert caller.must("GET", f"/task-types/{name}")["usage_count"] == of_type
        completed = _speak_with_old_tokens(caller, seen, restored)
        completed += _work_off(caller)
    # A key is what it was at that moment: the revocation came later, and has to be repeated.
    with Caller(server.url, revoked["key"]) as caller:
        assert caller.claim("worker-0", "plain") is None
    unfinished = [task_id for task_id, row in restored.items() if row["status"] != TaskStatus.COMPLETED]
    assert all(completed[task_id] == 1 for task_id in unfinished)
    assert set(completed).isdisjoint(set(restored) - set(unfinished))
    assert {row["status"] for row in _read(copy).values()} == {TaskStatus.COMPLETED}
    # What was completed after that moment has been done a second time: at least once.
    assert {held["id"], redone} <= set(unfinished)


def _read(copy: Installation) -> dict[int, Row]:
    database = Database(Settings(database_url=copy.url))
    for breach, question in BREACHES.items():
        found = database.read(lambda tx, question=question: tx.all(text(question)))
        assert not found, (breach, found)
    rows = database.read(
        lambda tx: tx.all(
            text(
                "SELECT tasks.id, tasks.status, tasks.lease_token, tasks.params, tasks.result, task_types.name AS type "
                "FROM tasks JOIN task_types ON task_types.id = tasks.type_id"
            )
        )
    )
    database.dispose()
    return {row["id"]: row for row in rows}


def _check_moment(seen: Acknowledged, restored: dict[int, Row], began: float, ended: float) -> None:
    """Assert that all is there that was acknowledged before, and that the load went on before, meanwhile and after."""
    created = [task_id for task_id, at in seen.created.items() if at < began]
    completed = [task_id for task_id, at in seen.completed.items() if at < began]
    for task_id in created:
        assert json.loads(restored[task_id]["params"]) == {"n": seen.numbers[task_id]}
    for task_id in completed:
        assert restored[task_id]["status"] == TaskStatus.COMPLETED
        assert json.loads(restored[task_id]["result"]) == task_id
    assert any(began < at < ended for at in seen.created.values())
    assert any(at > ended and task_id not in restored for task_id, at in seen.created.items())


def _speak_with_old_tokens(caller: Caller, seen: Acknowledged, restored: dict[int, Row]) -> Counter[int]:
    """Report with the tokens of the time before; return what was completed so, once each."""
    completed: Counter[int] = Counter()
    refused = 0
    for task_id, (_, worker_id, token) in seen.claimed.items():
        row = restored.get(task_id)
        if row is None or row["status"] == TaskStatus.COMPLETED:
            continue
        if row["lease_token"] == token:
            # The claim was made before: its worker may go on.
            assert [_complete(caller, task_id, worker_id, token) for _ in range(2)] == [200, 200]
            completed[task_id] += 1
        else:
            assert _complete(caller, task_id, worker_id, token) == 409
            refused += 1
    assert refused and completed

    highest = max(restored)
    # Their numbers are given to other tasks now, which the same workers claim.
    reused = {task_id for task_id in seen.claimed if task_id > highest}
    for number in range(len(seen.created)):
        new = caller.must(
            "POST", "/tasks", {"type": "plain", "params": {"new": number}, "priority": 10**6, "tags": ["x"]}
        )
        if new["id"] in reused:
            break
    _, worker_id, old_token = seen.claimed[new["id"]]
    while (task := caller.claim(worker_id, "plain")) is not None and task["id"] != new["id"]:
        assert _complete(caller, task["id"], worker_id, task["lease_token"]) == 200
        completed[task["id"]] += 1
    assert task is not None
    assert _complete(caller, task["id"], worker_id, old_token) == 409
    assert caller.must("GET", f"/tasks/{task['id']}")["status"] == "claimed"
    assert _complete(caller, task["id"], worker_id, task["lease_token"]) == 200
    completed[task["id"]] += 1
    return completed


def _claim_quiet(caller: Caller, seen: Acknowledged, task_id: int | None = None) -> Row:
    """Claim the task that only the test works on; its lease outlives the load."""
    body = {"worker_id": "worker-8", "types": ["quiet"], "lease_seconds": 20}
    task: Row = caller.must("POST", "/tasks/claim", body)
    assert task_id in (None, task["id"])
    seen.claimed[task["id"]] = (time.monotonic(), "worker-8", task["lease_token"])
    return task


def _complete(caller: Caller, task_id: int, worker_id: str, token: str) -> int:
    body = {"worker_id": worker_id, "lease_token": token, "success": True, "result": task_id}
    return caller.call("POST", f"/tasks/{task_id}/complete", body)[0]


def _work_off(caller: Caller) -> Counter[int]:
    """Claim and complete until nothing is left, whose leases have to end first; return what was completed."""
    completed: Counter[int] = Counter()
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at:
        task = caller.claim("worker-9")
        if task is not None:
            assert _complete(caller, task["id"], "worker-9", task["lease_token"]) == 200
            completed[task["id"]] += 1
            continue
        left = caller.must("GET", "/tasks?status=blocked,scheduled,pending,claimed&limit=1")
        if left["count"] == 0:
            return completed
        time.sleep(0.1)
    raise AssertionError("not everything gets done")
