"""What the workers in these tests can do; run as a program, with the folder of worker.py in PYTHONPATH."""

import time
from typing import Any

from worker import Permanent, Task, handler, main


@handler("echo")
def echo(task: Task) -> Any:
    return task.params


@handler("sleep")
def sleep(task: Task) -> Any:
    until = time.monotonic() + task.params["seconds"]
    while time.monotonic() < until and not task.cancelled:
        time.sleep(0.05)
    return {"cancelled": task.cancelled}


@handler("fail")
def fail(task: Task) -> Any:
    if task.attempts < task.params["until_attempt"]:
        # Half of a surrogate pair, as Python makes of a file name in another encoding, must not spoil the report.
        raise ValueError("not yet \udce4")
    return {"attempts": task.attempts}


@handler("refuse")
def refuse(task: Task) -> Any:
    raise Permanent("never")


if __name__ == "__main__":
    main()
