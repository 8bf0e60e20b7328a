"""History: what earlier runs came to, so that a change for the worse is seen."""

import json
import subprocess
from collections.abc import Mapping
from statistics import median
from typing import Any

from app.settings import ROOT
from bench.report import machine

PATH = ROOT / "bench" / "history.jsonl"
#: So much less than before is more than noise.
WORSE = 0.85
_COMPARED = 5


def note(bench: str, figures: Mapping[str, float]) -> list[str]:
    """Add a run to the history, and say which of its figures are worse than the latest ones of a machine like this.

    Of all figures more is better.
    """
    this = machine()
    before = [run for run in _runs() if run["bench"] == bench and _kind_of(run["machine"]) == _kind_of(this)]
    run = {"bench": bench, "commit": _commit(), "machine": this, "figures": dict(figures)}
    with PATH.open("a", encoding="utf-8") as file:
        file.write(json.dumps(run) + "\n")
    worse = []
    for name, figure in figures.items():
        earlier = [run["figures"][name] for run in before[-_COMPARED:] if name in run["figures"]]
        if earlier and figure < WORSE * median(earlier):
            worse.append(f"{name}: {figure:,.2f}, before {median(earlier):,.2f}")
    return worse


def _runs() -> list[dict[str, Any]]:
    if not PATH.exists():
        return []
    return [json.loads(line) for line in PATH.read_text(encoding="utf-8").splitlines()]


def _kind_of(machine: dict[str, Any]) -> tuple[Any, ...]:
    return machine["system"], machine["cores"], machine["python"].rsplit(".", 1)[0]


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()
