"""A private MariaDB or MySQL server for the tests.

    python -m tests.support.mariadb --print-url -- command args…

runs the command with the server's URL in TASKMANAGER_TEST_DATABASE_URL and stops the server after it.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pymysql

from tests.support.ports import find_free_port

URL_VARIABLE = "TASKMANAGER_TEST_DATABASE_URL"
SECONDS_TO_START = 60
# Where Debian puts servers, which an ordinary user's PATH leaves out.
_MORE_FOLDERS = ("/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/usr/local/libexec")
# Small, quiet, and without the care for power cuts that tests do not need. `loose-`: where the server knows it.
_OPTIONS = (
    "--bind-address=127.0.0.1",
    "--character-set-server=utf8mb4",
    "--innodb-buffer-pool-size=64M",
    "--innodb-doublewrite=0",
    "--innodb-flush-log-at-trx-commit=2",
    "--loose-innodb-log-file-size=32M",
    "--loose-mysqlx=OFF",
    "--max-connections=300",
    "--performance-schema=OFF",
    "--skip-log-bin",
    "--skip-name-resolve",
)


class NoServer(Exception):
    """There is no server program here, or it does not start; the message says which."""


def find_program(*names: str) -> str | None:
    """Return the path of the first program of these names."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE_FOLDERS])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def find_server() -> str | None:
    """Return the path of the server program."""
    return find_program("mariadbd", "mysqld")


class PrivateServer:
    """A server on a free port of this machine with its own folder, which goes away with it.

    `options` come after ours; `parent` is where its folder is made.
    """

    def __init__(self, *options: str, parent: Path | None = None, port: int | None = None) -> None:
        program = find_server()
        if program is None:
            raise NoServer("there is no mariadbd or mysqld on this machine")
        self._program = program
        self._options = options
        # The path of a socket may have about 100 characters, so not below pytest's long folders.
        self._folder = Path(tempfile.mkdtemp(prefix="tm-", dir=parent))
        self.data, self._temporary, self.log = (self._folder / name for name in ("data", "tmp", "log"))
        # Servers refuse to run as root unless they are told to.
        self._user = ["--user=root"] if os.geteuid() == 0 else []
        self.process: subprocess.Popen[bytes] | None = None
        try:
            self._make_folder()
            self.port = port or find_free_port()
            self.url = f"mysql://root@127.0.0.1:{self.port}/"
            self.start()
        except BaseException:
            self.stop()
            raise

    def _make_folder(self) -> None:
        # A server that starts clears temporary tables away, those of others in the same folder too.
        self._temporary.mkdir()
        with self.log.open("wb") as output:
            made = subprocess.run(
                [*_initialiser(self._program), f"--datadir={self.data}", f"--tmpdir={self._temporary}", *self._user],
                stdout=output,
                stderr=output,
            )
        if made.returncode:
            raise NoServer(f"the folder for {self._program} could not be made:\n{_end_of(self.log)}")

    def start(self) -> None:
        """Start the server on its folder and return when it answers; a second time after `kill`."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    self._program,
                    "--no-defaults",
                    f"--datadir={self.data}",
                    f"--tmpdir={self._temporary}",
                    f"--port={self.port}",
                    f"--socket={self._folder / 'socket'}",
                    f"--pid-file={self._folder / 'pid'}",
                    *self._user,
                    *_OPTIONS,
                    *self._options,
                ],
                stdout=output,
                stderr=output,
                # Ctrl-C is for pytest, which then stops the server.
                start_new_session=True,
            )
        give_up_at = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                self.connect().close()
                return
            except pymysql.MySQLError as error:
                if self.process.poll() is not None or time.monotonic() > give_up_at:
                    raise NoServer(f"{self._program} does not start ({error}):\n{_end_of(self.log)}") from None
                time.sleep(0.05)

    def connect(self, **more: Any) -> pymysql.connections.Connection:
        """Return a new connection of the administrator."""
        address = {"host": "127.0.0.1", "port": self.port, "user": "root"}
        return pymysql.connect(**{**address, "connect_timeout": 2, "ssl_disabled": True, **more})

    def kill(self) -> None:
        """End the server as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Stop the server and remove its folder; twice is as good as once."""
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "PrivateServer":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


@contextmanager
def server_url():
    """Yield the URL of the server that the environment names, or of a private one. Raises NoServer."""
    given = os.environ.get(URL_VARIABLE)
    if given:
        yield given
        return
    with PrivateServer() as server:
        yield server.url


def _initialiser(program: str) -> list[str]:
    version = subprocess.run([program, "--no-defaults", "--version"], capture_output=True, text=True, check=False)
    if "mariadb" not in version.stdout.lower():
        return [program, "--no-defaults", "--initialize-insecure"]
    script = find_program("mariadb-install-db", "mysql_install_db")
    if script is None:
        raise NoServer(f"{program} is here, but mariadb-install-db is not")
    return [
        script,
        "--no-defaults",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--skip-name-resolve",
    ]


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


def main() -> int:
    """Run a command beside a private server."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.mariadb", description=__doc__)
    parser.add_argument("--find", action="store_true", help="print which server program there is, or fail")
    parser.add_argument("--print-url", action="store_true", help="print the server's URL first")
    parser.add_argument("command", nargs="*", help="what to run; without it the server runs until Ctrl-C")
    arguments = parser.parse_args()
    if arguments.find:
        program = find_server()
        print(f"Server for the tests: {program}" if program else "There is no mariadbd or mysqld.", flush=True)
        return 0 if program else 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with server_url() as url:
            if arguments.print_url or not arguments.command:
                print(url, flush=True)
            with suppress(KeyboardInterrupt):
                if arguments.command:
                    environment = {**os.environ, URL_VARIABLE: url}
                    return subprocess.run(arguments.command, env=environment, check=False).returncode
                signal.pause()
            return 130
    except NoServer as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
