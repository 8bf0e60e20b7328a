"""Settings: each name and its bounds, the file below the environment, and messages that name what is wrong."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from app.policies import POLICIES, Policies
from app.settings import Settings, SettingsError

# For each setting: right texts with their values, and wrong texts.
ON_OFF = {"on": True, "off": False, "ON": True, " Off ": False}
NUMBERS = ["", "x", "1e400", "nan", "inf", "-inf", "0x10", "1,5"]
TABLE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "DATABASE_URL": ({"mysql://u:p@host/name": "mysql://u:p@host/name"}, ["", "  "]),
    "AUTH": (ON_OFF, ["true", "1", "yes", ""]),
    "LEGACY_PATHS": (ON_OFF, ["true", "1", "yes", ""]),
    "CORS_ORIGINS": ({"": (), "*": ("*",), "https://a.b, http://c:3/": ("https://a.b", "http://c:3"), ",": ()}, []),
    "MAX_BODY_BYTES": ({"1024": 1024, "15728640": 15728640}, [*NUMBERS, "1023", "15728641", "1.5"]),
    "DATABASE_POOL_SIZE": ({"1": 1, "100": 100}, [*NUMBERS, "0", "101", "1.5"]),
    "DATABASE_TIMEOUT_SECONDS": ({"1": 1, "60": 60}, [*NUMBERS, "0", "61"]),
    "SQLITE_SYNCHRONOUS": ({"full": "full", "NORMAL": "normal"}, ["off", ""]),
    "CACHE_SECONDS": ({"0": 0, "0.5": 0.5, "300": 300}, [*NUMBERS, "-1", "301"]),
    "POLL_MIN_SECONDS": ({"1": 1, "15": 15}, [*NUMBERS, "0", "3601", "16"]),
    "POLL_MAX_SECONDS": ({"1": 1, "3600": 3600}, [*NUMBERS, "0", "3601"]),
    "HOUSEKEEPING_SECONDS": ({"0": 0, "0.05": 0.05, "10": 10}, [*NUMBERS, "-1", "11"]),
    "WAIT_MAX_SECONDS": ({"0": 0, "60": 60}, [*NUMBERS, "-1", "61", "1.5"]),
    "WAIT_MAX_REQUESTS": ({"1": 1, "100": 100}, [*NUMBERS, "0", "101", "1.5"]),
    "IDEMPOTENCY_SECONDS": ({"60": 60, "2592000": 2592000}, [*NUMBERS, "59", "2592001"]),
    "AUDIT_SECONDS": ({"86400": 86400, "3153600000": 3153600000}, [*NUMBERS, "86399", "3153600001", "1.5"]),
    "LOG_LEVEL": ({"debug": "debug", "WARNING": "warning"}, ["verbose", ""]),
}
POLICY_TABLE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "max_attempts": ({"1": 1, "1000": 1000}, [*NUMBERS, "0", "1001", "none", "1.5"]),
    "retry_delay_seconds": ({"0": 0, "0.5": 0.5}, [*NUMBERS, "-1", "none"]),
    "retry_backoff": ({"fixed": "fixed", "linear": "linear"}, ["", "none", "cubic"]),
    "retry_delay_max_seconds": ({"0": 0, "60": 60}, [*NUMBERS, "-1", "99999999999"]),
    "retry_jitter": ({"0": 0, "1": 1, "0.25": 0.25}, [*NUMBERS, "-0.1", "1.1"]),
    "lease_seconds": ({"1": 1, "604800": 604800}, [*NUMBERS, "0", "604801", "none"]),
    "attempt_timeout_seconds": ({"none": None, "": None, "None": None, "60": 60}, ["x", "0", "nan", "1.5"]),
    "expires_after_seconds": ({"none": None, "60": 60}, ["x", "0", "nan"]),
    "dedupe": ({"never": "never", "forever": "forever"}, ["", "none", "always"]),
    "dedupe_window_seconds": ({"none": None, "60": 60}, ["x", "0"]),
    "max_concurrency": ({"none": None, "1": 1}, ["x", "0", "1000001"]),
    "rate_limit": ({"none": None, "100/60": "100/60"}, ["x", "100", "0/60", "100/0", "1/60 s", "\u0661/1"]),
    "retry_for_seconds": ({"none": None, "60": 60}, ["x", "0", "1.5"]),
    "dedupe_on": ({"none": None, "url": ["url"], "url, host": ["url", "host"]}, ["a,a", "a,,b", ","]),
    "on_duplicate": ({"return": "return", "replace": "replace"}, ["", "none", "ignore"]),
    "claim_order": ({"priority": "priority", "deadline": "deadline"}, ["", "none", "newest"]),
    "priority_aging_seconds": ({"none": None, "60": 60}, ["x", "0", "1.5"]),
    "key_max_concurrency": ({"none": None, "1": 1}, ["x", "0", "1000001"]),
    "key_rate_limit": ({"none": None, "100/60": "100/60"}, ["x", "100", "0/60"]),
    "key_order": ({"priority": "priority", "round_robin": "round_robin"}, ["", "none", "fair"]),
    "retention_seconds": ({"0": 0, "60": 60}, [*NUMBERS, "-1", "none"]),
}


def read(file: Path | None = None, **given: str) -> Settings:
    return Settings.from_env({f"TASKMANAGER_{name}": value for name, value in given.items()}, file)


def test_every_setting_is_in_the_table() -> None:
    assert set(TABLE) == {field.name.upper() for field in fields(Settings)} - {"DEFAULT_POLICIES"}
    assert set(POLICY_TABLE) == set(POLICIES)


@pytest.mark.parametrize("name", TABLE)
def test_a_setting_is_read_within_its_bounds_and_named_beyond_them(name: str) -> None:
    right, wrong = TABLE[name]
    for text, value in right.items():
        assert getattr(read(**{name: text}), name.lower()) == value
    for text in wrong:
        with pytest.raises(SettingsError, match=f"TASKMANAGER_{name}"):
            read(**{name: text})


@pytest.mark.parametrize("name", POLICY_TABLE)
def test_every_policy_has_a_default_that_can_be_set(name: str) -> None:
    right, wrong = POLICY_TABLE[name]
    setting = f"DEFAULT_{name.upper()}"
    for text, value in right.items():
        assert getattr(read(**{setting: text}).default_policies, name) == value
    for text in wrong:
        with pytest.raises(SettingsError, match=f"TASKMANAGER_{setting}"):
            read(**{setting: text})


def test_nothing_given_means_the_documented_defaults() -> None:
    settings = Settings.from_env({}, None)
    assert settings == Settings()
    assert settings.auth
    assert not settings.legacy_paths
    assert settings.cors_origins == ()
    policies = settings.default_policies
    assert policies == Policies()
    assert (policies.max_attempts, policies.retry_delay_seconds, policies.retry_backoff) == (3, 5, "exponential")
    assert (policies.lease_seconds, policies.dedupe, policies.retention_seconds) == (300, "unfinished", 30 * 86400)


def test_an_old_installation_can_be_had_by_configuration() -> None:
    given = {"LEASE_SECONDS": "300", "MAX_ATTEMPTS": "3", "RETRY_DELAY_SECONDS": "0", "DEDUPE": "forever"}
    policies = read(**{f"DEFAULT_{name}": value for name, value in given.items()}).default_policies
    assert (policies.lease_seconds, policies.max_attempts) == (300, 3)
    assert (policies.retry_delay_seconds, policies.dedupe) == (0, "forever")


@pytest.mark.parametrize("name", ["DATABSE_URL", "auth", "DEFAULT_", "DEFAULT_LEASE", "DEFAULT_AUTH", "", "TESTS"])
def test_an_unknown_setting_stops_with_its_name(name: str) -> None:
    with pytest.raises(SettingsError, match=f"Unknown setting TASKMANAGER_{name}:"):
        read(**{name: "on"})


def test_names_that_are_not_ours_are_ignored() -> None:
    environment = {"PATH": "/bin", "DATABASE_URL": "x", "taskmanager_auth": "x", "TASKMANAGER_TEST_DATABASE_URL": "x"}
    assert Settings.from_env(environment, None) == Settings()


def test_the_shortest_wait_must_not_be_above_the_longest() -> None:
    with pytest.raises(SettingsError, match="TASKMANAGER_POLL_MIN_SECONDS"):
        read(POLL_MIN_SECONDS="5", POLL_MAX_SECONDS="4")


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().auth = False  # type: ignore[misc]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "taskmanager.env"


def test_the_file_is_read_below_the_environment(file: Path) -> None:
    file.write_text(
        "# a comment\n\nTASKMANAGER_AUTH=off\n  TASKMANAGER_LOG_LEVEL = 'debug'  \n"
        'TASKMANAGER_DATABASE_URL="mysql://u:p=q@h/ü"\nTASKMANAGER_DEFAULT_LEASE_SECONDS=60\r\n',
        encoding="utf-8",
    )
    settings = read(file, LOG_LEVEL="error")
    assert (settings.auth, settings.log_level) == (False, "error")
    assert settings.database_url == "mysql://u:p=q@h/ü"
    assert settings.default_policies.lease_seconds == 60


def test_a_missing_file_is_no_error(file: Path) -> None:
    assert read(file) == Settings()


@pytest.mark.parametrize("line", ["AUTH=off", "TASKMANAGER_AUTH", "=off", "export TASKMANAGER_AUTH=off", "hello"])
def test_a_wrong_line_of_the_file_is_told_by_number(file: Path, line: str) -> None:
    file.write_text(f"\n# first\n{line}\n")
    with pytest.raises(SettingsError, match=f"Line 3 of {file}"):
        read(file)


def test_a_wrong_setting_in_the_file_stops_as_one_in_the_environment_does(file: Path) -> None:
    file.write_text("TASKMANAGER_SURPRISE=1\n")
    with pytest.raises(SettingsError, match="TASKMANAGER_SURPRISE"):
        read(file)
    file.write_text("TASKMANAGER_AUTH=maybe\n")
    with pytest.raises(SettingsError, match="TASKMANAGER_AUTH"):
        read(file)


def test_a_file_that_is_no_text_stops_with_its_name(file: Path) -> None:
    file.write_bytes(b"TASKMANAGER_AUTH=\xff\xfe\n")
    with pytest.raises(SettingsError, match=str(file)):
        read(file)
