"""Start TaskManager here and now: `make run` with a demo, `make serve` (--no-demo) without."""

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from app.settings import ROOT
from app.setup.failures import explain
from examples.demo import work
from examples.demo.api import Api
from examples.demo.failure import Failure, Stopped
from examples.demo.installation import KEYS_FILE, keep_keys, set_up
from examples.demo.programs import WORKER, await_health, check_port, start_server, start_worker
from examples.demo.screen import Screen
from examples.demo.stop import listen, pause

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def main() -> int:
    """Run until Ctrl-C; return the exit code."""
    given = _read_arguments()
    # A terminal that cannot show a character gets a question mark instead of an error.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    listen()
    screen = Screen()
    try:
        with ExitStack() as running:
            return _run(given, screen, running)
    except Stopped:
        screen.end_progress()
        # Below the ^C that a terminal shows.
        screen.say("\nStopped.")
        return 0
    except BrokenPipeError:
        # Nobody reads the output any more; what is left of it must not fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(explain(error), file=sys.stderr)
        return 1
    except Failure as failure:
        screen.end_progress()
        print(failure, file=sys.stderr)
        return 1


def _run(given: argparse.Namespace, screen: Screen, running: ExitStack) -> int:
    host, port = os.environ.get("HOST") or "127.0.0.1", _read_port(os.environ.get("PORT") or "8000")
    check_port(host, port)
    screen.say("Setting up the database …")
    installation = set_up()
    given.folder.mkdir(parents=True, exist_ok=True)
    keys = None if given.no_demo else keep_keys(installation, given.folder)
    near = _EVERYWHERE.get(host, host)
    url = f"http://{f'[{near}]' if ':' in near else near}:{port}"
    screen.say(f"Starting the server on {url} (database {installation.database_url}) …")
    log = given.folder / "server.log"
    server = start_server(host, port, log)
    running.callback(server.stop)
    api = Api(near, port, keys["admin"] if keys else None)
    running.callback(api.close)
    for warning in await_health(server, api):
        screen.say(f"Warning: {warning}")
    if keys is None:
        _show_server(screen, url, installation.admin_key, given.folder / KEYS_FILE, log)
        while True:
            pause(0.5)
            server.check()
    work.register_types(api)
    files = work.find_files()
    order = work.create_tasks(api, files)
    total = len(order.ids)
    screen.say(
        f"{total} tasks for {len(files)} files of this folder: {order.new} new, {total - order.new} known from before."
    )
    worker = start_worker(url, keys["worker"], given.pause)
    running.callback(worker.stop)
    worker.tell(lambda line: screen.say(f"  worker  {line}"))
    while (done := work.count_done(api, order)) < total:
        screen.show_progress(done, total)
        pause(0.2)
        server.check()
        worker.check()
    screen.show_progress(done, total)
    screen.end_progress()
    if not order.new:
        screen.say("They were created by an earlier run; a file that has changed since gets new tasks.")
    results = work.read_results(api, order)
    screen.say()
    for line in work.result_lines(results):
        screen.say(line)
    if given.exit_when_done:
        return 0 if all(task["status"] == "completed" for task in results.values()) else 1
    _show_ways(screen, url, keys, given.folder / KEYS_FILE, log)
    while True:
        pause(0.5)
        server.check()
        worker.check()


def _show_server(screen: Screen, url: str, admin_key: str | None, keys_file: Path, log: Path) -> None:
    screen.say(f"""
TaskManager is ready.
  API and docs  {url}/api/docs/
  Log           {_short(log)}""")
    if admin_key is not None:
        screen.say(f"  Admin key     {admin_key}\n                Keep it safe: it is shown only this once.")
    elif keys_file.exists():
        screen.say(f"  Admin key     made before; `make run` keeps one in {_short(keys_file)}")
    else:
        screen.say("  Admin key     made before; `.venv/bin/taskmanager keys create --scope admin` makes another")
    screen.say("\nCtrl-C stops the server.")


def _show_ways(screen: Screen, url: str, keys: dict[str, str], keys_file: Path, log: Path) -> None:
    screen.say(f"""
Where to look next
  API and docs   {url}/api/docs/
  Your key       {keys["admin"]}
                 (it may do everything here; kept in {_short(keys_file)})
  Create a task  curl {url}/api/tasks -H 'X-API-Key: {keys["admin"]}' \\
                   -d '{{"type": "{work.CHECKSUM}", "params": {{"path": "LICENSE"}}}}'
  Its result     curl {url}/api/tasks/ID -H 'X-API-Key: {keys["admin"]}'
  Your worker    examples/workers/python/README.md tells how to write one; to run the sample once more beside this one:
                 TM_URL={url} TM_KEY={keys["worker"]} python3 {WORKER}
  Server's log   {_short(log)}

Server and worker go on until Ctrl-C.""")


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _read_port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:6]) < 65536):
        raise Failure(f"PORT must be a number from 1 to 65535, and is {text}.")
    return int(text)


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--no-demo", action="store_true", help="only the server: no demo tasks, no worker")
    parser.add_argument("--exit-when-done", action="store_true", help="stop when the demo's tasks are finished")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "instance", help="where keys and the server's log are kept (instance)"
    )
    parser.add_argument(
        "--pause", type=float, default=0.15, help="seconds that the worker takes over each task, to be watched (0.15)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
