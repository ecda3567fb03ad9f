"""Struct: counters by name."""

import copy
import pickle
import re
import sys
import threading
from pathlib import Path
from typing import Annotated, ClassVar

import pytest

from gunicorn_raindrops import Raindrops, Struct

from .conftest import descriptors

MAX = 2**64 - 1


class Stats(Struct):
    calling: int
    writing: int


def test_where_they_are_imported_from():
    """Documentation, tracebacks and pickled classes name the public module."""
    assert Raindrops.__module__ == Struct.__module__ == "gunicorn_raindrops.shm"


@pytest.fixture
def stats():
    with Stats(calling=5) as stats:
        yield stats


def test_members_in_order(stats):
    """A subclass's annotations are its members; keywords set them, the others begin at 0."""
    assert Stats.MEMBERS == ("calling", "writing")
    assert (stats.calling, stats.writing) == (5, 0)
    assert (stats[0], stats[1], len(stats), list(stats)) == (5, 0, 2, [5, 0])
    assert stats.as_dict() == {"calling": 5, "writing": 0}
    assert list(stats.as_dict()) == ["calling", "writing"]
    assert repr(stats) == "Stats(calling=5, writing=0)"


def test_updates(stats):
    """Each member has an incr_ and a decr_, by 1 or by n, which return the new value."""
    assert stats.incr_calling() == 6
    assert stats.incr_calling(4) == 10
    assert stats.incr_calling(n=0) == 10
    assert stats.decr_calling() == 9
    assert stats.decr_calling(n=2) == 7
    assert stats.decr_writing() == MAX
    assert stats.incr_writing(2) == 1
    assert list(stats) == [7, 1]


def test_setting(stats):
    """By name and by index, from 0 to 2**64-1."""
    stats.calling = 3
    assert stats[0] == 3
    stats[1] = MAX
    assert stats.writing == MAX
    stats.writing += 0
    stats.writing -= 1
    assert stats.writing == MAX - 1


@pytest.mark.parametrize("value", [-1, MAX + 1])
def test_value_outside(stats, value):
    """OverflowError, wherever it is given, and nothing changes."""
    for use in (
        lambda: setattr(stats, "calling", value),
        lambda: stats.__setitem__(0, value),
        lambda: stats.incr_calling(value),
        lambda: stats.decr_calling(n=value),
        lambda: Stats(calling=value),
    ):
        with pytest.raises(OverflowError):
            use()
    assert list(stats) == [5, 0]


@pytest.mark.parametrize("value", [None, 1.0, "1"])
def test_value_of_a_wrong_type(stats, value):
    """TypeError, wherever it is given; 1.0 is not 1."""
    for use in (
        lambda: setattr(stats, "calling", value),
        lambda: stats.__setitem__(0, value),
        lambda: stats.incr_calling(value),
        lambda: stats.decr_calling(n=value),
        lambda: Stats(calling=value),
    ):
        with pytest.raises(TypeError):
            use()
    assert list(stats) == [5, 0]


@pytest.mark.parametrize(
    ("args", "kwargs"), [((1, 2), {}), ((1,), {"n": 1}), ((), {"m": 1}), ((), {"n": 1, "m": 1})]
)
def test_arguments_of_updates(stats, args, kwargs):
    """They take n, and nothing else: TypeError."""
    for update in (stats.incr_calling, stats.decr_writing):
        with pytest.raises(TypeError):
            update(*args, **kwargs)
    assert list(stats) == [5, 0]


@pytest.mark.parametrize("i", [-1, 2, 2**64])
def test_index_outside(stats, i):
    """IndexError, as in Raindrops."""
    with pytest.raises(IndexError):
        stats[i]
    with pytest.raises(IndexError):
        stats[i] = 1


def test_unknown_member():
    """TypeError that names it and those that there are; values go by keyword only."""
    with pytest.raises(TypeError, match=r"waiting.*calling, writing"):
        Stats(waiting=1)
    with pytest.raises(TypeError):
        Stats(5)


def test_unknown_attribute(stats):
    """A misspelt member is not set silently, and none is found."""
    with pytest.raises(AttributeError, match=r"waiting"):
        stats.waiting = 1
    for name in ("waiting", "incr_waiting", "decr_"):
        with pytest.raises(AttributeError):
            getattr(stats, name)
    with pytest.raises(AttributeError):
        stats.incr_calling = 1


def test_no_members():
    """A Struct needs some."""

    class Empty(Struct):
        pass

    for cls in (Struct, Empty):
        with pytest.raises(TypeError, match="member"):
            cls()


def test_class_variables_are_no_members():
    """Nor are methods; both can be used beside members."""

    class Named(Struct):
        title: ClassVar[str] = "requests"
        calling: int

        def twice(self):
            return 2 * self.calling

    with Named(calling=2) as named:
        assert Named.MEMBERS == ("calling",)
        assert (named.title, named.twice()) == ("requests", 4)


def test_string_annotations():
    """As `from __future__ import annotations` makes them."""

    class Quoted(Struct):
        limit: "ClassVar[int]" = 5
        most: "t.ClassVar[int]" = 6  # noqa: F821  # only its name is looked at
        calling: "int"
        written: Annotated[int, "bytes"]

    assert Quoted.MEMBERS == ("calling", "written")
    assert set(Quoted.KINDS.values()) == {"counter"}


def test_inheritance():
    """A subclass of a subclass adds its members behind the others."""

    class More(Stats):
        waiting: int

    assert (Stats.MEMBERS, More.MEMBERS) == (
        ("calling", "writing"),
        ("calling", "writing", "waiting"),
    )
    with More(waiting=1, calling=2) as more:
        assert more.incr_waiting() == 2
        assert list(more) == [2, 0, 2]


@pytest.mark.parametrize("name", ["copy", "close", "as_dict", "MEMBERS", "_rd", "_x", "__len__"])
def test_taken_names(name):
    """A member that would hide what a Struct has is refused when the class is made."""
    with pytest.raises(TypeError, match=name):
        type("Bad", (Struct,), {"__annotations__": {name: int}, "__module__": __name__})


@pytest.mark.parametrize("annotation", [float, "Guage", "float", None, list[int], "list[int]"])
def test_other_annotations(annotation):
    """A misspelt gauge is no counter."""
    wanted = f"Bad: member 'x' is annotated {annotation!r}, not int, Gauge or WorkerGauge"
    with pytest.raises(TypeError, match=re.escape(wanted)):
        type("Bad", (Struct,), {"__annotations__": {"x": annotation}, "__module__": __name__})


@pytest.mark.parametrize("names", [("x", "incr_x"), ("incr_x", "x"), ("x", "decr_x")])
def test_member_named_as_an_update(names):
    """`incr_x` beside `x` would leave x without its update: refused as well."""
    annotations = dict.fromkeys(names, int)
    with pytest.raises(TypeError, match=r"incr_x|decr_x"):
        type("Bad", (Struct,), {"__annotations__": annotations, "__module__": __name__})


@pytest.mark.parametrize("duplicate", [Stats.copy, copy.copy])
def test_a_copy_is_independent(stats, duplicate):
    """It has the values and counts on its own."""
    with duplicate(stats) as other:
        assert type(other) is Stats
        assert other.incr_calling() == 6
        stats.close()
        assert other.as_dict() == {"calling": 6, "writing": 0}


def test_no_pickling(stats):
    """TypeError, as for Raindrops."""
    for use in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="pickle"):
            use(stats)


@pytest.mark.parametrize("touched", [True, False])
def test_closed(touched):
    """ValueError everywhere, also for updates that are held elsewhere; closing twice is nothing."""
    stats = Stats()
    incr, decr = stats.incr_calling, stats.decr_writing
    if touched:
        assert (incr(), decr()) == (1, MAX)
    stats.close()
    stats.close()
    for use in (
        incr,
        decr,
        lambda: incr(1),
        lambda: decr(n=2),
        lambda: stats.incr_calling(),
        lambda: stats.calling,
        lambda: setattr(stats, "calling", 1),
        lambda: stats[0],
        lambda: stats.__setitem__(0, 1),
        lambda: len(stats),
        lambda: list(stats),
        stats.as_dict,
        stats.copy,
    ):
        with pytest.raises(ValueError, match="closed"):
            use()
    assert "closed" in repr(stats)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_an_update_outlives_its_struct(fork):
    """A held update keeps the memory."""

    def mapped():
        return Path("/proc/self/maps").read_text().count("memfd:raindrops")

    def count(link):
        before = mapped()
        incr = Stats(writing=1).incr_writing
        assert [incr() for _ in range(3)] == [2, 3, 4]
        assert incr(n=5) == 9
        assert mapped() == before + 1
        del incr
        assert mapped() == before

    fork(count).check()


def test_shared_with_children(stats, fork):
    """Four processes of four threads lose no update, whether by name, by n or looked up once."""

    def thread():
        incr = stats.incr_calling
        for _ in range(5_000):
            incr()
            stats.incr_calling()
            stats.incr_calling(2)
            stats.decr_writing()

    def process(link):
        link.hear()
        threads = [threading.Thread(target=thread) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    stats.calling = 0
    children = [fork(process) for _ in range(4)]
    for child in children:
        child.link.say()
    for child in children:
        child.check()
    assert stats.as_dict() == {"calling": 4 * 80_000, "writing": 2**64 - 80_000}


def test_nothing_is_shared_by_two():
    """Two of one class count apart."""
    with Stats() as one, Stats() as other:
        one.incr_calling()
        assert other.calling == 0


def test_failed_ones_leave_nothing():
    """One whose value is refused leaves no descriptor (see the fixture)."""
    before = descriptors()
    for _ in range(20):
        with pytest.raises(OverflowError):
            Stats(calling=-1)
    assert descriptors() == before
