"""Checks Python and the packages; runs by itself, with the standard library of any Python from 3.6.

So that an old Python or a missing package is answered with a sentence, it imports nothing of the application, and the
scripts at the top level run it by its path.
"""

import importlib
import json
import sys
from typing import NamedTuple

OLDEST_PYTHON = (3, 10)
# The names by which pip knows them, the modules to import, and the oldest versions; as in pyproject.toml.
PACKAGES = (
    ("alembic", "alembic", "1.14"),
    ("apispec", "apispec", "6.8"),
    ("cronsim", "cronsim", "2.6"),
    ("flask", "flask", "3.1"),
    ("flask-swagger-ui", "flask_swagger_ui", "5.21"),
    ("jsonschema-rs", "jsonschema_rs", "0.52"),
    ("marshmallow", "marshmallow", "4.0"),
    ("orjson", "orjson", "3.10"),
    ("pymysql", "pymysql", "1.1.1"),
    ("sqlalchemy", "sqlalchemy", "2.0.43"),
    ("tzdata", "tzdata", "2025.1"),
)
INSTALL = "run `pip install --editable .` in TaskManager's folder, with the same Python"


class Check(NamedTuple):
    """What was looked at and found; `status` is ok, warning or error."""

    status: str
    name: str
    found: str
    advice: str = ""


def check_requirements() -> "list[Check]":
    """Return the checks of Python and, if it is new enough, of every package."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < OLDEST_PYTHON:
        needed = ".".join(str(part) for part in OLDEST_PYTHON)
        return [
            Check(
                "error",
                "python",
                f"Python {python}; Python {needed} or newer is needed",
                "run this with a newer Python, for example `python3.11`; many hosts offer a choice in their panel",
            )
        ]
    checks = [Check("ok", "python", f"Python {python}")]
    for package, module, oldest in PACKAGES:
        checks.append(_check_package(package, module, oldest))
    return checks


def _check_package(package: str, module: str, oldest: str) -> Check:
    from importlib import metadata

    try:
        importlib.import_module(module)
        version = metadata.version(package)
    except Exception as error:  # A package for another Python or processor can fail in any way.
        first_line = str(error).split("\n")[0]
        return Check("error", package, f"cannot be imported: {first_line}", INSTALL)
    if _numbers(version) < _numbers(oldest):
        return Check("error", package, f"version {version}; {oldest} or newer is needed", INSTALL)
    return Check("ok", package, f"version {version}")


def _numbers(version: str) -> "list[int]":
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return numbers


def report(checks: "list[Check]", as_json: bool) -> int:
    """Print the checks, one line each or as one JSON object; return the exit code: 1 if one of them is an error."""
    is_ok = all(check.status != "error" for check in checks)
    if as_json:
        print(json.dumps({"ok": is_ok, "checks": [check._asdict() for check in checks]}, ensure_ascii=False, indent=2))
    else:
        for check in checks:
            advice = "" if check.status == "ok" or not check.advice else "; to do: " + check.advice
            print(f"{check.status:8} {check.name}: {check.found}{advice}")
    return 0 if is_ok else 1


def report_unless_met(as_json: bool) -> None:
    """End the program with the report when something is missing."""
    checks = check_requirements()
    if any(check.status == "error" for check in checks):
        sys.exit(report(checks, as_json))


def stop_unless_met() -> None:
    """End the program with one sentence for each thing that is missing."""
    missing = [check for check in check_requirements() if check.status == "error"]
    for check in missing:
        print(f"{check.name}: {check.found}: {check.advice}.", file=sys.stderr)
    if missing:
        sys.exit(1)
