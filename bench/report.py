"""What all measurements share: turns in alternating order, the machine's description, the file of results."""

import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_RESULTS = Path(__file__).resolve().parent / "results"
_PACKAGES = ("flask", "sqlalchemy", "pymysql", "marshmallow", "jsonschema-rs", "orjson", "granian")


def turns(candidates: Sequence[T], repetitions: int) -> Iterator[T]:
    """Yield every candidate once per repetition, each time in the other direction.

    So a machine that becomes slower or faster during the run favours none of them.
    """
    for repetition in range(repetitions):
        yield from candidates if repetition % 2 == 0 else tuple(reversed(candidates))


def machine() -> dict[str, Any]:
    """Return what one must know to judge the numbers."""
    return {
        "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        # Above the number of cores, other programs have been running beside.
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "packages": {name: version(name) for name in _PACKAGES},
    }


def result_file(name: str) -> Path:
    """Return the path of a file in bench/results/, a folder that git does not keep."""
    _RESULTS.mkdir(exist_ok=True)
    return _RESULTS / name


def save(name: str, results: dict[str, Any]) -> None:
    """Write the results as JSON into bench/results/."""
    path = result_file(f"{name}.json")
    path.write_text(json.dumps({"machine": machine(), **results}, indent=2) + "\n", encoding="utf-8")
    print(f"written: {path.relative_to(_RESULTS.parent.parent)}", file=sys.stderr)
