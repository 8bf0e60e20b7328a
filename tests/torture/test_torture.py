"""Half a minute of torture on each kind of database: `python -m bench.torture --minutes 30` has more of it."""

import re
import subprocess
import sys

import pytest

from app.settings import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["mariadb", "sqlite"])
def test_nothing_is_lost_or_done_twice_whatever_fails(kind, request):
    if kind == "mariadb":
        # Says so where there is no server; the torture starts one of its own, to kill it.
        request.getfixturevalue("mariadb_admin_url")
    command = [sys.executable, "-m", "bench.torture", "--minutes", "0.5", "--kind", kind]
    torture = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = torture.communicate(timeout=400)
    finally:
        # It ends what it has started, unless it is killed.
        torture.terminate()
        torture.wait(60)
    assert torture.returncode == 0, output
    kills = re.search(r"(\d+) kills", output.split("checked in")[0].rsplit("\n", 2)[-1])
    assert kills is not None
    assert int(kills[1]) >= 5, output
