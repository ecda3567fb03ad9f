"""The tests' application behind LastDataRecv, with what it recorded at its usual path."""

import apps

from gunicorn_raindrops import LastDataRecv

app = LastDataRecv(apps.app)
