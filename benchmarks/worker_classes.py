"""Throughput of a hello-world under the other worker classes, with us and without.

Bar: the median ratio is at least 0.98 for gunicorn's asgi and uvicorn's worker, where what stands
around the application does all the counting: two coroutines more a request, and two more for its
messages. For gevent, which the hooks count, and gevent_pywsgi, whose body is proxied, it is told.
"""

import importlib.util
import shutil
import sys

import common

LEAST = 0.98
ASGI = {"asgi": "gunicorn", "uvicorn_worker.UvicornWorker": "uvicorn_worker"}
WSGI = {"gevent": "gevent", "gevent_pywsgi": "gevent"}


def main() -> None:
    quick = common.arguments(__doc__).quick
    if shutil.which("wrk") is None:
        common.skipped("worker classes", "wrk")
        sys.exit(0)
    blocks, pairs = (1, 5) if quick else (4, 6)
    verdicts = []
    for name, needs in {**ASGI, **WSGI}.items():
        if importlib.util.find_spec(needs) is None:
            common.skipped(name, needs)
            continue
        print(f"throughput of a hello-world, gunicorn --workers 2 --worker-class {name}, wrk -c8")
        app = "hello_asgi" if name in ASGI else "hello"
        options = ("--worker-class", name)
        found = common.rates(app, 2, *options, blocks=blocks, pairs=pairs, seconds=1)
        ratio, noise = common.print_rates(found)
        figure, bar = f"ratio {ratio:.3f}", f"at least {LEAST}; A/A floor ±{noise:.1%}"
        if name in ASGI:
            verdicts.append(common.verdict(ratio >= LEAST, name, figure, bar))
    common.finish(verdicts)


if __name__ == "__main__":
    main()
