"""A MariaDB that may be killed: durable as a careful operator has it, and behind a proxy that cuts connections."""

import shutil
from pathlib import Path

import pymysql

from bench.torture.ports import choose_ports
from bench.torture.servers import Proxy
from tests.support.mariadb import PrivateServer

# Nothing that was acknowledged may be lost by a crash.
_DURABLE = (
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-doublewrite=1",
    "--innodb-buffer-pool-size=512M",
    "--loose-innodb-log-file-size=96M",
    "--max-connections=60",
    "--max-connect-errors=1000000000",
)
_SCHEMA = "torture"
# In memory, if there is room: a kill loses nothing there, and no disk slows the run down.
_MEMORY = Path("/dev/shm")
_BYTES_NEEDED = 4 * 1024**3


class TorturedMariaDB:
    """The server and the proxy before it."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        own, proxied = choose_ports(2)
        has_room = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _BYTES_NEEDED
        self.server = PrivateServer(*_DURABLE, parent=_MEMORY if has_room else None, port=own)
        try:
            with self.server.connect() as connection, connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {_SCHEMA} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
            self.url = f"{self.server.url}{_SCHEMA}"
            self.proxied_url = f"mysql://root@127.0.0.1:{proxied}/{_SCHEMA}"
            self.proxy = Proxy("database-proxy", folder, [(proxied, own)], is_database=True, seed=seed)
        except BaseException:
            self.server.stop()
            raise

    def connect(self) -> pymysql.connections.Connection:
        """Return a connection straight to the tables, in autocommit."""
        return self.server.connect(database=_SCHEMA, autocommit=True, read_timeout=60)

    def keep(self, folder: Path) -> None:
        """Keep the data, for whoever wants to know what went wrong."""
        self.server.kill()
        shutil.copytree(self.server.data, folder / "data")

    def __enter__(self) -> "TorturedMariaDB":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.proxy.end()
        self.server.stop()
