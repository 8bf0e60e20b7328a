"""The board: a small shared file by which the run tells its clients what to do, and they tell how far they are."""

import mmap
import struct
from pathlib import Path

from bench.torture.plan import BACKLOG

CLIENTS = 128
_TYPES = tuple(BACKLOG)
_NUMBER = struct.Struct("<q")
_SIZE = _NUMBER.size
# The phase; what waits of each type; created and ended by each client.
_WAITING_AT = _SIZE
_COUNTS_AT = _WAITING_AT + _SIZE * len(_TYPES)
_LENGTH = _COUNTS_AT + 2 * _SIZE * CLIENTS


class Board:
    """One mapping of the shared file; each number has one writer."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_LENGTH))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _LENGTH)

    def _get(self, at: int) -> int:
        return int(_NUMBER.unpack_from(self._map, at)[0])

    def _set(self, at: int, value: int) -> None:
        _NUMBER.pack_into(self._map, at, value)

    @property
    def phase(self) -> int:
        return self._get(0)

    @phase.setter
    def phase(self, phase: int) -> None:
        self._set(0, phase)

    def waiting(self, type_name: str) -> int:
        return self._get(_WAITING_AT + _SIZE * _TYPES.index(type_name))

    def set_waiting(self, type_name: str, number: int) -> None:
        self._set(_WAITING_AT + _SIZE * _TYPES.index(type_name), number)

    def count(self, client: int, *, created: int = 0, ended: int = 0) -> None:
        at = _COUNTS_AT + 2 * _SIZE * client
        self._set(at, self._get(at) + created)
        self._set(at + _SIZE, self._get(at + _SIZE) + ended)

    def totals(self) -> tuple[int, int]:
        numbers = [self._get(_COUNTS_AT + _SIZE * place) for place in range(2 * CLIENTS)]
        return sum(numbers[::2]), sum(numbers[1::2])
