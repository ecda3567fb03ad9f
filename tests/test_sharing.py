"""What workers share with the arbiter: modules of our own copy, and frozen pages."""

import subprocess
import sys
import textwrap

from .bounds import WAIT


def run(code):
    """Run code in a fresh interpreter; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, timeout=WAIT, check=True,
    )  # fmt: skip
    return done.stdout.split()


IMPORT = """
    import os, sys
    from gunicorn_raindrops import sharing
    from gunicorn_raindrops.status import app
    with sharing.apart("prometheus_client"):
        app.load()
"""


def test_a_copy_of_a_package():
    """The application finds prometheus_client not yet imported, and decides how it counts; ours
    goes on working, imports nothing more, and the application's registry takes our families."""
    assert run(
        IMPORT
        + """
    from gunicorn_raindrops.exporters import prometheus
    def taken():
        return [name for name in sys.modules if name.startswith("prometheus_client")]
    print(len(taken()))
    before = set(sys.modules)
    from tests.exporters.test_json import SNAPSHOT
    for accept in (None, "application/openmetrics-text; version=1.0.0"):
        assert b"gunicorn_requests_total" in prometheus.encode(SNAPSHOT, accept)[0]
    print(len(taken()))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = "."
    import prometheus_client
    print(prometheus_client.values.ValueClass.__name__)
    registry = prometheus_client.CollectorRegistry()
    registry.register(prometheus.PrometheusCollector(lambda: SNAPSHOT))
    print(b"gunicorn_requests_total" in prometheus_client.generate_latest(registry))
    """
    ) == ["0", "0", "MmapedValue", "True"]


def test_a_package_that_is_there():
    """It is used as it is, and stays."""
    assert run(
        """
    import prometheus_client"""
        + IMPORT
        + """
    from gunicorn_raindrops.exporters import prometheus
    print(sys.modules["prometheus_client"] is prometheus_client)
    print(prometheus.Metric is prometheus_client.Metric)
    """
    ) == ["True", "True"]


def test_freeze():
    """Nothing that is there is left to the collections; what has become garbage since goes with
    the next call."""
    assert run(
        """
    import gc, weakref
    from gunicorn_raindrops import sharing

    class Loop: pass
    loop = Loop()
    loop.itself, gone = loop, weakref.ref(loop)
    sharing.freeze()
    print(gc.get_freeze_count() > 1000, len(gc.get_objects()) < 100)
    del loop
    gc.collect()
    print(gone() is not None)
    sharing.freeze()
    print(gone() is None, gc.isenabled())
    """
    ) == ["True", "True", "True", "True", "True"]


def test_finalizers_at_the_end():
    """They find their modules, as without a freeze."""
    assert run(
        """
    import json, types
    from gunicorn_raindrops import sharing

    class Held:
        def __del__(self):
            print(module.dumps is not None)

    module = types.ModuleType("module")
    module.dumps, module.held, module.module = json.dumps, Held(), module
    Held.__del__.__globals__["module"] = module
    module.held.itself = module.held
    sharing.freeze()
    sharing.freeze()
    """
    ) == ["True"]
