"""The program under test: the real WSGI application on a real database, under a clock that only the test moves."""

import io
import json
import math
from dataclasses import replace
from urllib.parse import urlsplit

from app import create_app
from app.housekeeping import Housekeeper
from app.queue import floor
from app.rest import operations
from app.settings import Settings
from app.storage.database import Database
from app.storage.models import metadata
from app.web.current import EXTENSION
from app.web.sightings import Sightings
from tests.machine.model.housekeeping import KEPT_ANSWERS
from tests.machine.rows import Rows
from tests.support.client import make_key
from tests.support.clock import START, ManualClock

# These stay from example to example.
_KEPT = ("api_keys",)


class PacedHousekeeper(Housekeeper):
    """Housekeeping to which the second since its last round has always passed, unless the test says otherwise.

    That second is one of the process and not of the database, so no example could say whether it is over.
    """

    is_time = True

    def run_if_time(self):
        self._next_round = 0.0
        return super().run_if_time() if self.is_time else 0


class Answer:
    """What the server answered."""

    def __init__(self, status, body):
        self.status = status
        self.body = body

    @property
    def code(self):
        return self.body.get("code") if self.status >= 400 else "ok"

    @property
    def data(self):
        return self.body["data"]


class Server:
    """One application, and a direct look into its tables."""

    def __init__(self, database_url):
        # A busy machine must not look like a backup that is going on, and `close` gives the process back as it was.
        self._patience = floor.SLOW_SECONDS, operations._AT_ONCE_SECONDS
        floor.SLOW_SECONDS = math.inf
        # Nothing is done after an answer, when nobody could say whether it has been done yet.
        settings = Settings(
            database_url=database_url,
            sqlite_synchronous="normal",
            housekeeping_seconds=0,
            idempotency_seconds=KEPT_ANSWERS,
        )
        self.clock = ManualClock()
        self.database = Database(settings, clock=self.clock)
        self.app = create_app(settings, database=self.database)
        self.housekeeper = PacedHousekeeper(self.database, settings)
        self._parts = self.app.extensions[EXTENSION]
        self.rows = Rows(database_url)
        self._key = make_key(self.database, "admin")

    def reset(self):
        """Begin an example: empty tables, and a process that remembers nothing."""
        with self.database.engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                if table.name not in _KEPT and connection.execute(table.select().limit(1)).first() is not None:
                    connection.execute(table.delete())
        self.database.cache.clear()
        self.clock.instant = START
        sightings = Sightings(self.database, clock=lambda: self.clock.instant.timestamp())
        self.app.extensions[EXTENSION] = replace(self._parts, housekeeping=self.housekeeper, sightings=sightings)
        self.let_operations_run(at_once=True)

    def let_operations_run(self, *, at_once):
        """Let a request do all slices of its operation however busy the machine is, or leave them to housekeeping."""
        operations._AT_ONCE_SECONDS = 600 if at_once else 0

    def send(self, method, path, body=None, headers=None):
        """Send a request through WSGI and return the answer; what follows the answer has been done then."""
        content = b"" if body is None else json.dumps(body).encode()
        parts = urlsplit(path)
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(content)),
            "HTTP_X_API_KEY": self._key,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(content),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in (headers or {}).items()},
        }
        told = []
        chunks = self.app.wsgi_app(environ, lambda status, _headers, _error=None: told.append(status))
        try:
            text = b"".join(chunks)
        finally:
            chunks.close()
        return Answer(int(told[0][:3]), json.loads(text))

    def close(self):
        floor.SLOW_SECONDS, operations._AT_ONCE_SECONDS = self._patience
        self.rows.close()
        self.database.dispose()
