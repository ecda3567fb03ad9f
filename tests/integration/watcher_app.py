"""The Watcher of every listener, sampling ten times a second."""

from gunicorn_raindrops import Watcher

app = Watcher(delay=0.1)
