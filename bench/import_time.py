"""How long does `import wsgi` take, against the libraries that it cannot do without?"""

import argparse
import os
import subprocess
import sys
import time
from statistics import median

from app.settings import PREFIX, ROOT
from bench.report import save, turns

GOAL = 1.6
PROGRAMS = {
    "python alone": "pass",
    "libraries": "import flask, sqlalchemy, pymysql, marshmallow",
    "wsgi": "import wsgi",
}


def run(program: str) -> float:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)
    return (time.perf_counter() - began) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.import_time", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=21)
    repetitions = parser.parse_args().repetitions
    for program in PROGRAMS.values():
        run(program)  # Writes the bytecode, so that no measured run has to.
    measured: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for name in turns(tuple(PROGRAMS), repetitions):
        measured[name].append(run(PROGRAMS[name]))
    medians = {name: round(median(times), 1) for name, times in measured.items()}
    ratio = medians["wsgi"] / medians["libraries"]
    for name, milliseconds in medians.items():
        print(f"{name:13} {milliseconds:7.1f} ms   {PROGRAMS[name]}")
    print(f"ratio {ratio:.2f}, goal at most {GOAL}: {'reached' if ratio <= GOAL else 'MISSED'}")
    save("import_time", {"milliseconds": medians, "ratio": round(ratio, 3), "goal": GOAL, "repetitions": repetitions})
    return 0


if __name__ == "__main__":
    sys.exit(main())
