"""For hosts with Passenger (cPanel's "Setup Python App"): copy this file beside wsgi.py, where Passenger looks."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from wsgi import application

__all__ = ["application"]
