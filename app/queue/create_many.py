"""Create many: a batch of tasks, or one with side rows, in a handful of statements."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from app.errors import BatchRefused, QueueError, TryAgain
from app.lifecycle import FINISHED, FailureReason, TaskStatus
from app.queue.dependencies import Prerequisites, add_edges, lock_prerequisites, refuse_missing
from app.queue.duplicates import Created, forget_hashes, meet_duplicate, stands_in_the_way
from app.queue.finish import finish_parameters
from app.queue.labels import add_labels, labels_of
from app.queue.line import join_line, line_key
from app.queue.new_task import NewTask, checked_row
from app.queue.signals import refuse_while_draining
from app.queue.task_types import TaskType, find_type
from app.storage.database import Row, Transaction
from app.storage.models import task_types, tasks

_MAX_TRIES = 10
_CHUNK = 500
_REVISIONS = (
    select(task_types.c.id, task_types.c.revision)
    .where(task_types.c.id.in_(bindparam("type_ids", expanding=True)))
    .with_for_update(read=True)
)
_EQUALS = select(tasks).where(tasks.c.dedupe_hash.in_(bindparam("hashes", expanding=True)))
_INSERT = insert(tasks)
_STATES = select(tasks.c.id, tasks.c.status, tasks.c.due_at, tasks.c.claim_rank).where(
    tasks.c.id.in_(bindparam("task_ids", expanding=True))
)
Outcome = Created | QueueError


class _Stale(Exception):
    """A task type has changed since its cached copy was read."""


# What a new task has nothing to say of.
_NO_VALUES = dict.fromkeys(tasks.c.keys())


@dataclass(slots=True)
class _Draft:
    """One task of the batch on its way into the table."""

    index: int
    new: NewTask
    task_type: TaskType
    row: Row
    joins_line: bool = False


def create_tasks(tx: Transaction, news: Sequence[NewTask | QueueError], *, atomic: bool = False) -> list[Outcome]:
    """Create the tasks and return for each, in order, what came of it: a task or the error that refuses it.

    What has been refused before it came here keeps its place. With `atomic` all of them are created or none: raises
    BatchRefused, which names the fault of each. Raises QueueDraining whatever the tasks are.
    """
    if not tx.is_rerun:
        # The first run was let in, and may have created the tasks.
        refuse_while_draining(tx)
    for try_ in range(_MAX_TRIES):
        outcomes: list[Outcome | None] = [None] * len(news)
        drafts = []
        types: dict[str, TaskType] = {}
        for index, new in enumerate(news):
            try:
                if isinstance(new, QueueError):
                    raise new
                if new.type_name not in types:
                    types[new.type_name] = find_type(tx, new.type_name, fresh=try_ > 0)
                drafts.append(_draft(tx, index, new, types[new.type_name]))
            except QueueError as error:
                outcomes[index] = error
        try:
            with tx.undoable():
                _create(tx, drafts, outcomes, sees_latest=try_ > 0)
                refusals = {index: each for index, each in enumerate(outcomes) if isinstance(each, QueueError)}
                if atomic and refusals:
                    raise _refusal(refusals)
        except (_Stale, IntegrityError):
            # A type was changed, or somebody else has created an equal task in this moment.
            continue
        return [outcome for outcome in outcomes if outcome is not None]
    raise TryAgain(retry_after_seconds=1)


def _draft(tx: Transaction, index: int, new: NewTask, task_type: TaskType) -> _Draft:
    return _Draft(index, new, task_type, checked_row(tx, task_type, new, unique_hash(tx, index)))


def unique_hash(tx: Transaction, index: int) -> str:
    """Return the hash of a task that equals no other; the same when the work is run again."""
    return hashlib.sha256(f"{tx.nonce}:{index}".encode()).hexdigest()


def _refusal(refusals: dict[int, QueueError]) -> BatchRefused:
    details = []
    for index, error in refusals.items():
        faults = error.details or [{"field": "", "problem": error.shown_sentence}]
        details += [
            {"field": f"tasks.{index}.{fault['field']}".rstrip("."), "problem": fault["problem"]} for fault in faults
        ]
    return BatchRefused(details=details[:50])


def _create(tx: Transaction, drafts: list[_Draft], outcomes: list[Outcome | None], *, sees_latest: bool) -> None:
    """Insert what is new, with all its side rows; write the outcome of each draft."""
    _hold_types(tx, drafts)
    prerequisites = lock_prerequisites(tx, (task_id for draft in drafts for task_id in draft.new.depends_on))
    firsts: dict[str, _Draft] = {}
    later = []
    for draft in drafts:
        try:
            refuse_missing(prerequisites, draft.new.depends_on)
        except QueueError as error:
            outcomes[draft.index] = error
            continue
        if draft.row["dedupe_hash"] in firsts:
            later.append(draft)
        else:
            firsts[draft.row["dedupe_hash"]] = draft
    existing = _find_equals(tx, firsts, sees_latest=sees_latest)
    fresh = [draft for hashed, draft in firsts.items() if hashed not in existing]
    for draft in fresh:
        _prepare(tx, draft, prerequisites)
    by_hash = {**existing, **_insert(tx, fresh, prerequisites)}
    for draft in fresh:
        outcomes[draft.index] = Created(by_hash[draft.row["dedupe_hash"]])
    for draft in [*(draft for hashed, draft in firsts.items() if hashed in existing), *later]:
        outcome = outcomes[draft.index] = _meet(tx, draft, by_hash[draft.row["dedupe_hash"]])
        if isinstance(outcome, Created):
            # It may have been replaced, and the next one meets it as it is now.
            by_hash[draft.row["dedupe_hash"]] = outcome.task


def _hold_types(tx: Transaction, drafts: list[_Draft]) -> None:
    """Hold the types until the end, so that no task gets in under a schema that has been replaced."""
    types = {draft.task_type.id: draft.task_type for draft in drafts}
    if types:
        revisions = {row["id"]: row["revision"] for row in tx.all(_REVISIONS, {"type_ids": sorted(types)})}
        if any(revisions.get(type_id) != task_type.revision for type_id, task_type in types.items()):
            raise _Stale


def _find_equals(tx: Transaction, firsts: dict[str, _Draft], *, sees_latest: bool) -> dict[str, Row]:
    """Return the tasks that stand in the way, by their hash, and free the hashes of those that no longer do."""
    statement = _EQUALS.with_for_update(read=True) if sees_latest else _EQUALS
    found: dict[str, Row] = {}
    over = []
    for row in tx.all(statement, {"hashes": list(firsts)}) if firsts else []:
        draft = firsts[row["dedupe_hash"]]
        task_type = draft.task_type
        is_own = tx.is_rerun and row["created_at"] == tx.now
        if is_own or draft.new.once is not None or stands_in_the_way(tx, task_type, row):
            found[row["dedupe_hash"]] = {**row, "type": task_type.name}
        else:
            over.append(row["id"])
    if over:
        forget_hashes(tx, over)
    return found


def _prepare(tx: Transaction, draft: _Draft, prerequisites: Prerequisites) -> None:
    """Say in the row what the task has to wait for."""
    row, new = draft.row, draft.new
    row["type_id"] = draft.task_type.id
    is_keyed = line_key(draft.task_type, row["extras"]) is not None
    row["has_followers"] = is_keyed or new.is_followed
    state = TaskStatus.BLOCKED if new.is_held else prerequisites.state_of(new.depends_on, new.on_dependency_failure)
    draft.joins_line = is_keyed and state is None and row["status"] == TaskStatus.PENDING
    if draft.joins_line:
        row["status"] = int(TaskStatus.BLOCKED)
    elif state is TaskStatus.BLOCKED:
        # Its time to be started begins when it waits for nothing else.
        row.update(status=int(TaskStatus.BLOCKED), due_at=row["deadline_at"])
    elif state is not None:
        finish = finish_parameters(draft.task_type, tx.now)
        row.update(
            status=int(state),
            has_followers=False,
            completed_at=tx.now,
            due_at=finish["removed_at"],
            claim_rank=finish["end_rank"],
            failure_reason=FailureReason.DEPENDENCY_FAILED if state is TaskStatus.FAILED else None,
            error_message="A task that it waits for has failed or was cancelled",
        )


def _insert(tx: Transaction, fresh: list[_Draft], prerequisites: Prerequisites) -> dict[str, Row]:
    """Insert the rows with what hangs on them, and return them by their hash."""
    if not fresh:
        return {}
    columns = {name: None for draft in fresh for name in draft.row}
    for start in range(0, len(fresh), _CHUNK):
        tx.execute(_INSERT, [{**columns, **draft.row} for draft in fresh[start : start + _CHUNK]])
    ids = {}
    hashes = [draft.row["dedupe_hash"] for draft in fresh]
    for start in range(0, len(hashes), _CHUNK):
        found = tx.all(
            select(tasks.c.id, tasks.c.dedupe_hash).where(tasks.c.dedupe_hash.in_(hashes[start : start + _CHUNK]))
        )
        ids.update({row["dedupe_hash"]: row["id"] for row in found})
    rows = {}
    edges = []
    labels = {}
    in_line = []
    unfinished = []
    for draft in fresh:
        hashed = draft.row["dedupe_hash"]
        row = rows[hashed] = {**_NO_VALUES, "id": ids[hashed], "type": draft.task_type.name, **draft.row}
        for task_id in sorted(set(draft.new.depends_on)):
            is_met = prerequisites.statuses[task_id] in FINISHED
            on_failure = draft.new.on_dependency_failure
            edges.append({"task_id": row["id"], "depends_on_id": task_id, "on_failure": on_failure, "is_met": is_met})
            if not is_met:
                unfinished.append(task_id)
        if draft.new.tags or draft.new.metadata:
            labels[row["id"]] = labels_of(draft.new.tags, draft.new.metadata)
        if draft.joins_line:
            in_line.append(row)
    if edges:
        add_edges(tx, edges, unfinished)
    if labels:
        add_labels(tx, labels)
    if in_line:
        join_line(tx, in_line)
        states = {row["id"]: row for row in tx.all(_STATES, {"task_ids": [row["id"] for row in in_line]})}
        for row in in_line:
            row.update(states[row["id"]])
    return rows


def _meet(tx: Transaction, draft: _Draft, existing: Row) -> Outcome:
    if tx.is_rerun and existing["created_at"] == tx.now:
        return Created(existing)
    try:
        return meet_duplicate(tx, draft.task_type, existing, draft.row, draft.new.on_duplicate)
    except QueueError as error:
        return error
