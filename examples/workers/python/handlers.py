"""What this worker can do: `checksum` and `word-statistics` of files below the folder in which it is started."""

import collections
import hashlib
import os
import re
import time
from pathlib import Path
from typing import Any

from worker import Permanent, Task, handler, main

FOLDER = Path.cwd().resolve()
# The demo sets it, so that a person can follow what would be over in a moment.
PAUSE_SECONDS = float(os.environ.get("PAUSE_SECONDS", "0"))


@handler("checksum")
def checksum(task: Task) -> dict[str, Any]:
    """Answer the SHA-256 of a file, as `sha256sum` prints it, and its size in bytes."""
    content = read(task)
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


@handler("word-statistics")
def word_statistics(task: Task) -> dict[str, Any]:
    """Answer the lines and words of a file, as `wc -lw` counts them, and its five most common words of some length."""
    text = read(task).decode("utf-8", "replace")
    common = collections.Counter(re.findall(r"[^\W\d_]{4,}", text.lower())).most_common(5)
    return {"lines": text.count("\n"), "words": len(text.split()), "most_common": [list(pair) for pair in common]}


def read(task: Task) -> bytes:
    """Return the content of the file that the task names."""
    name = task.params["path"]
    task.progress(10, name)
    time.sleep(PAUSE_SECONDS)
    path = (FOLDER / name).resolve()
    # Whoever may create tasks must not be able to read the whole machine.
    if not path.is_relative_to(FOLDER) or not path.is_file():
        raise Permanent(f"There is no file {name} below the worker's folder.")
    return path.read_bytes()


if __name__ == "__main__":
    main()
