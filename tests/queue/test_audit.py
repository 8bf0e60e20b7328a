"""Audit: every change is written down once, with who made it, and nothing that must stay secret."""

from datetime import timedelta

import pytest

from app.errors import LastAdminKey
from app.queue.audit import SLICE, Actor, list_audit, remove_old_audit, write_audit
from app.queue.cancel import cancel_task
from app.queue.filters import TaskFilter
from app.queue.keys import change_key, create_key, list_keys, revoke_key
from app.queue.operations import REQUEUE, NewOperation, start_operation
from app.queue.register import change_type
from app.queue.requeue import requeue_task

ANN = Actor(7, "ann")


def entries(queue, **filters):
    return queue.do(list_audit, limit=100, **filters)[0]


def test_a_change_of_a_task_type_is_written_down_with_old_and_new_values(queue, clock):
    queue.register("Work", max_attempts=3)
    clock.advance(seconds=5)
    queue.do(change_type, "work", {"max_attempts": 4, "is_paused": True, "version": "1"}, ANN)
    (entry,) = entries(queue)
    assert entry["created_at"] == clock.instant
    assert (entry["api_key_id"], entry["actor"]) == (7, "ann")
    assert (entry["action"], entry["subject"]) == ("change_task_type", "task-types/Work")
    assert entry["details"] == {"max_attempts": {"old": 3, "new": 4}, "is_paused": {"old": False, "new": True}}


def test_a_large_schema_is_not_repeated_in_the_entry(queue):
    queue.register("work")
    schema = {"type": "object", "properties": {f"field_{number}": {"type": "string"} for number in range(100)}}
    queue.do(change_type, "work", {"param_schema": schema}, ANN)
    assert entries(queue)[0]["details"] == {"param_schema": "changed"}


def test_what_changes_nothing_is_not_written_down(queue):
    queue.register("work", max_attempts=3)
    queue.register("work", max_attempts=3)
    queue.do(change_type, "work", {"max_attempts": 3}, ANN)
    queue.do(change_type, "work", {}, ANN)
    assert entries(queue) == []
    queue.register("work", max_attempts=4)
    assert [entry["action"] for entry in entries(queue)] == ["register_task_type"]


@pytest.mark.parametrize("terms", [{}, {"extra_attempts": 2}])
def test_who_requeues_a_task_is_written_down_with_the_terms(queue, terms):
    queue.register()
    task = queue.create()
    queue.do(cancel_task, task["id"])
    queue.do(requeue_task, task["id"], ANN, **terms)
    (entry,) = entries(queue)
    assert (entry["actor"], entry["action"], entry["subject"]) == ("ann", "requeue_task", f"tasks/{task['id']}")
    assert entry["details"] == terms


@pytest.mark.parametrize("terms", [{}, {"extra_attempts": 2}])
def test_who_requeues_many_is_written_down_with_the_terms(queue, terms):
    new = NewOperation(kind=REQUEUE, filter=TaskFilter(failure_reason="lease_expired"), actor=ANN, **terms)
    operation = queue.do(start_operation, new)
    (entry,) = entries(queue)
    assert (entry["actor"], entry["subject"]) == ("ann", f"operations/{operation['id']}")
    assert entry["details"] == {"filter": {"failure_reason": "lease_expired"}, **terms}


def test_the_life_of_a_key_is_written_down_without_the_key(queue, clock):
    end = clock.instant + timedelta(days=1)
    secret, row = queue.do(create_key, name="k", scopes=["read", "worker"], actor=ANN)
    queue.do(change_key, row["id"], {"expires_at": end, "name": "k"}, ANN)
    queue.do(change_key, row["id"], {"expires_at": end}, ANN)
    queue.do(revoke_key, row["id"], ANN)
    queue.do(revoke_key, row["id"], ANN)
    found = entries(queue)
    assert [entry["action"] for entry in reversed(found)] == ["create_api_key", "change_api_key", "revoke_api_key"]
    assert {entry["subject"] for entry in found} == {f"keys/{row['id']}"}
    assert found[1]["details"] == {"expires_at": {"old": None, "new": "2026-01-02T12:00:00.000Z"}}
    assert secret not in str(found)
    assert "=" not in secret
    assert row["key_hash"] not in str(found)
    assert row["prefix"] not in str(found)


def test_a_refused_change_is_not_written_down(queue):
    _secret, row = queue.do(create_key, name="k", scopes=["admin"], actor=ANN)
    with pytest.raises(LastAdminKey):
        queue.database.write(lambda tx: revoke_key(tx, row["id"], ANN))
    assert len(entries(queue)) == 1


def test_a_rerun_after_a_lost_answer_writes_one_entry(queue):
    """The work runs to its commit, the answer is lost, and the work runs again with the same nonce."""
    from app.storage.database import Transaction

    queue.register("work")
    key_id = queue.do(create_key, name="k", scopes=["read"], actor=ANN)[1]["id"]
    works = [
        lambda tx: create_key(tx, name="once", scopes=["read"], actor=ANN),
        lambda tx: change_key(tx, key_id, {"name": "renamed"}, ANN),
        lambda tx: revoke_key(tx, key_id, ANN),
        lambda tx: change_type(tx, "work", {"is_paused": True}, ANN),
    ]
    for work in works:
        before = len(entries(queue))

        def twice(tx, work=work):
            with tx.atomic():
                work(tx)
            again = Transaction(
                tx._connection,
                now=tx.now,
                present=lambda tx=tx: tx.now,
                nonce=tx.nonce,
                dialect=tx.dialect,
                cache=tx.cache,
                run=2,
            )
            with again.atomic():
                work(again)

        queue.database.write(twice, atomic=False)
        assert len(entries(queue)) == before + 1
    assert len(queue.do(list_keys)) == 2


def test_entries_are_listed_newest_first_in_pages_and_filtered(queue, clock):
    bob = Actor(8, "bob")
    for number in range(5):
        clock.advance(seconds=1)
        actor = ANN if number % 2 else bob
        queue.do(write_audit, actor, f"action_{number % 2}", f"things/{number}", {"at": clock.instant})

    def subjects(**filters):
        return [entry["subject"][-1] for entry in entries(queue, **filters)]

    assert subjects() == ["4", "3", "2", "1", "0"]
    assert subjects(action="action_1") == subjects(actor="ann") == ["3", "1"]
    assert subjects(subject="things/2") == ["2"]
    assert subjects(actor="ANN") == subjects(actor="a%") == []
    assert subjects(created_from=clock.instant) == ["4"]
    assert subjects(created_before=clock.instant, actor="bob") == ["2", "0"]
    seen = []
    below_id = None
    while True:
        page, below_id = queue.do(list_audit, limit=2, below_id=below_id)
        seen += [entry["subject"][-1] for entry in page]
        if below_id is None:
            break
    assert seen == ["4", "3", "2", "1", "0"]


def test_old_entries_are_removed_in_slices(queue, clock):
    def fill(tx):
        with tx.atomic():
            for _ in range(SLICE + 1):
                write_audit(tx, ANN, "a", "b", {})

    queue.do(fill)
    clock.advance(seconds=10)
    queue.do(write_audit, ANN, "a", "young", {})
    assert queue.do(remove_old_audit, 10.001) == 0
    assert [queue.do(remove_old_audit, 10) for _ in range(3)] == [SLICE, 1, 0]
    assert [entry["subject"] for entry in entries(queue)] == ["young"]
