"""The WSGI entry: `application`, for gunicorn, granian, waitress, mod_wsgi, Passenger and CGI."""

import os
import sys

from app import create_app
from app.settings import Settings, SettingsError

try:
    application = create_app(Settings.from_env(os.environ))
except SettingsError as error:
    print(f"TaskManager cannot start: {error}", file=sys.stderr, flush=True)
    # Gunicorn takes this code for a worker that can never start, and stops; after any other it would try for ever.
    sys.exit(3)
