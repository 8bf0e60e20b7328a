#!/usr/bin/env python3
"""For hosts with nothing but CGI: put this file into cgi-bin, make it executable, and set PROJECT."""

import gc
import os
import sys
from wsgiref.handlers import CGIHandler

PROJECT = "/home/you/taskmanager"
# One request, and the process ends: to look for what is no longer needed costs a tenth of that time.
gc.disable()
sys.path.insert(0, PROJECT)
os.chdir(PROJECT)

from wsgi import application  # noqa: E402

CGIHandler().run(application)
