"""Which request is in flight: the oldest, whatever it is called, and nothing that never was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn_raindrops._native._scoreboard import ffi, lib
from gunicorn_raindrops.counting import attached, slots
from gunicorn_raindrops.scoreboard import decode
from gunicorn_raindrops.scoreboard.board import Scoreboard

PLACES = lib.GRD_ENTRIES
TEXT = lib.GRD_ENTRY_TEXT
METHOD = lib.GRD_ENTRY_METHOD


class Slot:
    """A slot of this process."""

    def __init__(self):
        self.board = Scoreboard(1)
        claim = self.board.claim()
        self.slot = self.board.take_over_slot(claim)
        self.seat = slots.BoardSlot(self.board, claim, self.slot)

    def oldest(self):
        (row,) = self.board.read().rows
        return row.current


@pytest.fixture
def slot():
    slot = Slot()
    yield slot
    slot.board.forget_file()


def shown(text, room):
    """Return what there is room for, without half a character at the end."""
    return text.encode()[:room].decode(errors="ignore")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=150)


@given(TEXTS, TEXTS)
def test_any_method_and_path(method, path):
    """What there is no room for is cut, and said to be; nothing else changes them."""
    slot = Slot()
    try:
        slot.seat.begin(method, path)
        found = slot.oldest()
        room = TEXT - min(len(method.encode()), METHOD)
        assert found.method == shown(method, METHOD)
        is_cut = len(path.encode()) > room
        assert found.path == shown(path, room) + (decode.CUT if is_cut else "")
    finally:
        slot.board.forget_file()


STEPS = st.lists(st.one_of(st.just("begin"), st.integers(0, 2 * PLACES)), max_size=100)


@given(STEPS)
def test_the_oldest_against_a_model(steps):
    """It is the one that began first of those that have a place, as long as it is there: the
    first places that are free are taken, and who finds none is not shown."""
    slot, flying, number = Slot(), [], 0
    try:
        for step in steps:
            if step == "begin":
                placed = sum(one[2] for one in flying) < PLACES
                flying.append((slot.seat.begin("GET", f"/{number}"), f"/{number}", placed))
                number += 1
            elif step < len(flying):
                slot.seat.end(flying.pop(step)[0], 2)
            found = slot.oldest()
            paths = [path for _, path, placed in flying if placed]
            assert (found and found.path) == (paths[0] if paths else None)
    finally:
        slot.board.forget_file()


def test_a_worker_killed_while_it_writes_shows_nothing(slot):
    """A place of an odd turn is half written; the next request there is whole again."""
    slot.seat.end(slot.seat.begin("GET", "/before"), 2)
    place = slot.slot.entries[0]
    place.turn += 1
    place.began = 1
    assert slot.oldest() is None
    slot.seat.begin("GET", "/after")
    assert slot.oldest().path == "/after"


@pytest.mark.parametrize(("method", "path"), [(255, 255), (0, 255), (255, 0), (20, 104)])
def test_scribbled_lengths(slot, method, path):
    """They never reach beyond the text."""
    slot.seat.begin("GET", "/")
    place = slot.slot.entries[0]
    place.method, place.path = method, path
    found = slot.oldest()
    assert len(found.method) <= METHOD
    assert len(found.path) <= TEXT


def test_one_that_begins_in_the_future_has_taken_no_time(slot):
    """Only somebody who scribbles can have written that."""
    slot.seat.begin("GET", "/")
    slot.slot.entries[0].began = 2**64 - 2
    assert slot.oldest().seconds == 0


def test_the_next_owner_has_none_of_it(slot):
    """What a killed worker was in is not its successor's."""
    slot.seat.begin("GET", "/killed")
    slot.seat.leave()
    slot.board.take_over_slot(slot.board.claim())
    assert slot.oldest() is None


def aborted(link, board):
    """Be a worker whose request ends only since the worker is aborted."""
    claim = board.claim()
    place = slots.BoardSlot(board, claim, board.take_over_slot(claim))
    ticket = place.begin("GET", "/aborted")
    attached.keep_current()
    place.end(ticket, 5)
    link.say()
    link.hear()


def test_an_aborted_worker_keeps_what_it_was_in(fork):
    """Until it is dead; its gauges say that nothing is in flight."""
    board = Scoreboard(1)
    child = fork(aborted, board)
    assert child.link.hear()
    (row,) = board.read().rows
    assert (row.calling, row.writing, row.current.path) == (0, 0, "/aborted")
    child.link.close()
    child.check()
    assert board.read().rows == ()
    board.forget_file()


def test_decode_of_nothing():
    """Where nobody is there is None."""
    assert decode.request(ffi.new("struct grd_entry *"), 0) is None
