"""`python -m app.cli` is the command `taskmanager`."""

import sys

from app.cli import main

sys.exit(main())
