"""Runs the command line that follows, gunicorn's, in an `except` block."""

import sys

from gunicorn.app.wsgiapp import run

sys.argv = sys.argv[1:]
try:
    import a_server_that_is_not_installed  # noqa: F401
except ImportError:
    run()
