"""Runs a command for a person: its settings read, its failures told in one sentence."""

import os
import sys
from collections.abc import Callable

from app.settings import SETTINGS_FILE, Settings, SettingsError
from app.setup.failures import explain

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130


def load_settings() -> Settings:
    """Return the settings; raises SettingsError that names what is wrong."""
    try:
        return Settings.from_env(os.environ)
    except OSError as error:
        raise SettingsError(f"{SETTINGS_FILE} cannot be read: {error.strerror}; let this user read it") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{SETTINGS_FILE} is not UTF-8 text; save it as such") from error


def run(command: Callable[[Settings], int]) -> int:
    """Run `command` and return its exit code; any failure becomes one sentence on stderr and a code of 1 or 2."""
    try:
        return command(load_settings())
    except SettingsError as error:
        print(f"{error}.", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        print(explain(error), file=sys.stderr)
        return FAILED
