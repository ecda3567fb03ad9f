"""What proxies say of how long a request has waited: every spelling, from whom it is believed."""

import re
import time
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gunicorn_raindrops.counting import attached
from gunicorn_raindrops.counting.queue_header import QueueHeader, instant
from gunicorn_raindrops.scoreboard import records
from gunicorn_raindrops.scoreboard.board import Scoreboard

NOW = 1_764_000_000_123_456_789
UNITS = {"s": 9, "ms": 6, "us": 3, "ns": 0}
INT64 = 2**63 - 1


def parse(text):
    """Return what is in a header, ns; -1 if it is no time."""
    found = instant(text)
    return -1 if found is None else found


@pytest.mark.parametrize("prefix", ["", "t=", "  t=", "\t"])
@pytest.mark.parametrize("suffix", ["", " ", "\t "])
@pytest.mark.parametrize("places", [None, 1, 3, 6, 9, 15])
@pytest.mark.parametrize("unit", UNITS)
def test_each_spelling(unit, places, prefix, suffix):
    """Seconds to nanoseconds, with a fraction or without, behind t= or not: to the nanosecond, or
    to what was written of it."""
    digits = UNITS[unit]
    whole, rest = divmod(NOW, 10**digits)
    text, expected = str(whole), whole * 10**digits
    if places is not None:
        fraction = (str(rest).zfill(digits) if digits else "").ljust(places, "0")[:places]
        text += "." + fraction
        expected += int(fraction.ljust(digits, "0")[:digits] or 0)
    assert parse(prefix + text + suffix) == expected


def model(text):
    """Return the instant as exact numbers have it; the unit follows from the magnitude."""
    found = re.fullmatch(r"[ \t]*(?:t=)?([0-9]{1,20})(?:\.([0-9]{1,20}))?[ \t]*", text)
    if found is None:
        return -1
    whole = int(found[1])
    digits = next(
        n for least, n in ((10**17, 0), (10**14, 3), (10**11, 6), (0, 9)) if whole >= least
    )
    value = Fraction(found[1] + "." + (found[2] or "0")) * 10**digits
    return int(value) if value <= INT64 else -1


ALMOST = st.lists(
    st.one_of(
        st.sampled_from(["t=", "t", "=", ".", " ", "\t", "-", "+", "e5", "0", "1764", "9" * 11]),
        st.integers(0, 10**21).map(str),
    ),
    max_size=5,
).map("".join)


@pytest.mark.once
@given(st.one_of(ALMOST, st.text(max_size=30)))
@example("9223372036854775807")
@example("9223372036854775808")
@example("9223372036.854775807")
@example("9223372036.854775808")
@example("99999999999.9")
@example("100000000000.9")
@example("٣٣٣")
@example("1\n")
def test_against_exact_numbers(text):
    """Whatever is written, it is read as exact arithmetic would; what is no time is none."""
    assert parse(text) == model(text)


def counted(link, header, method, *args):
    """Be a worker: record what the headers of a request say."""
    board = Scoreboard(1)
    assert attached.take_over(board, board.claim(), 1, 1)
    getattr(header, method)(*args)
    reading = board.read()
    waited = reading.queue_seconds[records.HEADER]
    link.say(f"{waited.count} {reading.queue_ignored} {waited.sum}".encode())


@pytest.fixture
def record(fork):
    """Return how many were recorded and ignored, and the seconds, of one request's headers."""

    def in_child(trusted, method, *args):
        child = fork(counted, QueueHeader(trusted), method, *args)
        recorded, ignored, seconds = child.link.hear().split()
        child.check()
        return int(recorded), int(ignored), float(seconds)

    return in_child


LOCAL = ["127.0.0.1", "::1"]


def ago(seconds):
    return f"t={time.time() - seconds:.6f}"


@pytest.mark.parametrize(
    ("trusted", "peer", "is_believed"),
    [
        (LOCAL, ("127.0.0.1", 1), True),
        (LOCAL, ("::1", 1, 0, 0), True),
        (LOCAL, ("10.0.0.1", 1), False),
        (LOCAL, "", True),
        (LOCAL, None, True),
        ([], ("127.0.0.1", 1), False),
        (["*"], ("10.0.0.1", 1), True),
        (["10.0.0.0/8"], ("10.1.2.3", 1), True),
        (["10.1.0.1/8"], ("10.1.2.3", 1), True),
        (["10.0.0.0/8"], ("11.1.2.3", 1), False),
        (["proxy.example", "10.0.0.1"], ("10.0.0.1", 1), True),
        (["10.0.0.1"], ("proxy.example", 1), False),
        (["fe80::/10"], ("fe80::1%eth0", 1, 0, 2), True),
    ],
)
def test_who_is_believed(record, trusted, peer, is_believed):
    """Whose forwarding headers gunicorn believes, and nobody else."""
    host = peer[0] if isinstance(peer, tuple) else ""
    pairs = [("HOST", "x"), ("X-REQUEST-START", ago(2))]
    environ = {"REMOTE_ADDR": host, "HTTP_X_REQUEST_START": ago(2)}
    scope = {"client": peer or None, "headers": [(b"x-request-start", ago(2).encode())]}
    for method, *args in (
        ("record", peer, pairs), ("record_environ", environ), ("record_scope", scope)
    ):  # fmt: skip
        recorded, ignored, seconds = record(trusted, method, *args)
        assert (recorded, ignored) == (int(is_believed), 0)
        assert 2 <= seconds < 3600 or not is_believed


@pytest.mark.parametrize(
    ("value", "recorded", "ignored"),
    [
        (3500, 1, 0),
        (3700, 0, 1),
        (-100, 0, 1),
        ("soon", 0, 1),
        ("t=", 0, 1),
        ("", 0, 1),
        ("\udce9", 0, 1),
        ("é" * 2000, 0, 1),
    ],
)
def test_what_can_be_no_waiting_time_is_ignored(record, value, recorded, ignored):
    """More than an hour, less than nothing, no number: counted as ignored, and no error."""
    value = value if isinstance(value, str) else ago(value)
    for name in ("X-REQUEST-START", "X-QUEUE-START"):
        found = record(LOCAL, "record", ("127.0.0.1", 1), [(name, value)])
        assert found[:2] == (recorded, ignored)


def test_without_the_header(record):
    """Nothing is recorded, and nothing ignored."""
    assert record(LOCAL, "record", ("127.0.0.1", 1), [("HOST", "x")])[:2] == (0, 0)
    assert record(LOCAL, "record_environ", {"REMOTE_ADDR": "127.0.0.1"})[:2] == (0, 0)
    assert record(LOCAL, "record_scope", {"client": None, "headers": []})[:2] == (0, 0)
