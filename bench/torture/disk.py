"""A disk that gets full: a small file system in memory or, where none may be mounted, a limit on the servers' files."""

import os
import resource
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_SIZE = "192m"
_BLOCK = bytes(1024 * 1024)
# Any file of a server ends here while its disk is full.
_FEW_BYTES = 16 * 1024


class Disk:
    """A folder in which the servers have their database; `pids` tells which processes write there."""

    def __init__(self, folder: Path, pids: Callable[[], list[int]]) -> None:
        self.folder = folder
        self._pids = pids
        self._filler = folder / "filler"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)]
        self.is_real = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """Leave no room."""
        if not self.is_real:
            self._limit_files(_FEW_BYTES)
            return
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            for block in (_BLOCK, _BLOCK[:4096]):
                with suppress(OSError):
                    while True:
                        file.write(block)

    def free(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)
        if not self.is_real:
            self._limit_files(resource.RLIM_INFINITY)

    def _limit_files(self, size: int) -> None:
        for pid in self._pids():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def __enter__(self) -> "Disk":
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.is_real:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=False)
