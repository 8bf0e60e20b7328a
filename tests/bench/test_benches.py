"""The measurements run: each for a moment, so that none is broken when somebody wants to know."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from app.settings import ROOT
from bench.__main__ import PARTS

_BRIEFLY = {
    "speed": "--kind sqlite --only poll --repetitions 1 --seconds 0.2",
    "growth": "--kind sqlite --sizes 1500 --requests 4 --repetitions 1",
    "costs": "--kind sqlite --repetitions 1 --requests 20",
    "cold_start": "--repetitions 1",
    "memory": "--kind sqlite --requests 500",
    "old_snapshot": "--kind sqlite --claims 200 --repetitions 1",
    "operations": "--kind sqlite --number 1000",
    "core_and_orm": "--repetitions 1",
}


@pytest.mark.parametrize("part", _BRIEFLY)
def test_a_measurement_runs_and_prints_what_it_measured(part: str, mariadb_admin_url: str) -> None:
    command = [sys.executable, "-m", f"bench.{part}", *_BRIEFLY[part].split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert any(character.isdigit() for character in done.stdout)


def test_every_part_of_the_whole_is_there() -> None:
    assert all(find_spec(f"bench.{part}") for part in PARTS)
    wrong = subprocess.run([sys.executable, "-m", "bench", "nothing"], cwd=ROOT, capture_output=True, text=True)
    assert (wrong.returncode, "there is no part nothing" in wrong.stderr) == (2, True)
