"""Histogram and Distribution: against exact figures, among real processes and threads."""

import contextlib
import copy
import math
import operator
import os
import pickle
import random
import signal
import socket
import statistics
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunicorn_raindrops import Histogram
from gunicorn_raindrops._native._scoreboard import ffi, lib
from gunicorn_raindrops.distribution import LAST, Distribution, bound_of, bucket_up_to, text
from gunicorn_raindrops.histogram import HEADER, LENGTH, _struct_in

linux = pytest.mark.skipif(sys.platform != "linux", reason="memfd and /proc are Linux's")

NS = 1e-9
MICROSECOND, HOUR = 1_000, 3_600 * 10**9
BOUND = 0.06  # 5.7 %, and half a nanosecond of rounding
QS = [1, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99]


@pytest.fixture
def h():
    with Histogram() as h:
        yield h


def rounded(seconds):
    """Return the nanoseconds that are recorded for a duration."""
    return int(seconds * 1e9 + 0.5)


def exact(ns, q):
    """Return a percentile of sorted integers by nearest rank, `q` in thousandths of a per cent."""
    return ns[max(-(-len(ns) * round(q * 1000) // 100_000), 1) - 1]


def record_all(h, ns):
    """Record nanoseconds."""
    for value in ns:
        h.record(value * NS)


def filled(ns):
    """Return a Distribution of nanoseconds, recorded natively."""
    words = ffi.new("struct grd_histogram *")
    for value in ns:
        lib.grd_histogram_record(words, value)
    return Distribution(words)


def check_figures(read, ns):
    """Compare every figure with the exact one."""
    ns = sorted(ns)
    assert read.count == len(ns)
    assert read.sum == sum(ns) / 1e9
    assert (read.min, read.max) == (ns[0] / 1e9, ns[-1] / 1e9)
    assert read.mean == pytest.approx(statistics.fmean(ns) / 1e9, rel=1e-12)
    assert read.std_dev == pytest.approx(statistics.pstdev(ns) / 1e9, rel=1e-9, abs=1e-12)
    for q in QS:
        assert read.percentile(q) == pytest.approx(exact(ns, q) / 1e9, rel=BOUND), q
    assert read.percentile(0) == read.min
    assert read.percentile(100) == read.max


# Figures.


def test_an_empty_one(h):
    """Count 0, sum 0.0, nothing else to say."""
    for one in (h, h.read(), Distribution()):
        assert (one.count, one.sum, one.outliers_low, one.outliers_high) == (0, 0.0, 0, 0)
        assert isinstance(one.sum, float)
        assert (one.min, one.max, one.mean, one.std_dev, one.percentile(50)) == (None,) * 5
        none = {"p50": None, "p90": None, "p99": None, "max": None}
        assert one.as_dict() == {"count": 0, "sum": 0.0, **none}
        assert list(h.read().buckets()) == []


def test_a_single_one(h):
    """Every figure is that duration."""
    assert h.record(0.25) is None
    assert (h.count, h.sum, h.min, h.max, h.mean, h.std_dev) == (1, 0.25, 0.25, 0.25, 0.25, 0.0)
    assert [h.percentile(q) for q in (0, 50, 99.9, 100)] == [0.25] * 4
    assert h.as_dict() == {
        "count": 1,
        "sum": 0.25,
        "p50": 0.25,
        "p90": 0.25,
        "p99": 0.25,
        "max": 0.25,
    }


def test_the_figures_are_those_of_the_status(h):
    """as_dict has the keys of the status, in their order, with the figures of the same name."""
    record_all(h, [n * 10**6 for n in range(1, 1001)])
    figures = h.as_dict()
    assert list(figures) == ["count", "sum", "p50", "p90", "p99", "max"]
    assert (figures["count"], figures["sum"], figures["max"]) == (1000, 500.5, 1.0)
    values = [figures["p50"], figures["p90"], figures["p99"]]
    assert values == [h.percentile(q) for q in (50, 90, 99)] == sorted(set(values))


def test_the_first_and_the_last_are_exact(h):
    """Whatever percentile they are."""
    record_all(h, [1_000_001, 1_010_000, 1_020_000, 1_030_003])
    assert [h.percentile(q) for q in (0, 1, 25)] == [0.001000001] * 3
    assert [h.percentile(q) for q in (75.1, 99, 100)] == [0.001030003] * 3
    assert h.percentile(25.1) == h.percentile(75) == pytest.approx(0.001015, rel=BOUND)


@given(st.lists(st.integers(MICROSECOND, HOUR), min_size=1))
def test_any_durations(ns):
    """From 1 µs to an hour: counts, sums and extremes exact, percentiles within 6 %."""
    with Histogram() as h:
        record_all(h, ns)
        check_figures(h.read(), [rounded(value * NS) for value in ns])


@given(st.lists(st.floats(0, 60.0, exclude_min=True), min_size=1), st.integers(0, 10**8))
def test_any_percentile(seconds, millionths):
    """Nearest rank: so many per cent of all are not longer. Also among low outliers it is within
    what was recorded."""
    with Histogram() as h:
        for value in seconds:
            h.record(value)
        ns = sorted(rounded(value) for value in seconds)
        rank = max(math.ceil(Fraction(millionths * len(ns), 10**8)), 1)
        found, true = h.percentile(millionths / 10**6), ns[rank - 1]
        if true > 500:
            assert found == pytest.approx(true / 1e9, rel=BOUND)
        assert ns[0] / 1e9 <= found <= ns[-1] / 1e9


SHAPES = {
    "log-normal": lambda r: r.lognormvariate(math.log(0.02), 1.0),
    "bimodal": lambda r: r.gauss(0.002, 0.0002) if r.random() < 0.8 else r.gauss(1.5, 0.1),
    "Pareto": lambda r: 0.001 * r.paretovariate(1.1),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_hundred_thousand(h, shape):
    """Of three shapes, the last with a tail so heavy that its variance is infinite."""
    r = random.Random(20)
    seconds = [min(max(shape(r), 1e-6), 3600.0) for _ in range(100_000)]
    for value in seconds:
        h.record(value)
    check_figures(h.read(), [rounded(value) for value in seconds])
    assert h.outliers_low == h.outliers_high == 0


def test_percentiles_of_round_numbers(h):
    """99.9 % of 1000 is the 999th, though the float 99.9 is no tenth: ranks are exact."""
    record_all(h, [10**6] * 999 + [10**9])
    assert h.percentile(99.9) == pytest.approx(0.001, rel=BOUND)
    assert h.percentile(99.91) == 1.0


# Buckets.


def test_every_bucket():
    """Its least value and its largest count in it, their neighbours beside it; the middle that
    stands for it is at most 5.7 % off either. What lies between two values is in no other bucket:
    the guess that finds one never goes down."""
    for i in range(1, LAST):
        low, high = bound_of(i - 1) + 1, bound_of(i)
        read = filled([low - 1, low, high, high + 1])
        assert [read._buckets[i + n] for n in (-1, 0, 1)] == [1, 2, 1]
        assert sum(read._buckets) == 4
        middle = filled([1, low, high, 2**50]).percentile(50) * 1e9
        assert abs(middle - low) / low <= 0.057
        assert abs(middle - high) / high <= 0.057


def test_the_buckets_cover_the_range():
    """Without a gap, from under 1 µs to over an hour."""
    bounds = [bound_of(i) for i in range(LAST)]
    assert bounds[0] == 500 < MICROSECOND
    assert bounds[-1] == 5 * 10**12 > HOUR
    assert bounds == sorted(set(bounds))
    assert (Histogram.LOWEST, Histogram.HIGHEST) == (500e-9, 5000.0)


def test_bounds_are_round_and_their_counts_exact():
    """24 a decade, the same in each, with 1, 2.5, 5 and 7.5 times each power of ten among them."""
    bounds = [bound_of(i) for i in range(LAST)]
    assert all(high == 10 * low for low, high in zip(bounds, bounds[24:], strict=False))
    for power in range(-6, 4):
        for times in (1, 2.5, 5) if power == 3 else (1, 2.5, 5, 7.5):
            bound = round(times * 10 ** (power + 9))
            read = filled([bound - 1, bound, bound + 1])
            assert read.reached(bucket_up_to(times * 10.0**power)) == 2
    with pytest.raises(KeyError):
        bucket_up_to(0.3e-3 + 1e-9)


@settings(max_examples=500)
@given(st.integers(0, 2**53))
def test_the_bucket_of_any_duration(ns):
    """The first whose bound it does not exceed."""
    at = filled([ns])._buckets.index(1)
    assert at == LAST or ns <= bound_of(at)
    assert at == 0 or ns > bound_of(at - 1)


@pytest.mark.parametrize("ns", [MICROSECOND, HOUR])
def test_the_promised_edges(ns):
    """1 µs and 1 hour are no outliers, and within the error, also as neither first nor last."""
    read = filled([0, ns, ns, 2**50])
    assert (read.outliers_low, read.outliers_high) == (1, 1)
    assert read.percentile(50) == pytest.approx(ns / 1e9, rel=BOUND)


def test_outliers(h):
    """They are counted apart, and in count, sum, min and max; a percentile there is min or max."""
    over = 5 * 10**12 + 1
    record_all(h, [0, 100, 500, 501, over - 1, over, 2**52])
    assert (h.outliers_low, h.outliers_high, h.count) == (3, 2, 7)
    assert h.sum == (100 + 500 + 501 + over - 1 + over + 2**52) / 1e9
    assert (h.min, h.max) == (0.0, 2**52 / 1e9)
    assert h.percentile(30) == 0.0
    assert h.percentile(80) == h.max
    last = list(h.read().buckets())[-1]
    assert last == (5000.0, math.inf, 2)
    assert next(h.read().buckets()) == (0.0, 500e-9, 3)


def test_buckets_are_shown(h):
    """Those that have any, in order, in seconds."""
    record_all(h, [1_000, 1_000, 1_100])
    assert list(h.read().buckets()) == [(910e-9, 1e-6, 2), (1e-6, 1100e-9, 1)]


def test_squares_do_not_overflow():
    """Hours by the million, and the longest there can be: std_dev is still exact."""
    two = filled([0, 2**53])
    assert two.std_dev == 2**52 / 1e9
    hours = filled([0, HOUR])
    for _ in range(20):  # a million hours, and a million times none
        hours += hours
    assert hours.count == 2**21
    assert hours.std_dev == 1800.0


@given(st.lists(st.integers(0, 2**53), min_size=1, max_size=20))
def test_std_dev_is_exact(ns):
    """Of any durations, also of nearly equal ones far from 0, which cancel in floats."""
    for values in (ns, [2**52 + value % 100 for value in ns]):
        mean = Fraction(sum(values), len(values))
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        assert filled(values).std_dev == pytest.approx(math.sqrt(variance) / 1e9, rel=1e-9)


def test_more_than_the_limit():
    """The native call records the limit: the sum cannot be driven round."""
    read = filled([2**64 - 1, 2**53 + 1])
    assert read.max == 2**53 / 1e9
    assert read.sum == 2**54 / 1e9


# Merging.


@given(st.lists(st.integers(0, 2**50)), st.lists(st.integers(0, 2**50)))
def test_merging_is_recording_into_one(some, others):
    """By merge() of a histogram or of a reading, by +, and natively; bit for bit."""
    together = filled(some + others)
    with Histogram() as one, Histogram() as other:
        record_all(one, some)
        record_all(other, others)
        added = one.read() + other.read()
        before = other.read()
        one.merge(other)
        assert one.read() == added
        assert other.read() == before
    assert filled(some) + filled(others) == together
    assert together + Distribution() == Distribution() + together == together


def test_merging_with_itself(h):
    """It then holds everything twice."""
    record_all(h, [10**6, 10**9])
    h.merge(h)
    assert h.read() == filled([10**6, 10**9] * 2)


def test_merging_something_else(h):
    """TypeError."""
    with pytest.raises(TypeError, match="other must be a Histogram, not dict"):
        h.merge({})
    with pytest.raises(TypeError):
        h.read() + 1


def test_distributions_compare():
    """By what they hold, with their kind only; they have no hash."""
    assert filled([5000]) == filled([5000]) != filled([5001])
    assert filled([5000]) != 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(filled([]))


def test_a_copy_is_independent(h):
    """It holds what was there, and both go on alone."""
    h.record(1)
    for other in (h.copy(), copy.copy(h)):
        with other:
            other.record(2)
            assert (other.count, other.sum) == (2, 3.0)
    read = h.read()
    h.record(5)
    assert (read.count, h.count) == (1, 2)


# What is refused.


class Evil:
    """A number that does something when it is asked for its value."""

    def __init__(self, action):
        self.action = action

    def __float__(self):
        self.action()
        return 1.0


@pytest.mark.parametrize("seconds", [None, "1", b"1", [1], 1j, object])
def test_not_a_number(h, seconds):
    """TypeError, one line that says what is wanted."""
    with pytest.raises(TypeError, match=r"^seconds must be a number, not [^\n]+$"):
        h.record(seconds)
    assert h.count == 0


@pytest.mark.parametrize("seconds", [-1, -1e-12, -1e300, -math.inf, math.nan])
def test_no_duration(h, seconds):
    """ValueError."""
    with pytest.raises(ValueError, match=r"^seconds must be 0 or more, not "):
        h.record(seconds)
    assert (h.count, h.sum) == (0, 0.0)


@pytest.mark.parametrize("seconds", [2**53 / 1e9, 1e7, 1e300, math.inf, 10**400])
def test_too_long(h, seconds):
    """OverflowError."""
    with pytest.raises(OverflowError, match=r"^seconds must be under 104 days$"):
        h.record(seconds)
    assert (h.count, h.sum) == (0, 0.0)


def test_the_longest(h):
    """One nanosecond less is recorded."""
    h.record((2**53 - 2) / 1e9)
    assert h.outliers_high == 1


def test_numbers_of_other_kinds(h):
    """Whatever has a float is one; -0.0 is 0; half a nanosecond rounds up."""
    for seconds in (1, True, Evil(lambda: None), Fraction(1), -0.0, 0.5e-9, 0.4e-9):
        h.record(seconds)
    assert h.count == 7
    assert h.read()._sum == 4 * 10**9 + 1


def test_errors_of_the_number_itself(h):
    """They come through as they are."""
    with pytest.raises(ZeroDivisionError):
        h.record(Evil(lambda: 1 / 0))


@pytest.mark.parametrize("args", [(), (1, 2)])
def test_arguments(h, args):
    """One, by position."""
    with pytest.raises(TypeError):
        h.record(*args)
    with pytest.raises(TypeError):
        h.record(seconds=1)
    with pytest.raises(TypeError):
        Histogram("file")


@pytest.mark.parametrize("q", [-0.1, 100.1, math.nan, math.inf, 10**400])
def test_percentile_outside(h, q):
    """ValueError, also of an empty one."""
    for one in (h, Distribution()):
        with pytest.raises(ValueError, match="q must be from 0 to 100"):
            one.percentile(q)


@pytest.mark.parametrize("q", [None, "50", 1j, [50]])
def test_percentile_of_a_wrong_type(h, q):
    """TypeError."""
    with pytest.raises(TypeError, match="q must be a number"):
        h.percentile(q)


# Its life.

USES = {
    "record": lambda h: h.record(1),
    "count": lambda h: h.count,
    "sum": lambda h: h.sum,
    "min": lambda h: h.min,
    "max": lambda h: h.max,
    "mean": lambda h: h.mean,
    "std_dev": lambda h: h.std_dev,
    "outliers_low": lambda h: h.outliers_low,
    "outliers_high": lambda h: h.outliers_high,
    "percentile": lambda h: h.percentile(50),
    "as_dict": lambda h: h.as_dict(),
    "read": lambda h: h.read(),
    "copy": lambda h: h.copy(),
    "merge": lambda h: h.merge(Distribution()),
    "merge from": lambda h: Histogram().merge(h),
    "str": str,
    "fileno": lambda h: h.fileno(),
    "with": lambda h: h.__enter__(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_closed(use):
    """Whatever is done with it is ValueError; closing it again is nothing."""
    h = Histogram()
    h.record(1)
    h.close()
    h.close()
    with pytest.raises(ValueError, match="this histogram is closed"):
        use(h)
    assert repr(h) == "<Histogram closed>"


def test_closed_in_the_middle():
    """By the very number that is to be recorded: ValueError, and no write to memory that went."""
    h = Histogram()
    with pytest.raises(ValueError, match="closed"):
        h.record(Evil(h.close))


def test_record_outlives_its_histogram():
    """Held on its own, it has memory to write to."""
    record = Histogram().record
    for _ in range(1000):
        record(1.0)


def test_what_is_read_outlives_it():
    """A reading is a private copy."""
    with Histogram() as h:
        h.record(1)
        read = h.read()
    assert read.sum == 1.0


def test_repr(h):
    """It says how many there are."""
    h.record(1.5)
    assert repr(h) == "<Histogram count=1>"
    assert repr(h.read()) == "<Distribution count=1 sum=1.5>"


def test_it_cannot_be_pickled(h):
    """Processes share by forking, and a pickle would not."""
    with pytest.raises(TypeError, match="forking"):
        pickle.dumps(h)
    with pytest.raises(TypeError, match="forking"):
        copy.deepcopy(h)


@linux
def test_the_memory(h):
    """A page with a name, close-on-exec, which nobody can shrink."""
    assert "memfd:raindrops-histogram" in str(Path(f"/proc/self/fd/{h.fileno()}").readlink())
    assert not os.get_inheritable(h.fileno())
    assert os.fstat(h.fileno()).st_size == LENGTH <= 4096
    with pytest.raises(PermissionError):
        os.ftruncate(h.fileno(), 0)


# Files.


def test_a_file_keeps_it(tmp_path):
    """What was recorded is there again; a copy of it is not in the file."""
    path = tmp_path / "durations"
    for n in range(1, 4):
        with Histogram(file=path) as h:
            h.record(1)
            assert h.count == n
            with h.copy() as other:
                other.record(1)
    with path.open("r+b") as file, Histogram(file=file) as h:
        assert h.count == 3
        with Histogram(file=h.fileno()) as same:
            same.record(1)
        assert h.count == 4


def test_the_file_says_what_it_is(tmp_path):
    """Magic, version, size of the struct, then its words: whoever reads the file needs no more."""
    path = tmp_path / "durations"
    with Histogram(file=path) as h:
        h.record(1)
    content = path.read_bytes()
    assert len(content) == LENGTH == 64 + 2048
    assert content[:8] == b"raindist"
    assert [int.from_bytes(content[i : i + 4], sys.byteorder) for i in (8, 12)] == [2, 2048]
    assert int.from_bytes(content[64:72], sys.byteorder) == 10**9


FOREIGN = {
    "text": b"not a histogram",
    "one letter": b"r",
    "scoreboard": b"raindrop" + bytes(LENGTH),
    "counters": (5).to_bytes(8, sys.byteorder) + bytes(4088),
    "version": HEADER[:8] + b"\x09" + HEADER[9:] + bytes(2048),
    "half a header": HEADER[:12],
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file(tmp_path, content):
    """ValueError that names it, and it stays as it was."""
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"foreign.* is "):
        Histogram(file=path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("length", [0, 10, 64, LENGTH, 8192])
def test_a_file_of_zeros(tmp_path, length):
    """It is an empty histogram: somebody has made it and not yet begun."""
    path = tmp_path / "zeros"
    path.write_bytes(bytes(length))
    with Histogram(file=path) as h:
        assert h.count == 0
        h.record(1)
    with Histogram(file=path) as h:
        assert h.count == 1


def test_files_that_are_none(tmp_path):
    """A device or a socket is ValueError, a directory OSError, anything else TypeError."""
    with socket.socket() as sock:
        for file in ("/dev/null", sock):
            with pytest.raises(ValueError, match="regular"):
                Histogram(file=file)
    with pytest.raises(IsADirectoryError):
        Histogram(file=tmp_path)
    with pytest.raises(TypeError, match="file must be"):
        Histogram(file=1.5)


# Processes and threads.


def run_threads(count, target):
    threads = [threading.Thread(target=target, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_processes_and_threads(h, fork):
    """Four processes of two threads each: every figure exact, nothing lost."""
    values = [900, 1_000, 70_000, 16_777_215, 300_000_000, 90 * 10**9, 2**43]

    def record(link):
        def loop(i):
            for n in range(20_000):
                h.record(values[(n + i) % len(values)] * NS)

        link.hear()
        run_threads(2, loop)

    children = [fork(record) for _ in range(4)]
    for child in children:
        child.link.say()
    for child in children:
        child.check()
    expected = Distribution()
    for i in range(2):
        expected += filled(values[(n + i) % len(values)] for n in range(20_000))
    assert h.read() == expected + expected + expected + expected


def test_extremes_among_processes(h, fork):
    """Min and max are not lost to others that move them at the same time: whoever has recorded
    finds them no narrower than that. Recorded is the time, so each record is a new extreme."""
    began = time.monotonic_ns()

    def record(link):
        words = _struct_in(h._mapping)
        link.hear()
        for _ in range(50_000):
            over = 10**12 + time.monotonic_ns() - began
            h.record(over * NS)
            assert words.highest >= over
            under = 10**12 - (time.monotonic_ns() - began)
            h.record(under * NS)
            assert words.lowest >= 2**64 - 1 - under

    children = [fork(record) for _ in range(2)]
    for child in children:
        child.link.say()
    for child in children:
        child.check()


def test_killed_recorders(h, fork):
    """SIGKILL in the middle harms nothing: what they had recorded stays, at most the one record
    that each was in is in the sum and not in the count, and others go on."""
    seconds, kills = 0.125, 30

    def loop(link):
        link.say()
        while True:
            h.record(seconds)

    r = random.Random(3)
    for _ in range(kills):
        child = fork(loop)
        child.link.hear()
        before = h.count
        until = time.monotonic() + r.uniform(0, 0.002)
        while h.count == before or time.monotonic() < until:
            pass
        child.kill()
        assert child.wait() == -signal.SIGKILL
    read = h.read()
    assert 0 <= read.sum / seconds - read.count <= kills
    assert (read.min, read.max, read.percentile(50)) == (seconds,) * 3
    record_all(h, [10**9] * 1000)
    assert h.count == read.count + 1000


def test_what_a_reader_sees(h, fork):
    """While four threads of two processes record: whatever is counted is in the sum; the count is
    what the buckets say; nothing goes back; percentiles, mean, min and max are in order."""
    values = [10**6, 2 * 10**6]

    def loop(link):
        def record(i):
            while not stop:
                h.record(values[i] * NS)

        stop = []
        threads = [threading.Thread(target=record, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        link.say()
        link.hear()
        stop.append(1)
        for thread in threads:
            thread.join()

    children = [fork(loop), fork(loop)]
    for child in children:
        child.link.hear()
    before, until = Distribution(), time.monotonic() + 1.0
    while time.monotonic() < until or not before.count:
        read = h.read()
        if not read.count:
            continue
        counted = sum(count * values[low > 0.0015] for low, _, count in read.buckets())
        assert read.count == sum(read._buckets)
        assert read._sum >= counted
        assert read._sum <= counted + 50 * 2 * 10**6  # of what came in while it was read
        assert all(map(operator.ge, read._buckets, before._buckets))
        assert (read._sum, read._max) >= (before._sum, before._max)
        assert 0.001 == read.min <= read.percentile(50) <= read.percentile(99) <= read.max <= 0.002
        assert read.min <= read.mean <= read.max
        before = read
    assert before.count > 0
    for child in children:
        child.link.say()
        child.check()
    read = h.read()
    assert read._sum == sum(count * values[low > 0.0015] for low, _, count in read.buckets())


def test_a_reader_that_loses_the_processor(h, fork):
    """It does so all the time here, with three processes on few processors; yet what it reads is
    an attempt of which the sum is no more than some records ahead."""
    ns = 10**6

    def loop(link):
        link.say()
        while True:
            h.record(ns * NS)

    children = [fork(loop) for _ in range(3)]
    for child in children:
        child.link.hear()
    words, bucket = ffi.new("struct grd_histogram *"), filled([ns])._buckets.index(1)
    ahead, until = 0, time.monotonic() + 1.0
    while time.monotonic() < until:
        lib.grd_histogram_read(words, _struct_in(h._mapping))
        ahead = max(ahead, words.sum - words.buckets[bucket] * ns)
    for child in children:
        child.kill()
        child.wait()
    assert ahead <= 50 * ns


def torn(ns, ahead):
    """Return a reading whose sum, min and max are some records ahead of the buckets."""
    words = ffi.new("struct grd_histogram *")
    for value in ns:
        lib.grd_histogram_record(words, value)
    words.sum += ahead
    return Distribution(words)


def test_figures_of_a_sum_that_is_ahead():
    """The mean stays within min and max, std_dev is a number."""
    read = torn([1000, 2000], 10**6)
    assert read.mean == read.max == 2e-6
    assert read.std_dev == 0.0


def test_closing_while_others_record():
    """Threads that still record and read meet ValueError, never memory that has gone."""
    for _ in range(50):
        h = Histogram()
        started = threading.Barrier(4)

        def use(i, h=h, started=started):
            started.wait()
            with contextlib.suppress(ValueError):
                while True:
                    h.record(1) if i else h.read()

        closer = threading.Thread(target=lambda h=h, s=started: (s.wait(), h.close()))
        closer.start()
        run_threads(3, use)
        closer.join()


def test_nothing_leaks():
    """Neither memory nor objects, by recording, refusing or reading."""
    with Histogram() as h:
        before = sys.getallocatedblocks()
        for _ in range(10_000):
            h.record(0.5)
            with contextlib.suppress(ValueError):
                h.record(-1.0)
        assert sys.getallocatedblocks() - before < 100


# The drawing.


def test_durations_in_words():
    """Three digits, the unit that fits."""
    words = {
        0: "0 ns", 512: "512 ns", 999: "999 ns", 1000: "1 us", 1024: "1.02 us", 999_499: "999 us",
        999_600: "1 ms", 16_777_216: "16.8 ms", 10**9: "1 s", 68_719_476_736: "68.7 s",
        2**42: "73.3 min", 2**53: "150120 min",
    }  # fmt: skip
    assert {ns: text(ns * NS) for ns in words} == words


def test_an_empty_drawing(h):
    """It says so."""
    assert str(h) == "nothing recorded"


def test_the_drawing(h):
    """Figures, then aligned rows of a range, a bar and a count; gaps are a tilde; outliers have
    rows of their own. Where there are many buckets, a row is a third of a decade."""
    record_all(h, [100] + [1500] * 3 + [2_500_000] * 50 + [5_000_000] * 100 + [20 * 10**9, 2**43])
    assert str(h) == DRAWING


DRAWING = """\
156 recorded, min 100 ns, mean 56.5 s, max 147 min, std dev 11.7 min
p50 4.74 ms, p90 4.74 ms, p99 19.9 s, p99.9 147 min
        up to 500 ns |#                                                    |   1
    500 ns to 1.1 us |                                                     |   0
    1.1 us to 2.3 us |##                                                   |   3
          ~
      2.3 ms to 5 ms |#####################################################| 150
          ~
        11 s to 23 s |#                                                    |   1
          ~
       over 83.3 min |#                                                    |   1"""


def test_the_fine_drawing(h):
    """Where there are few buckets, a row is one."""
    record_all(h, [1_000_000, 1_010_000, 1_100_000, 1_450_000])
    assert str(h) == FINE


FINE = """\
4 recorded, min 1 ms, mean 1.14 ms, max 1.45 ms, std dev 183 us
p50 1.05 ms, p90 1.45 ms, p99 1.45 ms, p99.9 1.45 ms
      910 us to 1 ms |############################                           | 1
      1 ms to 1.1 ms |#######################################################| 2
          ~
   1.3 ms to 1.45 ms |############################                           | 1"""


@settings(max_examples=200)
@given(st.lists(st.integers(0, 2**53 - 1), max_size=50), st.sampled_from([1, 10**5, 10**12]))
def test_any_drawing(ns, times):
    """ASCII, at most 80 columns and 40 lines, each row once, the counts add up."""
    read = filled(ns)
    words = ffi.new("struct grd_histogram *", read._words[0])
    for i in range(LAST + 1):
        words.buckets[i] *= times
    lines = str(Distribution(words)).splitlines()
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert len(lines) <= 40
    rows = [line for line in lines if "|" in line]
    assert all(len(row) == 80 for row in rows)
    assert all(len(line) <= 80 for line in lines if "recorded" not in line)
    assert len({row.partition("|")[0] for row in rows}) == len(rows)
    assert sum(int(row.rpartition("|")[2]) for row in rows) == len(ns) * times
    assert all("#" in row for row in rows if int(row.rpartition("|")[2]))
