"""What happens to an SQLite database: its disk gets full, also while servers die, and has room again."""

import random
import time

from bench.torture.chaos import Cards
from bench.torture.disk import Disk
from bench.torture.stage import Stage


class DiskFaults:
    """Faults of the disk."""

    def __init__(self, stage: Stage, disk: Disk, writers: list[int], rng: random.Random) -> None:
        self._stage = stage
        self._disk = disk
        self._writers = writers
        self._rng = rng
        self._name = "the disk is full" if disk.is_real else "no file may grow"

    def cards(self) -> Cards:
        return {self._name: (2, self._fill), f"{self._name} while a server dies": (1, self._fill_and_kill)}

    def _fill(self) -> None:
        self._find_writers()
        self._disk.fill()
        time.sleep(self._rng.uniform(0.5, 3))
        self._find_writers()
        self._disk.free()

    def _fill_and_kill(self) -> None:
        self._find_writers()
        self._disk.fill()
        time.sleep(self._rng.uniform(0, 1))
        self._stage.servers[0].kill()
        # It starts again on a full disk.
        time.sleep(self._rng.uniform(1, 4))
        self._find_writers()
        self._disk.free()

    def _find_writers(self) -> None:
        server = self._stage.servers[0]
        self._writers[:] = [server.process.pid, *server.web_processes()]
