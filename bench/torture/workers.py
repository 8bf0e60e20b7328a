"""A process of workers: `python -S -m bench.torture.workers FOLDER NUMBER`; each thread is one worker.

They are as workers are in life: some take a hundred tasks at a time and some take one, some are slower than their
leases, some forget what they took, some fail. Under the name of the thread a restarted worker goes on.
"""

import json
import random
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.torture.api import Answer, Api, Lost
from bench.torture.board import Board
from bench.torture.journal import Journal
from bench.torture.plan import RUNNING, STOPPED, TYPES

# What a report may be answered when the worker has lost the task.
_REFUSALS = ("task_not_claimed", "task_cancelled", "claimed_by_another_worker", "lease_lost")
_RETRY_SECONDS = 20
_FEW = tuple(name for name in TYPES if name != "plain")


class Task:
    """A task in the hands of a worker."""

    __slots__ = ("id", "kind", "lease_expires_at", "token")

    def __init__(self, shown: dict[str, Any]) -> None:
        self.id = shown["id"]
        self.kind = shown["type"]
        self.token = shown["lease_token"]
        self.lease_expires_at = shown["lease_expires_at"]


class Worker:
    """One worker with one connection and one journal."""

    def __init__(self, config: dict[str, Any], folder: Path, process: int, thread: int, board: Board) -> None:
        self.name = f"worker-{process}-{thread}"
        self._client = process * config["threads"] + thread
        self._journal = Journal(folder / "journals" / f"{self.name}.jsonl")
        self._api = Api(config["ports"], config["worker_key"], self._journal)
        self._board = board
        self._takes_many = thread == 0

    def run(self) -> None:
        while self._board.phase != STOPPED:
            try:
                self._work_in_batches() if self._takes_many else self._work_one_by_one()
            except Lost:
                time.sleep(random.random())

    @property
    def _is_wild(self) -> bool:
        return self._board.phase == RUNNING

    def _go_on_until(self, seconds: float) -> Any:
        give_up_at = time.monotonic() + seconds
        return lambda: time.monotonic() < give_up_at and self._board.phase != STOPPED

    def _claimed(self, answer: Answer, shown: list[dict[str, Any]]) -> list[Task]:
        groups = defaultdict(list)
        for task in shown:
            groups[task["lease_token"], task["claimed_at"], task["lease_expires_at"]].append(task["id"])
        self._journal.write(
            *(["claim", answer.sent_at, answer.told_at, self.name, *told, ids] for told, ids in groups.items())
        )
        return [Task(task) for task in shown]

    # In batches

    def _work_in_batches(self) -> None:
        """Claim, report and claim in one request until something is lost."""
        results: list[dict[str, Any]] = []
        kinds: dict[int, str] = {}
        while self._board.phase != STOPPED:
            claim = {"types": self._wanted(), "max_tasks": random.choice((20, 60, 100, 100))}
            body = {"worker_id": self.name, "results": results, "claim": claim}
            if results and random.random() < 0.2:
                answer = self._insist("/tasks/batch/complete", {"worker_id": self.name, "results": results})
                tasks = []
            else:
                answer = self._insist("/tasks/batch/exchange", body)
                tasks = self._claimed(answer, answer.data["tasks"]) if answer is not None else []
            if answer is None:
                return
            self._note_verdicts(
                answer,
                [
                    (kinds[result["id"]], result["lease_token"], _said(verdict), result["id"])
                    for result, verdict in zip(results, answer.data["results"], strict=True)
                ],
            )
            results = []
            if not tasks:
                time.sleep(0.1 + 0.4 * random.random())
                continue
            results, kinds = self._do_many(tasks)

    def _insist(self, path: str, body: Any) -> Answer | None:
        answer = self._api.insist("POST", path, body, go_on=self._go_on_until(_RETRY_SECONDS))
        if answer is not None and answer.status != 200:
            self._api.note_odd("POST", path, answer)
            return None
        return answer

    def _do_many(self, tasks: list[Task]) -> tuple[list[dict[str, Any]], dict[int, str]]:
        """Do the tasks, or some of them, and return what is to be reported."""
        fate = random.random() if self._is_wild else 1.0
        if fate < 0.01:
            return [], {}
        if fate < 0.03:
            tasks = tasks[: len(tasks) // 2]
        elif fate < 0.06:
            time.sleep(random.uniform(1.5, 6))
        elif fate < 0.10:
            self._beat(random.choice(tasks))
            time.sleep(random.random())
        kinds = {task.id: self._outcome(task) for task in tasks}
        self._note_ends(tasks, kinds)
        return [self._report(task, kinds[task.id]) for task in tasks], kinds

    def _wanted(self) -> list[str]:
        if random.random() < 0.75:
            return ["plain"]
        return random.sample(_FEW, 3)

    # One by one

    def _work_one_by_one(self) -> None:
        types = random.sample(_FEW, random.randint(1, 4)) if random.random() < 0.9 else ["plain"]
        body = {"worker_id": self.name, "types": types}
        answer = self._api.send("POST", "/tasks/claim", body)
        if answer.is_passing:
            time.sleep(random.random())
            return
        if answer.status != 200:
            if answer.code != "no_available_tasks":
                self._api.note_odd("POST", "/tasks/claim", answer)
            time.sleep(0.2 + 0.8 * random.random())
            return
        self._do_one(self._claimed(answer, [answer.data])[0])

    def _do_one(self, task: Task) -> None:
        time.sleep(0.1 * random.random())
        fate = random.random() if self._is_wild else 1.0
        if fate < 0.02:
            return
        if fate < 0.06:
            time.sleep(random.uniform(1.5, 6))
        elif fate < 0.16:
            for _ in range(random.randint(1, 3)):
                time.sleep(random.random())
                self._beat(task)
        kind = "release" if fate > 0.97 and self._is_wild else self._outcome(task)
        self._note_ends([task], {task.id: kind})
        if kind == "release":
            path = f"/tasks/{task.id}/release"
            body = {"worker_id": self.name, "lease_token": task.token, "delay_seconds": random.choice((0, 0, 1))}
        else:
            path = f"/tasks/{task.id}/complete"
            body = {"worker_id": self.name, **self._report(task, kind)}
            del body["id"]
        answer = self._api.insist("POST", path, body, go_on=self._go_on_until(_RETRY_SECONDS))
        if answer is None:
            return
        said = answer.data["status"] if answer.status == 200 else answer.code
        if answer.status != 200 and answer.code not in _REFUSALS:
            self._api.note_odd("POST", path, answer)
        self._note_verdicts(answer, [(kind, task.token, said, task.id)])

    # Both

    def _outcome(self, task: Task) -> str:
        if not self._is_wild:
            return "complete"
        share = 0.4 if task.kind == "brittle" else 0.02
        if random.random() < share:
            return "give_up" if random.random() < 0.2 else "fail"
        return "complete"

    def _report(self, task: Task, kind: str) -> dict[str, Any]:
        report: dict[str, Any] = {"id": task.id, "lease_token": task.token, "success": kind == "complete"}
        if kind == "complete":
            # Whose result it is can be seen in it.
            report["result"] = {"task": task.id, "token": task.token, "by": self.name}
        else:
            report.update(error=f"failed by {self.name}", retryable=kind == "fail")
        return report

    def _note_ends(self, tasks: list[Task], kinds: dict[int, str]) -> None:
        groups = defaultdict(list)
        for task in tasks:
            groups[kinds[task.id], task.token].append(task.id)
        now = time.time()
        self._journal.write(*(["end", now, kind, token, ids] for (kind, token), ids in groups.items()))

    def _note_verdicts(self, answer: Answer, verdicts: list[tuple[str, str, str, int]]) -> None:
        groups = defaultdict(list)
        for kind, token, said, task_id in verdicts:
            groups[kind, token, said].append(task_id)
        self._journal.write(*(["verdict", answer.told_at, *group, ids] for group, ids in groups.items()))
        self._board.count(self._client, ended=sum(verdict[2] in ("completed", "failed") for verdict in verdicts))

    def _beat(self, task: Task) -> None:
        path, body = f"/tasks/{task.id}/heartbeat", {"worker_id": self.name, "lease_token": task.token}
        if random.random() < 0.3:
            path, body = f"/tasks/{task.id}/progress", {**body, "progress": random.randint(1, 99)}
        answer = self._api.send("POST", path, body)
        if answer.status == 200 and answer.data["lease_expires_at"] is not None:
            self._journal.write(["beat", answer.told_at, task.id, task.token, answer.data["lease_expires_at"]])
        elif answer.status != 200 and answer.code not in _REFUSALS and not answer.is_passing:
            self._api.note_odd("POST", path, answer)


def _said(verdict: dict[str, Any]) -> str:
    return str(verdict["status"] if verdict["success"] else verdict["code"])


def main() -> None:
    folder, process = Path(sys.argv[1]), int(sys.argv[2])
    config = json.loads((folder / "config.json").read_text())
    board = Board(folder / "board")
    workers = [Worker(config, folder, process, thread, board) for thread in range(config["threads"])]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main()
