"""Runs the examples of a page: bash blocks in one shell, JSON blocks after them as what must come out."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.docs.markdown import Block, blocks

_END = "@@@ end of block @@@"
NOWHERE = "http://127.0.0.1:8000"
NO_KEY = "tm_the_key_that_was_printed"


def run_examples(page: Path, url: str, key: str, setup: str = "") -> int:
    """Run all bash blocks of the page in order, as a reader would, and hold each against the JSON block behind it.

    The answer may have more members than the page shows, none of another value. Returns how many were compared.
    """
    all_blocks = blocks(page)
    commands = [block for block in all_blocks if block.language == "bash"]
    script = "\n".join([setup, *(f"{block.text}\necho; echo '{_END}'" for block in commands)])
    script = script.replace(NOWHERE, url).replace(NO_KEY, key)
    environment = {**os.environ, "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])}
    environment.update(TM_URL=url, TM_KEY=key)
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, f"{page.name}: {ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
    outputs = dict(zip(commands, ran.stdout.split(_END), strict=False))
    compared = 0
    for block, following in pairwise(all_blocks):
        if block in outputs and following.info == "json":
            where = f"{page.name}, line {following.line}"
            compare(last_json(outputs[block], where), json.loads(following.text), where)
            compared += 1
    return compared


def last_json(output: str, where: str) -> Any:
    """Return the last answer that a block printed."""
    lines = [line for line in output.splitlines() if line.strip()]
    assert lines, f"{where}: nothing was printed"
    return json.loads(lines[-1])


def compare(answer: Any, shown: Any, where: str) -> None:
    """Assert that all that is shown is in the answer; `…` stands for any text."""
    if isinstance(shown, dict):
        assert isinstance(answer, dict), f"{where}: {answer}"
        for name, value in shown.items():
            assert name in answer, f"{where}: no {name} in {answer}"
            compare(answer[name], value, f"{where}, {name}")
    elif isinstance(shown, list):
        assert isinstance(answer, list) and len(answer) == len(shown), f"{where}: {answer}"
        for one, other in zip(answer, shown, strict=True):
            compare(one, other, where)
    elif shown != "…":
        assert answer == shown, f"{where}: {answer!r} instead of {shown!r}"


def is_request(block: Block) -> bool:
    """Tell whether a block is marked as the body of a request: ```json POST /api/tasks."""
    return block.language == "json" and len(block.info.split(" ")) == 3
