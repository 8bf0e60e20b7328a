"""Settings: everything that an operator can choose, read once from the environment and an optional file."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from app.policies import POLICIES, Policies, check_policy

ROOT = Path(__file__).resolve().parent.parent
SETTINGS_FILE = ROOT / "instance" / "taskmanager.env"
PREFIX = "TASKMANAGER_"
# Names under this prefix belong to the project's own tests.
TEST_PREFIX = "TASKMANAGER_TEST_"


class SettingsError(Exception):
    """A setting is unknown or wrong; the message names it and says what is expected."""


def _setting(default: Any, meaning: str, **bounds: Any) -> Any:
    return field(default=default, metadata={"meaning": meaning, **bounds})


@dataclass(frozen=True, slots=True)
class Settings:
    """The values that the parts of the application receive; nothing else reads the environment."""

    database_url: str = _setting(
        "sqlite:///instance/taskmanager.db",
        "Where the database is: `sqlite:///relative.db`, `sqlite:////absolute.db`, "
        "`mysql://user:password@host/name` (MySQL or MariaDB; `?unix_socket=/path` for a socket).",
    )
    auth: bool = _setting(True, "`off` lets everybody in without a key: for trusted networks only.")
    legacy_paths: bool = _setting(False, "`on` serves the endpoints of older clients at the host's root as well.")
    cors_origins: tuple[str, ...] = _setting(
        (), "Origins, separated by commas, whose pages may call the API from a browser; `*` for any."
    )
    max_body_bytes: int = _setting(1024 * 1024, "The largest request body.", low=1024, high=15 * 1024 * 1024)
    database_pool_size: int = _setting(1, "Connections that one process may hold.", low=1, high=100)
    database_timeout_seconds: int = _setting(
        5, "How long a request waits for a connection or a lock before it answers 503.", low=1, high=60
    )
    sqlite_synchronous: str = _setting(
        "full", "`normal` is faster; the last tasks may then be lost in a power cut.", choices=("full", "normal")
    )
    cache_seconds: float = _setting(
        5.0,
        "How long a process trusts what it read of keys, task types and signals: a revoked key, a pause or a worker's "
        "command takes effect everywhere after at most this time.",
        low=0,
        high=300,
    )
    poll_min_seconds: int = _setting(1, "The shortest `Retry-After` for a worker that found no task.", low=1, high=3600)
    poll_max_seconds: int = _setting(15, "The longest `Retry-After` for a worker that found no task.", low=1, high=3600)
    housekeeping_seconds: float = _setting(
        0.05,
        "Time that may be spent after a request on what is due (leases, retries, removals); 0 leaves it all to "
        "`taskmanager housekeeping` and to claims that find nothing.",
        low=0,
        high=10,
    )
    wait_max_seconds: int = _setting(
        0,
        "The longest that `GET /api/tasks/{id}?wait=N` waits for the end of a task; 0 answers at once. Each such "
        "request occupies a process or thread of the server.",
        low=0,
        high=60,
    )
    wait_max_requests: int = _setting(
        2,
        "How many requests may wait so at the same time, over all processes and hosts: fewer than there are processes "
        "and threads, so that workers can always get in.",
        low=1,
        high=100,
    )
    idempotency_seconds: int = _setting(
        86400, "How long the answer to an `Idempotency-Key` is remembered.", low=60, high=30 * 86400
    )
    audit_seconds: int = _setting(
        365 * 86400,
        "How long the audit log keeps an entry.",
        low=86400,
        high=100 * 365 * 86400,
    )
    log_level: str = _setting(
        "info", "How much the server writes to its log.", choices=("debug", "info", "warning", "error")
    )
    default_policies: Policies = field(default_factory=Policies)

    @classmethod
    def from_env(cls, environ: Mapping[str, str], file: Path | None = SETTINGS_FILE) -> "Settings":
        """Build the settings from `environ` and, below it, the lines `NAME=value` of `file` if there is one.

        Raises SettingsError that names the first unknown or wrong setting.
        """
        given = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
        if file is not None and file.is_file():
            given = {**_read_file(file), **given}
        known = {PREFIX + f.name.upper(): f for f in fields(cls) if f.name != "default_policies"}
        policy_prefix = PREFIX + "DEFAULT_"
        known_policies = {policy_prefix + name.upper(): name for name in POLICIES}
        values: dict[str, Any] = {}
        policies: dict[str, Any] = {}
        for name, text in given.items():
            try:
                if name in known:
                    values[known[name].name] = _parse(known[name], text.strip())
                elif name in known_policies:
                    policies[known_policies[name]] = parse_policy(known_policies[name], text.strip())
                elif not name.startswith(TEST_PREFIX):
                    raise SettingsError(f"Unknown setting {name}: the README lists all names that start with {PREFIX}")
            except ValueError as error:
                raise SettingsError(f"Wrong value for {name}: {error}") from None
        settings = cls(**values, default_policies=Policies(**policies))
        if settings.poll_min_seconds > settings.poll_max_seconds:
            raise SettingsError(f"Wrong value for {PREFIX}POLL_MIN_SECONDS: it is above {PREFIX}POLL_MAX_SECONDS")
        return settings


def parse_policy(name: str, text: str) -> Any:
    """Return the policy `name` written as `text` (`none` where a policy may be absent); raises ValueError."""
    policy = POLICIES[name]
    value: Any = text
    if text.lower() in ("", "none") and policy.default is None:
        value = None
    elif "names" in policy.metadata:
        value = [name.strip() for name in text.split(",")]
    elif "low" in policy.metadata:
        value = float(text) if isinstance(policy.default, float) else int(text)
    check_policy(name, value)
    return value


def _parse(setting: Any, text: str) -> Any:
    bounds = setting.metadata
    if isinstance(setting.default, bool):
        if text.lower() not in ("on", "off"):
            raise ValueError("must be on or off")
        return text.lower() == "on"
    if "choices" in bounds:
        if text.lower() not in bounds["choices"]:
            raise ValueError(f"must be one of: {', '.join(bounds['choices'])}")
        return text.lower()
    if "low" in bounds:
        number = float(text) if isinstance(setting.default, float) else int(text)
        if not bounds["low"] <= number <= bounds["high"]:
            raise ValueError(f"must be from {bounds['low']} to {bounds['high']}")
        return number
    if setting.name == "cors_origins":
        return tuple(origin.strip().rstrip("/") for origin in text.split(",") if origin.strip())
    if not text:
        raise ValueError("must not be empty")
    return text


def _read_file(file: Path) -> dict[str, str]:
    found = {}
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"The settings file {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"The settings file {file} is not written in UTF-8: save it in that encoding") from None
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip().startswith(PREFIX):
            raise SettingsError(f"Line {number} of {file} must look like {PREFIX}NAME=value")
        found[name.strip()] = value.strip().strip("\"'")
    return found
