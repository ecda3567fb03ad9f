"""A snapshot as text and JSON."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn_raindrops import Histogram
from gunicorn_raindrops.exporters import json as render
from gunicorn_raindrops.exporters import text
from gunicorn_raindrops.scoreboard.records import KillRecord, Marks, RequestRecord
from gunicorn_raindrops.snapshot import Arbiter, Listener, Snapshot, Worker

from .. import schema

ARBITER = Arbiter(
    pid=10,
    gunicorn="27.0",
    raindrops="0.1",
    worker_class="sync",
    started=5.0,
    workers_wanted=2,
    python="3.12.1",
)
WORKER = Worker(
    slot=0,
    pid=11,
    age=1,
    state="calling",
    calling=1,
    writing=0,
    reading=1,
    websockets=2,
    requests=7,
    busy_seconds=None,
    started=1e9,
    cpu_seconds=1.5,
    rss_bytes=4096,
    lag_seconds=0.25,
    current=None,
)
TCP = Listener("127.0.0.1:80", "inet", True, active=3, queued=2, waiting=1, backlog=64, dropped=0)
UNIX = Listener("/run/x.sock", "unix", False, active=None, queued=None, backlog=None, dropped=None)
SNAPSHOT = Snapshot(
    time=1e9 + 0.5,
    uptime=12.25,
    arbiter=ARBITER,
    calling=1,
    writing=0,
    reading=1,
    waiting=1,
    websockets=2,
    requests=7,
    responses={"1xx": 0, "2xx": 5, "3xx": 1, "4xx": 0, "5xx": 1},
    errors=1,
    capacity=2,
    utilization=1.0,
    saturation=2.0,
    scoreboard="C_..",
    request_seconds=None,
    queue_seconds=None,
    busy_seconds=None,
    marks=None,
    workers=(WORKER,),
    untracked=0,
    exits=None,
    killed=None,
    listeners=(TCP, UNIX),
    counters=None,
    queue_ignored=None,
    queued=2,
    started=1e9 - 11.75,
)


def test_text():
    """The original's format: calling, writing, then active and queued of each listener; how many
    wait inside after that."""
    snapshot = dataclasses.replace(
        SNAPSHOT,
        listeners=(
            TCP,
            dataclasses.replace(UNIX, active=0, queued=1),
            Listener("[::1]:80", "inet6", True, 0, 0, 64, 0),
        ),
    )
    assert text.encode(snapshot) == (
        b"calling: 1\n"
        b"writing: 0\n"
        b"127.0.0.1:80 active: 3\n"
        b"127.0.0.1:80 queued: 2\n"
        b"/run/x.sock active: 0\n"
        b"/run/x.sock queued: 1\n"
        b"[::1]:80 active: 0\n"
        b"[::1]:80 queued: 0\n"
        b"waiting: 1\n"
    )


def test_text_leaves_out_what_is_unknown():
    """It is never shown as 0."""
    unknown = dataclasses.replace(TCP, active=None)
    snapshot = dataclasses.replace(SNAPSHOT, waiting=None, listeners=(unknown, UNIX))
    assert text.encode(snapshot) == b"calling: 1\nwriting: 0\n127.0.0.1:80 queued: 2\n"


KEYS = {
    "": {
        "version", "time", "uptime", "arbiter", "calling", "writing", "reading", "waiting",
        "websockets",
        "requests", "responses", "errors", "capacity", "utilization", "saturation", "scoreboard",
        "request_seconds", "queue_seconds", "workers", "exits", "listeners", "counters",
    },
    "arbiter": {"pid", "gunicorn", "raindrops", "worker_class", "workers_wanted"},
    "responses": {"1xx", "2xx", "3xx", "4xx", "5xx"},
    "workers": {
        "slot", "pid", "age", "state", "calling", "writing", "reading", "websockets",
        "requests", "busy_seconds", "started", "cpu_seconds", "rss_bytes", "lag_seconds", "current",
    },
    "listeners": {"address", "family", "active", "queued", "waiting", "backlog", "dropped"},
}  # fmt: skip


def test_json_has_every_key():
    """Those of the contract, all of them."""
    body = json.loads(render.encode(SNAPSHOT))
    assert set(body) >= KEYS[""]
    assert set(body["arbiter"]) == KEYS["arbiter"]
    assert set(body["responses"]) == KEYS["responses"]
    for name in ("workers", "listeners"):
        assert body[name]
        for one in body[name]:
            assert set(one) == KEYS[name]


def test_json():
    """Counts are integers, times seconds, instants Unix seconds; null for what is not known."""
    body = json.loads(render.encode(SNAPSHOT))
    assert body["version"] == 1
    assert (body["time"], body["uptime"]) == (1e9 + 0.5, 12.25)
    assert body["arbiter"] == {
        "pid": 10, "gunicorn": "27.0", "raindrops": "0.1", "worker_class": "sync",
        "workers_wanted": 2,
    }  # fmt: skip
    assert (body["calling"], body["writing"], body["reading"]) == (1, 0, 1)
    assert (body["requests"], body["errors"]) == (7, 1)
    assert body["responses"] == {"1xx": 0, "2xx": 5, "3xx": 1, "4xx": 0, "5xx": 1}
    assert (body["capacity"], body["utilization"], body["saturation"]) == (2, 1.0, 2.0)
    assert body["scoreboard"] == "C_.."
    assert body["workers"] == [
        {
            "slot": 0, "pid": 11, "age": 1, "state": "calling", "calling": 1, "writing": 0,
            "reading": 1, "websockets": 2, "requests": 7, "busy_seconds": None, "started": 1e9,
            "cpu_seconds": 1.5, "rss_bytes": 4096, "lag_seconds": 0.25,
            "current": None,
        }
    ]  # fmt: skip
    assert body["listeners"][0] == {
        "address": "127.0.0.1:80", "family": "inet",
        "active": 3, "queued": 2, "waiting": 1, "backlog": 64, "dropped": 0,
    }  # fmt: skip
    assert body["waiting"] == 1
    assert body["listeners"][1]["queued"] is body["listeners"][1]["waiting"] is None
    for name in ("request_seconds", "queue_seconds", "exits", "counters"):
        assert body[name] is None
    for name in ("calling", "writing", "requests", "errors", "capacity", "version"):
        assert type(body[name]) is int


def distribution(*seconds):
    """What a histogram holds in which these were recorded."""
    with Histogram() as histogram:
        for one in seconds:
            histogram.record(one)
        return histogram.read()


KILLED = KillRecord(
    *(1e9, 0, 11, 1, "timeout", 2, RequestRecord("GET", "/slow", 30.5, "/app.py:3 in f")),
    where="/app.py:3 in f",
)
TIMED = dataclasses.replace(
    SNAPSHOT,
    workers=(
        dataclasses.replace(WORKER, busy_seconds=2.5, current=RequestRecord("GET", "/x", 0.25)),
    ),
    request_seconds=distribution(0.5, 1.5),
    queue_seconds={"socket": distribution(0.25), "header": distribution()},
    queue_ignored=3,
    busy_seconds=(2.5, 0.5),
    exits={"killed": 2, "graceful": 1},
    killed=(KILLED,),
    marks={"10s": Marks(2, 1, 5, 4), "since": Marks(3, 1, None)},
    reads_headers=True,
)


def test_times_in_json():
    """Seconds as floats; where nothing was recorded there is no percentile."""
    body = json.loads(render.encode(TIMED))
    request, queue = body["request_seconds"], body["queue_seconds"]
    assert set(request) == {"count", "sum", "p50", "p90", "p99", "max"}
    assert (request["count"], request["sum"], request["max"]) == (2, 2.0, 1.5)
    assert (queue["count"], queue["sum"], queue["p99"]) == (1, 0.25, 0.25)
    assert (queue["header"]["count"], queue["header"]["p99"], queue["ignored"]) == (0, None, 3)
    assert body["busy_seconds"] == 3.0
    assert body["workers"][0]["busy_seconds"] == 2.5
    current = {"method": "GET", "path": "/x", "seconds": 0.25, "where": None}
    assert body["workers"][0]["current"] == current
    assert body["exits"] == {"killed": 2, "graceful": 1}
    assert body["killed"] == [
        {
            "time": 1e9, "slot": 0, "pid": 11, "age": 1, "cause": "timeout", "in_flight": 2,
            "current": {
                "method": "GET", "path": "/slow", "seconds": 30.5, "where": "/app.py:3 in f",
            },
            "where": "/app.py:3 in f",
        }
    ]  # fmt: skip
    assert body["marks"] == {
        "10s": {"calling": 2, "writing": 1, "queued": 5, "waiting": 4},
        "since": {"calling": 3, "writing": 1, "queued": None, "waiting": None},
    }
    assert text.encode(TIMED) == text.encode(SNAPSHOT)


REFUSED = {
    "a key more": lambda one: one.update(more=1),
    "a key more in a worker": lambda one: one["workers"][0].update(more=1),
    "a key less": lambda one: one.pop("errors"),
    "a key less in a listener": lambda one: one["listeners"][0].pop("backlog"),
    "no count": lambda one: one.update(calling=1.5),
    "below 0": lambda one: one.update(requests=-1),
    "no time": lambda one: one.update(time=None),
    "another state": lambda one: one["workers"][0].update(state="resting"),
    "another cause": lambda one: one["exits"].update(boredom=1),
    "another window": lambda one: one["marks"].update({"1h": None}),
    "another letter": lambda one: one.update(scoreboard="X"),
    "another version": lambda one: one.update(version=2),
}


@pytest.mark.parametrize("spoil", REFUSED.values(), ids=REFUSED)
def test_what_the_schema_refuses(spoil):
    """It would miss no key that is added, forgotten or changed: each test's JSON is held against
    it."""
    whole = json.loads(render.encode(TIMED))
    schema.check(whole)
    spoil(whole)
    with pytest.raises(ValueError, match=r"^data"):
        schema.check(whole)


def test_each_key_is_described():
    """The schema is what a reader of the JSON has."""

    def properties(one):
        if isinstance(one, dict):
            yield from one.get("properties", {}).items()
            for inner in one.values():
                yield from properties(inner)

    found = list(properties(schema.SCHEMA))
    assert len(found) > 50
    assert [name for name, one in found if not {"description", "$ref"} & set(one)] == []


def test_without_workers():
    """Lists are empty; what is not known of nobody is null."""
    snapshot = dataclasses.replace(
        SNAPSHOT,
        calling=0,
        waiting=None,
        capacity=0,
        utilization=None,
        saturation=None,
        workers=(),
        listeners=(),
        scoreboard="....",
    )
    body = json.loads(render.encode(snapshot))
    assert (body["utilization"], body["saturation"]) == (None, None)
    assert (body["workers"], body["listeners"]) == ([], [])
    assert text.encode(snapshot) == b"calling: 0\nwriting: 0\n"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (b"/run/\xff", rb"/run/\xff"),
        (b"/run/a\nb queued: 7", rb"/run/a\nb queued: 7"),
        (b"/run/\x1b]0;title\x07", rb"/run/\x1b]0;title\x07"),
        (b"@\0\x7f\r", rb"@\x00\x7f\r"),
        ("/run/\u202e\x9b\u2028é".encode(), "/run/\\u202e\\x9b\\u2028é".encode()),
        (rb"/run/dev-\x2d.sock", rb"/run/dev-\x2d.sock"),
    ],
)
def test_a_path_that_could_mislead(address, shown):
    """Text and JSON have escapes for what is not UTF-8, ends a line or steers a terminal."""
    listener = dataclasses.replace(UNIX, address=address.decode(errors="surrogateescape"))
    snapshot = dataclasses.replace(
        SNAPSHOT, listeners=(dataclasses.replace(listener, queued=1, active=0),)
    )
    assert text.encode(snapshot).splitlines()[2:4] == [shown + b" active: 0", shown + b" queued: 1"]
    body = json.loads(render.encode(snapshot))
    assert body["listeners"][0]["address"] == listener.address


def test_pure():
    """The same snapshot makes the same bytes, which end with a newline."""
    for form in (text.encode, render.encode):
        assert form(SNAPSHOT) == form(SNAPSHOT)
        assert form(SNAPSHOT).endswith(b"\n")


@given(
    calling=st.integers(0, 2**80),
    requests=st.integers(0, 2**80),
    started=st.floats(allow_nan=False, allow_infinity=False),
    queued=st.none() | st.integers(0, 2**64 - 1),
)
def test_spoilt_figures(calling, requests, started, queued):
    """Whatever a hostile worker has made of them, they are shown, as JSON that can be read."""
    snapshot = dataclasses.replace(
        SNAPSHOT,
        calling=calling,
        requests=requests,
        workers=(dataclasses.replace(WORKER, started=started, requests=requests),),
        listeners=(dataclasses.replace(TCP, queued=queued),),
    )
    assert f"calling: {calling}\n".encode() in text.encode(snapshot)
    body = json.loads(render.encode(snapshot), parse_constant=pytest.fail)
    assert body["requests"] == requests
    assert body["listeners"][0]["queued"] == queued
