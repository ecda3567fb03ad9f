"""`python -m gunicorn_raindrops` is the command `gunicorn-raindrops`."""

import sys

from .cli import main

sys.exit(main())
