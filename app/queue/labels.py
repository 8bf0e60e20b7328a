"""Labels: what tasks are found by, their tags and the short values of their metadata."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert

from app.storage.database import Transaction
from app.storage.models import task_labels

_LONGEST = 255
_INSERT = insert(task_labels)


def labels_of(tags: Sequence[str], metadata: Mapping[str, Any]) -> list[str]:
    """Return the labels of a task; values of its metadata that are long or not plain are no labels. Pure."""
    labels = [f"tag:{tag}" for tag in tags]
    for name, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value)
        if not isinstance(value, dict | list) and value is not None and len(text) <= _LONGEST:
            labels.append(f"{name}={text}")
    return list(dict.fromkeys(labels))


def add_labels(tx: Transaction, labels: Mapping[int, Sequence[str]]) -> None:
    """Write down the labels of tasks by their ids."""
    rows = [{"task_id": task_id, "label": label} for task_id, of_task in labels.items() for label in of_task]
    if rows:
        tx.execute(_INSERT, rows)
