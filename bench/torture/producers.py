"""A process of producers: `python -S -m bench.torture.producers FOLDER NUMBER`; each thread is one producer.

Each create has an Idempotency-Key that is written down before it is sent, and is sent until it is acknowledged, also
by the process that takes the place of one that was killed.
"""

import json
import random
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.torture.api import Answer, Api, Lost
from bench.torture.board import Board
from bench.torture.journal import Journal, read_journal
from bench.torture.plan import BACKLOG, DRAINING, KEYS, RUNNING, STOPPED

_THREADS = 2
_REMEMBERED = 400
_READS = (
    "/task-types/plain/stats",
    "/tasks?limit=20",
    "/task-types",
    "/workers",
    "/dead-letters/summary",
    "/schedules",
    "/health",
    "/tasks/{id}",
    "/tasks/{id}/attempts",
    "/tasks/{id}/explain",
)


class Producer:
    """One producer with one connection and one journal."""

    def __init__(self, config: dict[str, Any], folder: Path, process: int, thread: int, board: Board) -> None:
        path = folder / "journals" / f"producer-{process}-{thread}.jsonl"
        self._left_over = list(_unanswered(path)) if path.exists() else []
        self._journal = Journal(path)
        self._api = Api(config["ports"], config["producer_key"], self._journal)
        self._board = board
        self._client = config["first_producer"] + process * _THREADS + thread
        self._unique = f"u{config['seed']}"
        self._recent: deque[int] = deque(maxlen=_REMEMBERED)

    def run(self) -> None:
        for key, path, body in self._left_over:
            self._send_until_acknowledged(key, path, body)
        while self._board.phase == RUNNING:
            try:
                self._take_a_turn()
            except Lost:
                time.sleep(random.random())

    def _take_a_turn(self) -> None:
        fate = random.random()
        if fate < 0.03 and self._recent:
            self._tell("cancel", random.choice(self._recent), ("task_finished",))
        elif fate < 0.05:
            self._requeue_some()
        elif fate < 0.09:
            self._read_something()
        elif not self._create_something():
            time.sleep(0.2 + 0.2 * random.random())

    # Creating

    def _create_something(self) -> bool:
        """Create tasks of a type of which few wait; False if there are enough of all."""
        wanted = [name for name, most in BACKLOG.items() if self._board.waiting(name) < most]
        if not wanted:
            return False
        kind = "plain" if "plain" in wanted and random.random() < 0.5 else random.choice(wanted)
        key = uuid.uuid4().hex
        path, body = self._what_to_create(kind, key)
        self._journal.write(["create", key, path, body])
        self._send_until_acknowledged(key, path, body)
        return True

    def _what_to_create(self, kind: str, key: str) -> tuple[str, Any]:
        if kind == "step" and random.random() < 0.5:
            return "/workflows", self._workflow(key)
        if kind == "unique":
            number = random.randint(0, 200_000)
            # Many producers want the same, and there is only one.
            return "/tasks", {
                "type": kind,
                "params": {"of": number // 20},
                "dedupe_key": f"{self._unique}-{number // 20}",
            }
        number = 1 if random.random() < 0.15 else {"plain": 250, "step": 4, "limited": 8}.get(kind, 20)
        tasks = [self._task(kind, key, place) for place in range(number)]
        return ("/tasks", tasks[0]) if number == 1 else ("/tasks/batch", {"tasks": tasks})

    def _task(self, kind: str, key: str, place: int) -> dict[str, Any]:
        task: dict[str, Any] = {"type": kind, "params": {"key": key, "place": place}}
        if kind == "keyed":
            task["concurrency_key"] = random.choice(KEYS)
        elif kind == "step" and self._recent:
            task["depends_on"] = random.sample(list(self._recent), min(len(self._recent), random.randint(1, 3)))
            task["on_dependency_failure"] = random.choice(("fail", "cancel", "run_anyway"))
        elif random.random() < 0.1:
            task["priority"] = random.randint(-5, 5)
        return task

    def _workflow(self, key: str) -> dict[str, Any]:
        """A fan of tasks after a first one, and a last one after all of them."""
        names = ["first", *(f"middle-{number}" for number in range(random.randint(1, 6))), "last"]
        tasks = []
        for place, name in enumerate(names):
            task = {"name": name, "type": "step", "params": {"key": key, "place": place}}
            if name == "last":
                task["depends_on"] = names[1:-1]
            elif name != "first":
                task["depends_on"] = ["first"]
            tasks.append(task)
        return {"name": key, "tasks": tasks}

    def _send_until_acknowledged(self, key: str, path: str, body: Any) -> None:
        answer = self._api.insist("POST", path, body, key=key, go_on=lambda: self._board.phase != STOPPED)
        if answer is None:
            return
        if answer.status not in (200, 201):
            self._api.note_odd("POST", path, answer)
            return
        ids = self._ids(path, answer)
        self._journal.write(["created", key, ids])
        self._board.count(self._client, created=len(ids))
        # Only some, so that others than the latest are among them.
        self._recent.extend(ids[:10])

    def _ids(self, path: str, answer: Answer) -> list[int]:
        if path == "/workflows":
            return list(answer.data["task_ids"].values())
        if path == "/tasks":
            return [answer.data["id"]]
        if answer.data["refused"]:
            self._api.note_odd("POST", path, answer)
        return [result["task"]["id"] for result in answer.data["results"] if result["success"]]

    # Everything else

    def _tell(self, verb: str, task_id: int, refusals: tuple[str, ...]) -> None:
        path = f"/tasks/{task_id}/{verb}"
        self._journal.write([verb, time.time(), task_id])
        answer = self._api.insist("POST", path, go_on=lambda: self._board.phase != DRAINING)
        if answer is None:
            return
        if answer.status != 200 and answer.code not in refusals:
            self._api.note_odd("POST", path, answer)
        said = answer.data["status"] if answer.status == 200 else answer.code
        self._journal.write(["done", verb, answer.told_at, task_id, said])

    def _requeue_some(self) -> None:
        path = "/dead-letters?limit=20"
        answer = self._api.send("GET", path)
        if answer.is_passing:
            return
        if answer.status != 200:
            self._api.note_odd("GET", path, answer)
            return
        # One that died with another would wait for that one again, and perhaps for ever.
        dead = [task["id"] for task in answer.data["dead_letters"] if task["failure_reason"] != "dependency_failed"]
        for task_id in random.sample(dead, min(len(dead), 5)):
            self._tell("requeue", task_id, ("task_not_requeuable",))

    def _read_something(self) -> None:
        path = random.choice(_READS)
        if "{id}" in path:
            if not self._recent:
                return
            path = path.replace("{id}", str(random.choice(self._recent)))
        answer = self._api.send("GET", path)
        if answer.status != 200 and not answer.is_passing:
            self._api.note_odd("GET", path, answer)


def _unanswered(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield what the process before this one had written down to create and was not told of."""
    open_creates = {}
    for line in read_journal(path):
        if line[0] == "create":
            open_creates[line[1]] = (line[2], line[3])
        elif line[0] == "created":
            open_creates.pop(line[1], None)
    for key, (where, body) in open_creates.items():
        yield key, where, body


def main() -> None:
    folder, process = Path(sys.argv[1]), int(sys.argv[2])
    config = json.loads((folder / "config.json").read_text())
    board = Board(folder / "board")
    producers = [Producer(config, folder, process, thread, board) for thread in range(_THREADS)]
    threads = [threading.Thread(target=producer.run) for producer in producers]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main()
