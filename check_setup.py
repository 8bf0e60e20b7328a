"""Check the installation and print one line per check with what to do next; see --help."""

import os
import runpy
import sys

# Standard library only, and readable for Python 3.6, up to the point where the requirements are known to be met.
REQUIREMENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "app", "setup", "requirements.py")

if __name__ == "__main__":
    runpy.run_path(REQUIREMENTS)["report_unless_met"](as_json="--json" in sys.argv[1:])
    from app.setup.check import main

    sys.exit(main())
