"""The parts that the present request works with."""

from dataclasses import dataclass, field
from typing import Protocol

from flask import current_app

from app.settings import Settings
from app.storage.database import Database
from app.web.polling import Polling
from app.web.sightings import Sightings

EXTENSION = "taskmanager"


class Outcome(Protocol):
    """What a round of housekeeping did."""

    is_skipped: bool
    changed: dict[str, int]
    has_more: bool
    seconds: float

    @property
    def total(self) -> int:
        """How many rows were changed."""


class Housekeeping(Protocol):
    """What a request may ask of housekeeping."""

    def run_if_time(self) -> int:
        """Do one slice of what is due, at most once a second; return how many rows changed."""

    def run_after_request(self) -> None:
        """Do what is due, once the answer is on its way."""

    def run(self, budget_seconds: float) -> Outcome:
        """Do what is due until nothing is or the time is used up."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What `create_app` has joined."""

    settings: Settings
    database: Database
    housekeeping: Housekeeping
    sightings: Sightings
    polling: Polling = field(default_factory=Polling)


def parts() -> Parts:
    """Return the parts of the present application."""
    # By way of the proxy each look at an attribute takes three calls.
    found: Parts = current_app._get_current_object().extensions[EXTENSION]  # type: ignore[attr-defined]
    return found


def database() -> Database:
    """Return the database."""
    return parts().database


def settings() -> Settings:
    """Return the settings."""
    return parts().settings
