"""Create the database if that is allowed, bring it up to date and print the first admin key; see --help."""

import os
import runpy
import sys

# Standard library only, and readable for Python 3.6, up to the point where the requirements are known to be met.
REQUIREMENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "app", "setup", "requirements.py")

if __name__ == "__main__":
    runpy.run_path(REQUIREMENTS)["stop_unless_met"]()
    from app.setup.set_up import main

    sys.exit(main())
