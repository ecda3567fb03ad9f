"""The shipped config: `gunicorn -c python:gunicorn_raindrops.conf myapp:app`.

It takes ./gunicorn.conf.py along, which gunicorn reads where it is given no config: that file's
settings and hooks hold, and ours are put around them. Our own settings come from RAINDROPS_*
variables, or from a call of `install` there; see examples/gunicorn.conf.py.

gunicorn sets every global in here that has the name of a setting. Our own names have an underscore.
"""

import sys as _sys
from traceback import walk_stack as _walk_stack
from typing import Any as _Any

from gunicorn.app.base import Application as _Application
from gunicorn.config import get_default_config_file as _default_file

from . import hooks as _hooks
from .hooks import *  # noqa: F403  # exactly its __all__: the hooks


def _read() -> dict[str, _Any]:
    """Return the globals of ./gunicorn.conf.py; it ends this process, with gunicorn's own words,
    where that file fails. None are read where another conf file imports this one."""
    path = _default_file()
    if path is None or _is_imported_by_a_conf():
        return {}
    found = _Application.get_config_from_filename(None, path)  # it does without an application
    return {name: value for name, value in found.items() if not name.startswith("__")}


def _is_imported_by_a_conf() -> bool:
    stack = _walk_stack(_sys._getframe())
    return any(frame.f_globals.get("__name__") == "__config__" for frame, _ in stack)


_hooks.include(globals(), _read)
