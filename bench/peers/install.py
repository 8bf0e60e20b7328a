"""Install: what the peers need, for the measurement alone and never for the project."""

import subprocess
import sys
import venv
from pathlib import Path

from app.settings import ROOT
from tests.support.mariadb import find_program

_FOLDER = ROOT / ".venv-peers"
_WANTED = Path(__file__).with_name("requirements.txt")
PYTHON = _FOLDER / "bin" / "python"


class NotInstalled(Exception):
    """Something could not be installed; the message says what."""


def install_packages() -> None:
    """Make an environment with the peers in it, unless there is one of the same versions already."""
    done = _FOLDER / "installed.txt"
    wanted = f"{sys.version}\n{_WANTED.read_text()}"
    if done.exists() and done.read_text() == wanted:
        return
    print("installing the peers into .venv-peers …", file=sys.stderr)
    venv.create(_FOLDER, clear=True, with_pip=True)
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", _WANTED]
    if subprocess.run(command, stdout=sys.stderr).returncode:
        raise NotInstalled("the peers could not be installed (pip says above why)")
    done.write_text(wanted)


def program(name: str, package: str) -> str:
    """Return the path of a server's program, which is installed if it is missing and we may."""
    found = _find(name)
    if found is None:
        subprocess.run([ROOT / ".ci" / "apt_install", package])
        found = _find(name)
    if found is None:
        raise NotInstalled(f"there is no {name} on this machine, and it could not be installed")
    return found


def _find(name: str) -> str | None:
    # Debian keeps PostgreSQL's programs out of everybody's way.
    below = sorted(str(path) for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return find_program(name, *below[-1:])
