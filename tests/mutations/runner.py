"""Plants mutations in a copy of the source, one by one, and runs the tests that must catch them."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.settings import ROOT
from tests.mutations.mutation import Mutation
from tests.support.mariadb import URL_VARIABLE, server_url

# What tests read beside their own files.
_COPIED = ("app", "docs", "examples", "migrations", "tests", "README.md", "openapi.json", "pyproject.toml")
_SECONDS = 300
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+?::.*?)(?: - .*)?$", re.MULTILINE)
_OTHER = {"sqlite": "mariadb", "mariadb": "sqlite"}
# Exit codes of pytest: all passed; some failed.
_PASSED, _SOME_FAILED = 0, 1


class Broken(Exception):
    """The list of mutations, or what it is tried on, is not as it must be; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one mutation."""

    mutation: Mutation
    #: The first test that failed, or None where all of them passed.
    caught_by: str | None


def run_mutations(mutations: Sequence[Mutation]) -> Iterator[Outcome]:
    """Yield for each of these mutations, in order, by which test it is caught; no file of the checkout is touched.

    Raises Broken where a text is not found once, and where the tests fail without a mutation.
    """
    for mutation in mutations:
        check_text(mutation)
    with ExitStack() as stack:
        # To load the plugins of all packages takes longer than most tests.
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        if any(mutation.on == "mariadb" for mutation in mutations):
            environment[URL_VARIABLE] = stack.enter_context(server_url())
        copy = stack.enter_context(_copy())
        sound: set[tuple[tuple[str, ...], str]] = set()
        for mutation in mutations:
            if (mutation.tests, mutation.on) not in sound:
                failed = _run_tests(copy, mutation, environment)
                if failed is not None:
                    raise Broken(f"{failed} fails without any mutation: mend that first.")
                sound.add((mutation.tests, mutation.on))
            with _planted(copy, mutation):
                yield Outcome(mutation, _run_tests(copy, mutation, environment))


def check_text(mutation: Mutation) -> None:
    """Raise Broken unless the mutation's text occurs in its file exactly once."""
    number = (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.old)
    if number != 1:
        raise Broken(
            f"“{mutation.name}”: its text occurs {number} times in {mutation.file}. The code has changed; "
            "change the row in tests/mutations/ so that it plants the same fault in the new code."
        )


@contextmanager
def _copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tm-mutations-") as folder:
        for name in _COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder)
        yield Path(folder)


@contextmanager
def _planted(copy: Path, mutation: Mutation) -> Iterator[None]:
    path = copy / mutation.file
    original = path.read_text(encoding="utf-8")
    _write(path, original.replace(mutation.old, mutation.new))
    try:
        yield
    finally:
        _write(path, original)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    # Python tells files apart by second and size, which a mutation need not change.
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def _run_tests(copy: Path, mutation: Mutation, environment: Mapping[str, str]) -> str | None:
    """Return the first of the mutation's tests that fails, None if all pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
    command += ["-k", f"not {_OTHER[mutation.on]}", *mutation.tests]
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Broken(f"“{mutation.name}”: its tests had not ended after {_SECONDS} s.") from None
    if done.returncode == _PASSED:
        return None
    found = _FAILED.search(done.stdout)
    if done.returncode != _SOME_FAILED or found is None:
        raise Broken(f"“{mutation.name}”: its tests could not be run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return found[1]
