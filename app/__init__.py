"""TaskManager: an HTTP task queue that lives inside ordinary requests."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.settings import Settings
    from app.storage.database import Database

log = logging.getLogger("taskmanager")


def create_app(settings: Settings, database: Database | None = None) -> Flask:
    """Join the parts: the only place that knows them all. Connects to nothing before the first request."""
    # Imported here, so that tools which need only settings do not pay for the web.
    from app import rest
    from app.housekeeping import Housekeeper
    from app.storage.database import Database
    from app.web import requests
    from app.web.application import Application
    from app.web.current import EXTENSION, Parts
    from app.web.sightings import Sightings

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    log.setLevel(settings.log_level.upper())
    app = Application("taskmanager", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = True
    database = database or Database(settings)
    app.extensions[EXTENSION] = Parts(settings, database, Housekeeper(database, settings), Sightings(database))
    requests.register(app)
    rest.register(app, settings)
    if not settings.auth:
        log.warning("TASKMANAGER_AUTH is off: everybody who reaches this server may do everything")
    return app
