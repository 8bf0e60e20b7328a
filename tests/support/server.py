"""The production server as a process of its own, on a prepared database."""

import http.client
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from app.settings import PREFIX, ROOT
from tests.support.ports import find_free_port

SECONDS_TO_START = 30


def server_command(
    port: int, *, processes: int = 2, application: str = "rsgi:application", interface: str = "rsgi"
) -> list[str]:
    """Return the README's command for production, for this Python and port."""
    return [
        *(sys.executable, "-m", "granian", "--interface", interface, "--http", "1", "--no-ws"),
        *("--workers-kill-timeout", "5", "--host", "127.0.0.1", "--port", str(port), "--workers", str(processes)),
        application,
    ]


@dataclass(frozen=True, slots=True)
class LiveServer:
    """Where a running server listens, and a key that may do everything there."""

    url: str
    admin_key: str
    process: subprocess.Popen[bytes]
    log: Path


def start_server(
    database_url: str,
    admin_key: str,
    log: Path,
    *,
    processes: int = 2,
    application: str = "rsgi:application",
    interface: str = "rsgi",
    **more: str,
) -> LiveServer:
    """Start the server and return when it answers; `more` are settings, such as `cache_seconds="0"`."""
    port = find_free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment[f"{PREFIX}DATABASE_URL"] = database_url
    environment.update({PREFIX + name.upper(): value for name, value in more.items()})
    with log.open("wb") as output:
        process = subprocess.Popen(
            server_command(port, processes=processes, application=application, interface=interface),
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    server = LiveServer(f"http://127.0.0.1:{port}", admin_key, process, log)
    give_up_at = time.monotonic() + SECONDS_TO_START
    # A process that is still starting when the server is told to stop would miss it (granian 2.8).
    while log.read_text(errors="replace").count("Started worker-") < processes or not _answers(port):
        if process.poll() is not None or time.monotonic() > give_up_at:
            stop_server(server)
            raise RuntimeError(f"the server does not start:\n{log.read_text(errors='replace')[-5000:]}")
        time.sleep(0.05)
    return server


def stop_server(server: LiveServer) -> None:
    """Stop the server as an operator would; what does not go within 10 s is killed, its processes with it."""
    server.process.terminate()
    try:
        server.process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        # The group is the server's own: it was started in a new session.
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS_TO_START)
    try:
        connection.request("GET", "/api/health")
        connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()
    return True
