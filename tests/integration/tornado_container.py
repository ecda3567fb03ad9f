"""The failing application in a WSGI container of its own, which has threads."""

from concurrent.futures import ThreadPoolExecutor

import failing_app
from tornado.wsgi import WSGIContainer

app = WSGIContainer(failing_app.app, executor=ThreadPoolExecutor(2))
