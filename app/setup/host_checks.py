"""Checks of this host: the file of settings, the folder for data, the disk."""

import os
import shutil
import stat

from app.settings import ROOT, SETTINGS_FILE, Settings
from app.setup.requirements import Check

INSTANCE = SETTINGS_FILE.parent
_MEGABYTE = 1024 * 1024
_TOO_LITTLE_DISK = 50 * _MEGABYTE
_LITTLE_DISK = 500 * _MEGABYTE


def check_settings_file() -> Check:
    """The file holds the database's password, so no other user of the host may read it."""
    name = "settings file"
    if not SETTINGS_FILE.exists():
        return Check("ok", name, "there is none; settings come from the environment only")
    try:
        mode = SETTINGS_FILE.stat().st_mode
    except OSError as error:
        return Check("error", name, f"cannot be looked at: {error.strerror}", "let this user read it")
    if os.name == "posix" and mode & (stat.S_IROTH | stat.S_IWOTH):
        found = f"every user of this host may read {SETTINGS_FILE} (mode {stat.S_IMODE(mode):o})"
        return Check("error", name, found, f"run `chmod 600 {SETTINGS_FILE}`")
    return Check("ok", name, f"{SETTINGS_FILE}, closed to other users")


def check_auth(settings: Settings) -> Check:
    """Without keys everybody who reaches the server may do everything."""
    if settings.auth:
        return Check("ok", "authentication", "on")
    return Check(
        "warning",
        "authentication",
        "off: whoever reaches the server may do everything",
        "set TASKMANAGER_AUTH=on unless only trusted programs can reach it",
    )


def check_instance_folder() -> Check:
    """The folder for the SQLite file and the file of settings."""
    if INSTANCE.is_dir():
        if os.access(INSTANCE, os.W_OK | os.X_OK):
            return Check("ok", "instance folder", f"{INSTANCE} can be written")
        found = f"this user may not write {INSTANCE}"
        return Check("warning", "instance folder", found, "give this user the right, if the database is kept there")
    if os.access(ROOT, os.W_OK | os.X_OK):
        return Check("ok", "instance folder", "not there; it is made when it is needed")
    found = f"not there, and this user may not make {INSTANCE}"
    return Check("warning", "instance folder", found, "make it and give it to this user, if the database is kept there")


def check_disk() -> Check:
    """A full disk stops a database in a file, and logs."""
    folder = INSTANCE if INSTANCE.is_dir() else ROOT
    free = shutil.disk_usage(folder).free
    found = f"{free // _MEGABYTE:,} MB are free at {folder}"
    if free < _TOO_LITTLE_DISK:
        return Check("error", "disk space", found, "free some space")
    if free < _LITTLE_DISK:
        return Check("warning", "disk space", found, "free some space soon")
    return Check("ok", "disk space", found)
