"""An application with counters of its own."""

import time

from gunicorn_raindrops import Gauge, Struct, WorkerGauge


class Stats(Struct):
    hits: int
    open: Gauge
    held: WorkerGauge


stats = Stats()


def app(environ, start_response):
    stats.incr_hits()
    if environ["PATH_INFO"] == "/hold":
        stats.incr_open()
        stats.incr_held(2)
        time.sleep(600)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"hi\n"]
