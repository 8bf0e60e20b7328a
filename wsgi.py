"""The WSGI entry: `application`, for gunicorn, granian, waitress, mod_wsgi, Passenger and CGI."""

import os
import sys

from app import create_app
from app.settings import Settings, SettingsError

try:
    application = create_app(Settings.from_env(os.environ))
except SettingsError as error:
    sys.exit(f"TaskManager cannot start: {error}")
