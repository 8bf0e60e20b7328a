"""Labels: what tasks are found by, their tags and the short values of their metadata."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, insert, select

from app.storage.database import Transaction
from app.storage.models import task_labels, tasks, workflow_tasks

_MAX_VALUE = 255
# Labels with more tasks than this are all the same to us.
_COUNTED = 1000
_INSERT = insert(task_labels)


def tag_label(tag: str) -> str:
    """Return the label of a tag."""
    return f"tag:{tag.strip(' ')}"


def member_label(name: str, value: str) -> str:
    """Return the label of a member of the metadata, its value as text."""
    # MySQL and MariaDB compare texts without the blanks at their end; so nobody does.
    return f"{name}={value}".rstrip(" ")


def labels_of(tags: Sequence[str], metadata: Mapping[str, Any]) -> list[str]:
    """Return the labels of a task: its tags, and the texts, numbers and truth values in its metadata. Pure.

    Numbers are written as JSON writes them. What is longer than 255 characters, or of another kind, is no label.
    """
    members = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in metadata.items()
        if isinstance(value, str | int | float)
    }
    labels = [tag_label(tag) for tag in tags]
    labels += [member_label(name, value) for name, value in members.items() if len(value) <= _MAX_VALUE]
    return list(dict.fromkeys(labels))


def add_labels(tx: Transaction, labels: Mapping[int, Sequence[str]]) -> None:
    """Give each task, by its id, its labels."""
    rows = [{"label": label, "task_id": task_id} for task_id, of_task in labels.items() for label in of_task]
    if rows:
        tx.execute(_INSERT, rows)


def put_rarest_first(tx: Transaction, labels: Sequence[str]) -> Sequence[str]:
    """Return the labels with those first that few tasks have: a search walks along the first one."""
    if len(labels) < 2:
        return labels
    numbers = tx.execute(
        select(
            *(
                select(func.count())
                .select_from(
                    select(task_labels.c.task_id).where(task_labels.c.label == label).limit(_COUNTED).subquery()
                )
                .scalar_subquery()
                for label in labels
            )
        )
    ).one()
    return [label for _number, label in sorted(zip(numbers, labels, strict=True), key=lambda pair: pair[0])]


def select_labelled(
    columns: Sequence[Any], labels: Sequence[str], workflow_id: int | None
) -> tuple[Select[Any], ColumnElement[int]]:
    """Return a select of the tasks with all these labels and of this workflow, and the id to order and page it by.

    It walks along the primary key of the labels, in which the tasks of one label stand in the order of their ids.
    """
    marks: list[Any] = [task_labels.alias(f"label_{number}") for number in range(len(labels))]
    conditions = [mark.c.label == label for mark, label in zip(marks, labels, strict=True)]
    if workflow_id is not None:
        # First, since a workflow has fewer tasks than most labels.
        marks.insert(0, workflow_tasks)
        conditions.append(workflow_tasks.c.workflow_id == workflow_id)
    if not marks:
        return select(*columns), tasks.c.id
    first, *others = marks
    joined = first
    for mark in others:
        joined = joined.join(mark, mark.c.task_id == first.c.task_id)
    joined = joined.join(tasks, tasks.c.id == first.c.task_id)
    # MariaDB would now and then begin with the tasks, and sort them.
    statement = select(*columns).select_from(joined).prefix_with("STRAIGHT_JOIN", dialect="mysql")
    return statement.where(*conditions), first.c.task_id
