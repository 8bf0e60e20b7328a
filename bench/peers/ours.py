"""Ours: how long a task of TaskManager waits for workers that poll as its documentation tells them to."""

import queue
import threading
import time

from bench.speed.client import Client
from bench.speed.stage import Stage

_SECONDS_BETWEEN = 0.05


def wait_times(stage: Stage, workers: int, number: int) -> list[float]:
    """Create so many tasks one after the other, and return for each the seconds until a worker had it."""
    begun: queue.SimpleQueue[tuple[int, float]] = queue.SimpleQueue()
    stop = threading.Event()
    polling = [threading.Thread(target=_poll, args=(stage, place, begun, stop)) for place in range(workers)]
    for thread in polling:
        thread.start()
    sent: dict[int, float] = {}
    client = Client(stage)
    try:
        began = time.monotonic()
        for place in range(number):
            time.sleep(max(0.0, began + place * _SECONDS_BETWEEN - time.monotonic()))
            moment = time.monotonic()
            sent[client.create(f"wait/{place}").data["id"]] = moment
        found = dict(begun.get(timeout=60) for _ in range(number))
    finally:
        stop.set()
        for thread in polling:
            thread.join()
    return [found[task_id] - moment for task_id, moment in sent.items()]


def _poll(stage: Stage, place: int, begun: "queue.SimpleQueue[tuple[int, float]]", stop: threading.Event) -> None:
    client, worker = Client(stage), f"waiting-{place}"
    while not stop.is_set():
        answer = client.claim(worker)
        if answer.status == 404:
            stop.wait(answer.retry_after)
            continue
        begun.put((answer.data["id"], time.monotonic()))
        client.complete(worker, answer.data)
