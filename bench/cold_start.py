"""How long does somebody wait for a process that has just been started, and where does that time go?"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from app.lifecycle import TaskStatus
from app.settings import PREFIX, ROOT, Settings
from app.storage.database import Database
from bench.report import save, turns
from bench.tables import add_tasks, create_tables, temporary_url
from tests.support.client import make_key
from tests.support.mariadb import PrivateServer
from tests.support.server import start_server, stop_server

GOAL = 1.3
IMPORTS = {
    "python alone": "pass",
    "libraries": "import flask, sqlalchemy, pymysql, marshmallow",
    "wsgi": "import wsgi",
}
# As Passenger starts a process: the application is imported, then the process forks, and the child answers. The child
# says how long its first answer took, and the parent how long the import took, both from their own beginnings.
_PASSENGER = """
import io, json, os, sys, time
began = time.perf_counter()
sys.path.insert(0, {folder!r})
from passenger_wsgi import application
imported = time.perf_counter()
def ask():
    body = {body!r}
    environ = dict(REQUEST_METHOD={method!r}, SCRIPT_NAME="", PATH_INFO={path!r}, QUERY_STRING="",
        SERVER_NAME="localhost", SERVER_PORT="80", SERVER_PROTOCOL="HTTP/1.1", HTTP_HOST="localhost",
        HTTP_X_API_KEY={key!r}, CONTENT_TYPE="application/json", CONTENT_LENGTH=str(len(body)))
    environ.update({{"wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr, "wsgi.multithread": False, "wsgi.multiprocess": True, "wsgi.run_once": False}})
    began, seen = time.perf_counter(), []
    answer = application(environ, lambda status, headers, error=None: seen.append(status))
    b"".join(answer)
    seconds = time.perf_counter() - began
    answer.close()
    assert seen[0].startswith("200"), seen
    return seconds
reading, writing = os.pipe()
forked = time.perf_counter()
if not os.fork():
    first = ask()
    os.write(writing, json.dumps([time.perf_counter() - forked, first, ask()]).encode())
    os._exit(0)
print(json.dumps([imported - began, *json.loads(os.read(reading, 1000))]))
"""
_REQUESTS: dict[str, tuple[str, str, Any]] = {
    "health": ("GET", "/api/health", None),
    "claim": ("POST", "/api/tasks/claim", {"worker_id": "cold", "types": ["bench"]}),
}


def environment(**more: str) -> dict[str, str]:
    """Return an environment without settings of ours, in which Python keeps its bytecode, as it does everywhere."""
    own = (PREFIX, "PYTHONDONTWRITEBYTECODE")
    return {**{name: value for name, value in os.environ.items() if not name.startswith(own)}, **more}


def run(command: list[str], given: bytes = b"", **more: str) -> tuple[float, bytes]:
    """Return how many milliseconds a process took from its start to its end, and what it printed."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment(**more), input=given, stdout=subprocess.PIPE, check=True)
    return (time.perf_counter() - began) * 1000, done.stdout


def measure_imports(repetitions: int) -> dict[str, float]:
    """Return the milliseconds of a process that only imports."""
    for program in IMPORTS.values():
        run([sys.executable, "-c", program])  # Writes the bytecode, so that no measured run has to.
    measured: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for name in turns(tuple(IMPORTS), repetitions):
        measured[name].append(run([sys.executable, "-c", IMPORTS[name]])[0])
    return {name: round(median(times), 1) for name, times in measured.items()}


def profile_imports() -> list[tuple[str, float]]:
    """Return the packages that `import wsgi` spends most milliseconds in, each without what it imports."""
    command = [sys.executable, "-X", "importtime", "-c", IMPORTS["wsgi"]]
    told = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True).stderr
    own: Counter[str] = Counter()
    for line in told.splitlines():
        figures, _, module = line.removeprefix("import time:").rpartition("|")
        microseconds = figures.partition("|")[0].strip()
        if microseconds.isdigit():
            parts = module.strip().split(".")
            own[".".join(parts[:2] if parts[0] == "app" else parts[:1])] += int(microseconds)
    return [(package, round(microseconds / 1000, 1)) for package, microseconds in own.most_common(20)]


def measure_answers(kind: str, url: str, key: str, folder: Path, repetitions: int) -> dict[str, dict[str, float]]:
    """Return the milliseconds to the first answer of a cold process, by CGI, as Passenger has it, and under granian."""
    settings = {f"{PREFIX}DATABASE_URL": url}
    cgi = folder / "taskmanager.cgi"
    cgi.write_text((ROOT / "deploy" / "taskmanager.cgi").read_text().replace("/home/you/taskmanager", str(ROOT)))
    # Where an operator puts it: beside wsgi.py.
    passenger = folder / "passenger_wsgi.py"
    text = (ROOT / "deploy" / "passenger_wsgi.py").read_text()
    passenger.write_text(text.replace("os.path.dirname(os.path.abspath(__file__))", repr(str(ROOT))))
    found: dict[str, list[float]] = {}

    def note(name: str, milliseconds: float) -> None:
        found.setdefault(name, []).append(milliseconds)

    for _ in range(repetitions):
        for name, (method, path, body) in _REQUESTS.items():
            data = b"" if body is None else json.dumps(body).encode()
            asked = {
                "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": "",
                "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
                "GATEWAY_INTERFACE": "CGI/1.1", "HTTP_X_API_KEY": key, "CONTENT_TYPE": "application/json",
                "CONTENT_LENGTH": str(len(data)),
            }  # fmt: skip
            milliseconds, answer = run([sys.executable, str(cgi)], data, **settings, **asked)
            if not answer.startswith(b"Status: 200"):
                raise RuntimeError(f"CGI answered {answer[:300]!r}")
            note(f"CGI, {name}", milliseconds)
            program = _PASSENGER.format(folder=str(folder), body=data, method=method, path=path, key=key)
            _, told = run([sys.executable, "-c", program], **settings)
            imported, forked, first, second = (seconds * 1000 for seconds in json.loads(told))
            note(f"Passenger, {name}: from the start", imported + forked)
            note(f"Passenger, {name}: of a forked process, the first answer", first)
            note(f"Passenger, {name}: the second answer", second)
        began = time.perf_counter()
        server = start_server(url, key, folder / "granian.log", processes=1)
        note("granian: to the first answer", (time.perf_counter() - began) * 1000)
        stop_server(server)
    return {name: {"median": round(median(times), 1), "least": round(min(times), 1)} for name, times in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.cold_start", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=21)
    repetitions = parser.parse_args().repetitions
    medians = measure_imports(repetitions)
    ratio = medians["wsgi"] / medians["libraries"]
    for name, milliseconds in medians.items():
        print(f"{name:13} {milliseconds:7.1f} ms   {IMPORTS[name]}")
    print(f"ratio {ratio:.2f}, goal at most {GOAL}: {'reached' if ratio <= GOAL else 'MISSED'}")
    packages = profile_imports()
    print("\n`import wsgi` by package, in ms: " + ", ".join(f"{package} {own}" for package, own in packages))
    answers: dict[str, Any] = {}
    for kind in ("sqlite", "mariadb"):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tm-bench-")))
            maria = stack.enter_context(PrivateServer()) if kind == "mariadb" else None
            url = stack.enter_context(temporary_url(kind, maria.url if maria else None, folder))
            database = Database(Settings(database_url=url))
            create_tables(database)
            add_tasks(database, 10_000, TaskStatus.PENDING)
            key = make_key(database, "worker", "read")
            database.dispose()
            answers[kind] = measure_answers(kind, url, key, folder, max(repetitions // 3, 1))
        print(f"\n{kind}: milliseconds to the first answer of a cold process, median and least")
        for name, times in answers[kind].items():
            print(f"  {name:60} {times['median']:8.1f} {times['least']:8.1f}")
    results = {"milliseconds": medians, "ratio": round(ratio, 3), "goal": GOAL, "packages": packages}
    save("cold_start", {**results, "answers": answers, "repetitions": repetitions})
    return 0


if __name__ == "__main__":
    sys.exit(main())
