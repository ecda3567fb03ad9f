"""The last ten minutes in the scoreboard's header."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn_raindrops._native._scoreboard import ffi, lib
from gunicorn_raindrops.scoreboard import history
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.scoreboard.records import Moment

NOW = 1_800_000_000


def moment(second, **figures):
    """Return a moment, with nothing known but these figures."""
    names = ("calling", "writing", "reading", "waiting", "queued", "capacity")
    return Moment(second, **{**dict.fromkeys(names), **figures})


@pytest.fixture
def header():
    return ffi.new("struct grd_header *")


def test_none(header):
    """At first there is none."""
    assert history.kept(header, NOW) == ()


@given(
    st.lists(
        st.builds(
            Moment,
            st.integers(NOW - 600, NOW),
            *[st.none() | st.integers(0, 2**32 - 2)] * 6,
        )
    )
)
def test_as_kept(moments):
    """Each second has what was kept of it last, 0 and unknown apart, in the order of time."""
    header = ffi.new("struct grd_header *")
    for one in moments:
        history.keep(header, one)
    latest = {one.second: one for one in moments}
    if NOW in latest:
        latest.pop(NOW - 600, None)
    shown = [one for _, one in sorted(latest.items()) if one.second > NOW - 600]
    kept = history.kept(header, NOW)
    assert [one for one in kept if one.second != NOW] == [one for one in shown if one.second != NOW]


def test_ten_minutes(header):
    """Older seconds go, and seconds to come (the clock was set back) are not shown."""
    for second in range(NOW - 1000, NOW + 3):
        history.keep(header, moment(second, calling=second % 7))
    kept = history.kept(header, NOW)
    assert [one.second for one in kept] == list(range(NOW - 597, NOW + 1))
    assert all(one.calling == one.second % 7 for one in kept)
    assert history.kept(header, NOW + 601) == (moment(NOW + 2, calling=(NOW + 2) % 7),)


def test_a_figure_that_is_too_large(header):
    """It is not known, and spoils no other."""
    history.keep(header, moment(NOW, calling=2**32, writing=3, reading=2**32 - 1, waiting=4))
    assert history.kept(header, NOW) == (moment(NOW, writing=3, waiting=4),)
    history.keep(header, moment(NOW, capacity=2**64 - 1, queued=2**70, writing=5))
    assert history.kept(header, NOW) == (moment(NOW, writing=5),)


def test_a_second_that_is_being_written(header):
    """It is not shown."""
    history.keep(header, moment(NOW, calling=1))
    header.history[NOW % history.SECONDS].second = 0
    assert history.kept(header, NOW) == ()


@pytest.mark.parametrize("last", [0, 1, 599, 600, 2**32, 2**63])
def test_scribbles(header, last):
    """Whatever stands there, figures are small, and seconds those that were asked for."""
    size = ffi.sizeof(header.history)
    ffi.buffer(header.history)[:] = random.Random(last).randbytes(size)
    for i in range(history.SECONDS):
        header.history[i].second = max(0, last - (last - i) % 600)
    kept = history.kept(header, last)
    assert all(max(0, last - 600) < one.second <= last for one in kept)
    assert all((one.calling or 0) < 2**32 for one in kept)


def test_through_a_restart(tmp_path):
    """A file keeps it for the next server, also after a reboot."""
    first = Scoreboard(1, str(tmp_path / "board"))
    history.keep(first.header, moment(NOW, calling=3))
    first.header.boot_id = b"another".ljust(lib.GRD_BOOT_ID_SIZE, b"\0")
    (tmp_path / "next").write_bytes((tmp_path / "board").read_bytes())
    second = Scoreboard(1, str(tmp_path / "next"))
    assert history.kept(second.header, NOW) == (moment(NOW, calling=3),)
    first.forget_file()
    second.forget_file()
