"""Requests in flight as the process that counts them sees them, and what it says of them."""

import os
import threading

import pytest

from gunicorn_raindrops._native import _objects
from gunicorn_raindrops.counting import attached, request
from gunicorn_raindrops.counting.slots import BoardSlot
from gunicorn_raindrops.scoreboard.board import Scoreboard

ENTRIES, WHERE = 32, 119
SLOW, HOUR = 20_000_000, 3600 * 10**9
"""In ns."""


@pytest.fixture
def board():
    board = Scoreboard(2)
    yield board
    attached.keep_slow(0)
    attached.show_current(True)
    board.forget_file()


@pytest.fixture
def attach(board):
    def attach(show=True):
        attached.show_current(show)
        assert attached.take_over(board, board.claim(), 1, 1)

    return attach


def current(board):
    return board.read().rows[0].current


def test_what_is_known(board, attach):
    """Ticket, thread, age, method, path; a path that was cut says so."""
    attach()
    request.begin("GET", "/a")
    ticket = request.begin_ticket("POST", "/" + "\u00e9" * 100)
    first, second = attached.flights(0)
    assert first[1:2] + first[3:] == (threading.get_ident(), "GET", "/a")
    assert second[0] == ticket
    assert second[3:] == ("POST", "/" + "\u00e9" * 49 + "\u2026")
    assert 0 <= second[2] <= first[2] < HOUR
    assert second[2] <= _objects.age_of(ticket) < HOUR
    assert attached.in_flight() == 2
    assert attached.flights(10**12) == []
    request.END["2"]()
    request.end_ticket(ticket, 2)
    assert (attached.flights(0), attached.in_flight()) == ([], 0)


def test_what_is_said(board, attach):
    """Until the request ends; none of the next one; cut to the room for it."""
    attach()
    request.begin("GET", "/a")
    ((ticket, *_),) = attached.flights(0)
    assert current(board).where is None
    assert attached.say_where(ticket, "a.py:1 in f")
    assert current(board).where == "a.py:1 in f"
    assert attached.say_where(ticket, "b" * 500)
    assert current(board).where == "b" * WHERE
    assert attached.say_where(ticket, "\u00e9" * 500)
    assert current(board).where == "\u00e9" * (WHERE // 2)
    request.END["2"]()
    assert not attached.say_where(ticket, "late")
    request.begin("GET", "/b")
    assert not attached.say_where(ticket, "late")
    assert current(board).where is None
    request.END["2"]()


@pytest.mark.parametrize("number", [1, 0, 2**64 - 1, (1 << 6) | 33, (1 << 6) | 34, 63])
def test_no_such_request(attach, number):
    """A ticket of none leads nowhere."""
    attach()
    assert attached.say_where(number, "x") is False


def test_odd_arguments(attach):
    """Are refused as what they are."""
    attach()
    for arguments in [(), (1,), (1, b"x"), ("x", "x")]:
        with pytest.raises(TypeError):
            attached.say_where(*arguments)
    with pytest.raises(UnicodeEncodeError):
        attached.say_where(1, "\udc80")
    for function in (attached.flights, attached.keep_slow, _objects.age_of):
        with pytest.raises(TypeError):
            function("x")
        with pytest.raises((OverflowError, ValueError)):
            function(-1)


def test_not_shown(board, attach):
    """With `current` off all of it stays in this process."""
    attach(show=False)
    request.begin("GET", "/secret")
    before = os.pread(board.fileno(), 2**20, 0)
    ((ticket, *_, path),) = attached.flights(0)
    assert path == "/secret"
    assert attached.say_where(ticket, "a.py:1 in f")
    assert current(board) is None
    assert b"/secret" not in before
    assert os.pread(board.fileno(), 2**20, 0) == before
    request.END["2"]()


def test_beyond_the_entries(board, attach):
    """More requests than there are entries are counted, and nothing is said of them."""
    attach()
    tickets = [request.begin_ticket("GET", f"/{i}") for i in range(ENTRIES + 3)]
    assert len(attached.flights(0)) == ENTRIES
    assert attached.in_flight() == ENTRIES + 3
    assert [attached.say_where(ticket, "x") for ticket in tickets] == [True] * ENTRIES + [False] * 3
    for ticket in tickets:
        request.end_ticket(ticket, 2)


def test_those_that_end_slow(attach):
    """Are kept with what was known of them, until they are fetched; no others are."""
    attach()
    request.begin("GET", "/none")
    request.END["2"]()
    assert attached.fetch_over() == (0, [])
    attached.keep_slow(HOUR)
    request.end_ticket(request.begin_ticket("GET", "/quick"), 2)
    assert attached.fetch_over() == (0, [])
    attached.keep_slow(SLOW)
    slow = request.begin_ticket("GET", "/slow")
    request.begin("PUT", "/mine")
    last = request.begin_ticket("GET", "/taken-back")
    while _objects.age_of(last) < SLOW:  # the others are older
        pass
    request.end_ticket(slow, 2)
    request.END["2"]()
    request.end_ticket(last, _objects.CANCELLED)
    count, kept = attached.fetch_over()
    assert count == 2
    assert [one[3:] for one in kept] == [("GET", "/slow"), ("PUT", "/mine")]
    assert kept[0][0] == slow
    assert all(age >= SLOW for _, _, age, _, _ in kept)
    assert attached.fetch_over() == (0, [])


def test_in_a_child(attach, board, fork):
    """A child of the process has none of its requests."""
    attach()
    request.begin("GET", "/a")
    ((ticket, *_),) = attached.flights(0)
    child = fork(_look, ticket)
    assert child.link.hear() == b"[] 0 False"
    request.END["2"]()


def _look(link, ticket):
    found = (attached.flights(0), attached.in_flight(), attached.say_where(ticket, "x"))
    link.say("{} {} {}".format(*found).encode())


def test_a_slot_of_ones_own(board):
    """A held slot has the same of its own requests."""
    claim = board.claim()
    held = BoardSlot(board, claim, board.take_over_slot(claim))
    ticket = held.begin("GET", "/a")
    assert [one[0] for one in held.flights(0)] == [ticket]
    assert held.say_where(ticket, "a.py:1 in f")
    assert current(board).where == "a.py:1 in f"
    held.end(ticket, 2)
    assert held.flights(0) == []
    assert not held.say_where(ticket, "x")
