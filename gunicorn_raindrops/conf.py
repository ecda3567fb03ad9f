"""The shipped config: `gunicorn -c python:gunicorn_raindrops.conf myapp:app`.

Settings come from RAINDROPS_* variables. To set them in a file, or beside hooks of your own, see
examples/gunicorn.conf.py.
"""

from .hooks import *  # noqa: F403  # exactly its __all__: the hooks
