"""The types of the extension module: what they refuse, and that they leave nothing behind."""

import copy
import gc
import pickle
import subprocess
import sys
import weakref

import pytest

from gunicorn_raindrops import Histogram, Raindrops, Struct
from gunicorn_raindrops._native import _objects
from gunicorn_raindrops._native._objects import Counter, Counters, Recorder

from ..bounds import WAIT


@pytest.fixture
def rd():
    with Raindrops(2) as rd:
        yield rd


@pytest.fixture
def counter(rd):
    return Counter(rd, 1)


@pytest.fixture
def h():
    with Histogram() as h:
        yield h


# What is refused.

REFUSED = {
    "Counters.incr": [(), (0, 1, 2), ("0",), (0, "1"), (None,), (0.0,), (0, 1.0)],
    "Counters.decr": [(), (0, 1, 2), ("0",), (0, "1"), (None,), (0.0,), (0, 1.0)],
    "Counters.__getitem__": [(), (0, 1), ("0",), (None,), (slice(1),)],
    "Counters.__setitem__": [(), (0,), (0, "1"), ("0", 1), (0, None)],
    "Counters._show": [(), ("1", 1, 64, None), (1, "1", 64, None), (1, 1, None, None), (1, 1, 64)],
    "Counters._resize": [(), ("1",), (1.0,), (1, 2)],
    "Counters._close": [(1,)],
    "Counter.incr": [(1, 2), ("1",), (None,), (1.0,)],
    "Counter.decr": [(1, 2), ("1",), (None,), (1.0,)],
    "Recorder.record": [(), (1.0, 2.0), ("1",), (None,), (1j,)],
    "Recorder._show": [(), ("1", None), (1.0, None), (1,)],
    "Recorder._close": [(1,)],
}


@pytest.mark.parametrize(
    ("name", "args"), [(name, args) for name, calls in REFUSED.items() for args in calls], ids=repr
)
def test_wrong_arguments(rd, counter, h, name, args):
    """A wrong number or type is TypeError, and nothing has changed."""
    owner, method = name.split(".")
    use = getattr({"Counters": rd, "Counter": counter, "Recorder": h}[owner], method)
    with pytest.raises(TypeError):
        use(*args)
    assert (list(rd), h.count) == ([0, 0], 0)


@pytest.mark.parametrize("kwargs", [{"m": 1}, {"n": 1, "m": 2}, {"i": 0}, {"i": 0, "j": 1}])
def test_wrong_names(rd, counter, kwargs):
    """An unknown name is TypeError, and so is one that has a value by position already."""
    with pytest.raises(TypeError):
        rd.incr(0, **kwargs) if "n" not in kwargs else rd.incr(**kwargs)
    with pytest.raises(TypeError):
        counter.incr(**kwargs)
    with pytest.raises(TypeError):
        counter.incr(1, n=1)
    assert list(rd) == [0, 0]


def test_names(rd, counter):
    """Arguments go by position or by name, in any order, as in Python."""
    assert [rd.incr(1, 2), rd.incr(i=1), rd.incr(n=3, i=1), rd.decr(1, n=4)] == [2, 3, 6, 2]
    assert [counter.incr(), counter.incr(2), counter.decr(n=4)] == [3, 5, 1]


@pytest.mark.parametrize("args", [(), (1,), ("rd", 0), ("rd", 0, 1)])
def test_a_counter_of_nothing(rd, args):
    """It is made of counters and an index."""
    with pytest.raises(TypeError):
        Counter(*args)
    with pytest.raises(TypeError):
        Counter(rd, "0")


def test_a_counter_outside(rd):
    """It raises when it is used: the counters may grow meanwhile."""
    for i in (2, -1, 2**70):
        with pytest.raises(IndexError):
            Counter(rd, i).incr()
    last = Counter(rd, 2)
    rd.size = 3
    assert last.incr() == 1


def test_no_counter_is_deleted(rd):
    """TypeError, as of any such sequence."""
    with pytest.raises(TypeError, match="deleted"):
        del rd[0]


def test_what_has_no_memory():
    """The bare types are closed, and take neither NULL nor a size of nothing."""
    bare = Counters()
    with pytest.raises(ValueError, match="closed"):
        bare.incr(0)
    with pytest.raises(ValueError, match="closed"):
        Counter(bare, 0).incr()
    with pytest.raises(ValueError, match="NULL"):
        bare._show(0, 1, 64, None)
    for size, stride in [(0, 64), (-1, 64), (1, 0), (1, 7)]:
        with pytest.raises(ValueError, match="room"):
            bare._show(4096, size, stride, None)
    with pytest.raises(ValueError, match="at least 1"):
        bare._resize(0)
    with pytest.raises(OverflowError):
        bare._resize(2**70)
    with pytest.raises(ValueError, match="closed"):
        Recorder().record(1)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_nothing_is_pickled(rd, counter, duplicate):
    """What is bound to memory of this process cannot be anywhere else."""
    for one in (counter, Counters(), Recorder()):
        with pytest.raises(TypeError):
            duplicate(one)


# Types and references.


class Sub(Raindrops):
    """A user's own."""

    def __init__(self, size):
        super().__init__(size)
        self.note = "mine"

    def incr(self, i, n=1):
        return super().incr(i, 2 * n)


def test_subclasses():
    """Raindrops can be derived from, methods can be overridden, attributes added."""
    with Sub(2) as sub:
        assert (sub.incr(1), sub.decr(1), sub.note, list(sub)) == (2, 1, "mine", [0, 1])
        assert list(reversed(sub)) == [1, 0]
        assert isinstance(sub.copy(), Raindrops)
        ref = weakref.ref(sub)
    del sub
    assert ref() is None


@pytest.mark.parametrize("make", [lambda: Sub(1), Histogram], ids=["Raindrops", "Histogram"])
def test_cycles_are_collected(make):
    """An object that reaches itself is garbage as any other."""
    one = make()
    one.itself = [one]
    ref = weakref.ref(one)
    del one
    gc.collect()
    assert ref() is None


def test_a_struct_in_a_cycle():
    """Its updates keep the counters, which may know the struct."""

    class Stats(Struct):
        calling: int

    stats = Stats()
    stats._rd.owner = stats
    ref = weakref.ref(stats._rd)
    incr = stats.incr_calling
    del stats
    gc.collect()
    assert incr() == 1
    del incr
    gc.collect()
    assert ref() is None


def test_types_are_visited():
    """Instances of heap types own their type, which the collector has to know."""
    for one in (Counters(), Recorder(), Counter(Counters(), 0)):
        assert gc.is_tracked(one)
        assert type(one) in gc.get_referents(one)


def test_references_are_given_back(rd, counter, h):
    """No call keeps an argument, a type or what the memory belongs to."""
    n, i, seconds = 10**30 - 10**30 + 2**40, 10**30 - 10**30, float("0.25")
    watched = [n, i, seconds, Counter, Counters, Recorder, rd, h, rd._mapping, "x"]

    def use():
        assert rd.incr(i, n) and rd.incr(i=i, n=n) and rd.decr(i, n=n) is not None
        rd[i] = n
        assert rd[i] and counter.incr(n)
        h.record(seconds)
        Counter(rd, i).decr()
        rd._resize(2)
        for refused in (lambda: rd.incr("x"), lambda: rd.incr(i, m=n), lambda: counter.incr(n, n)):
            with pytest.raises(TypeError):
                refused()

    use()
    before = [sys.getrefcount(one) for one in watched]
    for _ in range(100):
        use()
    after = [sys.getrefcount(one) for one in watched]
    assert [b - a for a, b in zip(before, after, strict=True)] == [0] * len(watched)


def test_two_modules_at_once():
    """A module that is imported anew has types of its own, and the first goes on."""
    code = """
import gc, importlib.util, sys
from gunicorn_raindrops._native import _objects as first
spec = importlib.util.find_spec(first.__name__)
second = importlib.util.module_from_spec(spec)
spec.loader.exec_module(second)
assert second.Counters is not first.Counters
try:
    second.Counter(first.Counters(), 0)
    sys.exit("one module takes the other's counters")
except TypeError:
    pass
del second
gc.collect()
from gunicorn_raindrops import Raindrops
assert Raindrops(1).incr(0) == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=WAIT)


def test_documented():
    """Each public method says what it does, and inspect knows its arguments."""
    for method in (Raindrops.incr, Raindrops.decr, Counter.incr, Counter.decr, Histogram.record):
        assert method.__doc__
        assert method.__text_signature__
    assert _objects.__doc__
