"""The request path: what its functions refuse, what they keep, and tickets near the clock's end."""

import gc
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from gunicorn_raindrops._native import _objects
from gunicorn_raindrops._native._objects import CANCELLED, ERROR, WRITING, Tickets
from gunicorn_raindrops.counting import attached, connection, request
from gunicorn_raindrops.counting.slots import BoardSlot
from gunicorn_raindrops.mapping import location_of
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.scoreboard.records import HEADER, SOCKET

from ..bounds import WAIT

NUMBER_BITS, ENTRIES, OUTSIDE = 6, 32, 63
MOST_IN_FLIGHT = 2**20 - 1  # of one slot, as its gauge has room for
AROUND = 2 ** (64 - NUMBER_BITS)  # ns: where the instants of tickets go round


@pytest.fixture
def board():
    board = Scoreboard(2)
    yield board
    board.forget_file()


@pytest.fixture
def held(board):
    claim = board.claim()
    return BoardSlot(board, claim, board.take_over_slot(claim))


def figures(board):
    """Return calling, writing, requests, errors, and open websockets."""
    reading = board.read()
    rows = reading.rows
    return (
        sum(row.calling for row in rows),
        sum(row.writing for row in rows),
        reading.requests,
        reading.errors,
        sum(row.websockets for row in rows),
    )


# What is refused.

TEXTS = [(b"GET",), (None,), ("GET", b"/"), ("GET", None), (1, 2)]
WITHOUT_ARGUMENTS = [
    *("keep_current", "forks", "respond", "fail", "cancel", "end_1xx", "end_2xx", "end_3xx"),
    *("end_4xx", "end_5xx", "end_other", "fail_ended", "open_websocket", "close_websocket"),
    *("queued_ignored", "leave_connection", "count_connections"),
]
FUNCTIONS = {
    "attach": [(), (1, 2), ("1", 2, None), (1, 2.0, None), (1, 2, None, None)],
    "set_state": [(), ("1",), (1.0,), (1, 2)],
    "set_capacity": [(), ("1",), (1.0,), (None,)],
    "show_current": [(), (1, 2)],
    "begin": [*TEXTS, ("GET", "/", "3"), ("GET", "/", 3.0), ("GET", "/", None), ("", "", 3, 4)],
    "begin_ticket": [*TEXTS, ("GET", "/", "3"), ("GET", "/", None), ("", "", 3, 4)],
    "respond_ticket": [(), (None,), ("1",), (1.0,), (1, 2)],
    "end_ticket": [(), (1,), (1, 2, 3), ("1", 2), (1, "2"), (1, None), (1, 2.0)],
    "queued_header": [(), ("1",), (1.0,), (1, 2)],
    "hold_connection": [()],
    **{name: [(1,), (None,)] for name in WITHOUT_ARGUMENTS},
}
METHODS = {
    "_hold": [(), (1, 2), ("1", 2, None), (1, 2, None, None)],
    "set_state": [(), ("1",), (1.0,)],
    "begin": [*TEXTS, ("GET", "/", 3)],
    "respond": [(), (None,), ("1",), (1.0,)],
    "end": [(), (1,), (1, 2, 3), ("1", 2), (1, "2"), (1, 2.0)],
    "fail": [(1,)],
    "open": [(1,)],
    "close": [(1,)],
}


def calls(table):
    return [(name, args) for name, all_args in table.items() for args in all_args]


@pytest.mark.parametrize(("name", "args"), calls(FUNCTIONS), ids=repr)
def test_wrong_arguments(name, args):
    """A wrong number or type is TypeError."""
    with pytest.raises(TypeError):
        getattr(_objects, name)(*args)


@pytest.mark.parametrize(("name", "args"), calls(METHODS), ids=repr)
def test_wrong_arguments_of_a_held_slot(board, held, name, args):
    """A wrong number or type is TypeError, and nothing has been counted."""
    with pytest.raises(TypeError):
        getattr(held, name)(*args)
    assert figures(board) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("how", [-1, 6, 7, WRITING | 6, 64, 2**31, 2**70, -(2**70)])
def test_no_request_ends_so(board, held, how):
    """ValueError; the request is still there."""
    ticket = held.begin("GET", "/")
    with pytest.raises(ValueError, match="ends as"):
        held.end(ticket, how)
    with pytest.raises(ValueError, match="ends as"):
        request.end_ticket(ticket, how)
    assert figures(board) == (1, 0, 0, 0, 0)
    held.end(ticket, 2)


@pytest.mark.parametrize("number", [0, -1, 35, 62, 2**63 + 40, 2**64, -(2**70)])
def test_no_ticket(board, held, number):
    """ValueError: what no begin has returned reaches no memory."""
    for use in (held.respond, request.respond_ticket):
        with pytest.raises(ValueError, match="no ticket"):
            use(number)
    for use in (held.end, request.end_ticket):
        with pytest.raises(ValueError, match="no ticket"):
            use(number, 2)
    assert figures(board) == (0, 0, 0, 0, 0)


def test_no_state(held):
    """ValueError."""
    for state in (-1, 5):
        with pytest.raises(ValueError, match="no state"):
            held.set_state(state)
        with pytest.raises(ValueError, match="no state"):
            _objects.set_state(state)


def test_all_that_ends_so(board, held):
    """Each class with each of the flags; what was cancelled is in no total."""
    for how in range(6):
        held.end(held.begin(), how)
        ticket = held.begin()
        held.respond(ticket)
        held.end(ticket, how | WRITING | ERROR)
        held.end(held.begin(), how | CANCELLED | ERROR)
    assert figures(board) == (0, 0, 12, 6, 0)
    assert board.read().responses == (2, 2, 2, 2, 2)


# Text.


@pytest.mark.parametrize(
    ("path", "shown"), [("/\udce9", "/?"), ("/é", "/é"), ("/\0", "/\0"), ("", "")]
)
def test_any_str_is_shown(board, held, path, shown):
    """A surrogate, which a server makes of bytes that are no text, is replaced."""
    ticket = held.begin("GET", path)
    (row,) = board.read().rows
    assert row.current.path == shown
    held.end(ticket, 2)


# References, and whose memory it is.


def test_references_are_given_back(board, held):
    """No call keeps an argument, nor what was refused."""
    method, path = "MET" + "HOD" * 3, "/é\udce9" + "x" * 300
    watched = [method, path, board, held, Tickets, BoardSlot]

    def use():
        held.end(held.begin(method, path), 2)
        request.end_ticket(request.begin_ticket(method, path, -1), 2)
        request.begin(method, path, -1)
        request.cancel()
        for refused in (lambda: held.begin(path, None), lambda: held.end(path, path)):
            with pytest.raises(TypeError):
                refused()
        with pytest.raises(ValueError, match="ticket"):
            held.respond(0)

    for _ in range(3):
        use()
    gc.collect()
    before = [sys.getrefcount(one) for one in watched]
    blocks = sys.getallocatedblocks()
    for _ in range(1000):
        use()
    gc.collect()
    assert [sys.getrefcount(one) for one in watched] == before
    assert sys.getallocatedblocks() - blocks < 200


def test_a_bare_one_holds_nothing():
    """It counts nowhere, and its tickets are none."""
    bare = Tickets()
    assert bare.begin("GET", "/") == 0
    assert bare.open() is False
    bare.close()
    bare.fail()
    bare.set_state(3)


def test_a_held_slot_keeps_its_memory():
    """The scoreboard stays as long as somebody may count in it, and no longer."""
    board = Scoreboard(1)
    claim = board.claim()
    held = BoardSlot(board, claim, board.take_over_slot(claim))
    board.forget_file()
    ref = weakref.ref(board)
    del board
    held.end(held.begin("GET", "/"), 2)
    assert ref().read().requests == 1
    held.itself = held
    del held
    gc.collect()
    assert ref() is None


def attach_and_let_go(link):
    board = Scoreboard(2)
    first, second = board.claim(), board.claim()
    assert attached.take_over(board, first, 1, 1)
    ref = weakref.ref(board)
    request.begin("GET", "/")
    board.forget_file()
    del board
    gc.collect()
    assert figures(ref()) == (1, 0, 0, 0, 0)
    assert attached.take_over(ref(), second, 1, 1)
    request.END["2"]()
    other = Scoreboard(1)
    assert attached.take_over(other, other.claim(), 1, 1)
    other.forget_file()
    gc.collect()
    assert ref() is None


def test_the_attached_slot_keeps_its_memory(fork):
    """Until another one is attached."""
    fork(attach_and_let_go).check()


def end_late(link):
    board = Scoreboard(1)
    assert attached.take_over(board, board.claim(), 1, 1)
    request.begin("GET", "/")
    del sys.modules[_objects.__name__]
    _objects.__dict__.clear()
    link.say()


def test_the_end_of_the_interpreter(fork):
    """A module that goes while a request is inside takes nobody with it."""
    child = fork(end_late)
    assert child.link.hear()
    child.check()


def test_a_child_counts_nowhere(board, held, fork):
    """What a child has copied of its parent's tickets is not its own."""
    ticket = held.begin("GET", "/")

    def child(link):
        assert held.begin("GET", "/") == 0
        held.respond(ticket)
        held.end(ticket, 2)
        held.fail()
        assert held.open() is False

    fork(child).check()
    assert figures(board) == (1, 0, 0, 0, 0)
    held.end(ticket, 2)


# The connections that threads have in hand.


def reading(board):
    """Return what each worker is shown to hold without a request in flight."""
    return [row.reading for row in board.read().rows]


def hold_connections(link):
    board = Scoreboard(2)
    assert attached.take_over(board, board.claim(), 1, 1)
    assert reading(board) == [None]
    assert connection.hold(reading, board) == [None]
    connection.count()
    assert reading(board) == [0]

    def handle(*args):
        seen = [args, *reading(board)]
        for end in (request.cancel, request.END["2"]):
            request.begin("GET", "/")
            seen += reading(board)
            request.respond()
            seen += reading(board)
            end()
            seen += reading(board)
        assert connection.hold(reading, board) == [1]  # the same one
        return seen

    assert connection.hold(handle, 1, 2) == [(1, 2), 1, 0, 0, 1, 0, 0, 1]
    assert reading(board) == [0]
    request.begin("GET", "/")  # in nobody's hands: it takes nothing from what others hold
    assert reading(board) == [0]
    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(partial(hold_together, threading.Barrier(3), board), range(3)))
    request.cancel()
    assert reading(board) == [0]
    for error in (ZeroDivisionError, SystemExit, KeyboardInterrupt):
        with pytest.raises(error):
            connection.hold(fail_with, error)
        assert reading(board) == [0]


def hold_together(barrier, board, number):
    """Hold a connection in three threads at once; one request is in flight beside them."""

    def handle():
        barrier.wait(WAIT)
        seen = reading(board)
        barrier.wait(WAIT)
        return seen

    return connection.hold(handle) == [2]


def fail_with(error):
    raise error


def test_what_threads_hold(fork):
    """A connection is reading while it is in hand and no request is in flight, whatever ends that;
    a thread holds one at a time. Nothing is known before somebody counts."""
    fork(hold_connections).check()


def leave_in_a_child(link):
    board = Scoreboard(2)
    assert attached.take_over(board, board.claim(), 1, 1)
    connection.count()

    def handle():
        assert reading(board) == [1]
        pid = os.fork()
        if not pid:
            connection.leave()
            connection.hold(connection.leave)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert reading(board) == [1]
        connection.leave()  # what answers the status does
        assert reading(board) == [0]

    connection.hold(handle)
    assert reading(board) == [0]


def test_a_child_holds_no_connection(fork):
    """Its parent's is not its own; and who leaves early leaves once."""
    fork(leave_in_a_child).check()


def die_holding(link, board, claim):
    assert attached.take_over(board, claim, 1, 1)
    connection.count()
    connection.hold(lambda: (link.say(), link.hear()))


def test_a_dead_owners_connections_are_gone(board, fork):
    """With its generation, as its requests are, and the next owner begins with none."""
    claim = board.claim()
    child = fork(die_holding, board, claim)
    assert child.link.hear()
    assert reading(board) == [1]
    child.kill()
    child.wait()
    board.release(claim)
    claim = board.claim()
    assert board.take_over_slot(claim)
    assert reading(board) == [None]


# How long a request has waited.


def wait_and_begin(link):
    board = Scoreboard(1)
    assert attached.take_over(board, board.claim(), 1, 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as client:
            server = listener.accept()[0]
            client.sendall(b"x")
            while not server.recv(1, socket.MSG_PEEK):
                pass
            time.sleep(0.05)
            with server, socket.socket(socket.AF_UNIX) as unix:
                for fd in (server.fileno(), unix.fileno(), -1, 2**40, -(2**40)):
                    request.begin("GET", "/", fd)
                    request.cancel()
                request.end_ticket(request.begin_ticket("GET", "/", server.fileno()), 2)
    _objects.queued_header(5 * 10**9)
    _objects.queued_ignored()
    waited = board.read().queue_seconds
    assert waited[SOCKET].count == 2
    assert 0.03 <= waited[SOCKET].min < HOUR
    assert (waited[HEADER].count, waited[HEADER].sum) == (1, 5)
    assert board.read().queue_ignored == 1


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is Linux's")
def test_the_kernel_says_how_long(fork):
    """Only of a TCP connection; any other descriptor, or none, records nothing."""
    fork(wait_and_begin).check()


# Tickets.


HOUR = 3600.0
"""Seconds that no step takes on any machine, and far less than what a wrong clock is off by."""


def began(ago, number=33):
    """Return the ticket of a request that began so many nanoseconds ago."""
    return (time.monotonic_ns() - ago) % AROUND << NUMBER_BITS | number


@pytest.mark.parametrize("ago", [0, 10**9, 3600 * 10**9, 80 * 86400 * 10**9])
def test_a_request_from_before_the_clock_went_round(board, held, ago):
    """How long it took is right, also where its begin is the greater number."""
    held.begin("GET", "/")
    held.end(began(ago), 2)
    assert ago / 1e9 <= board.read().request_seconds.max <= ago / 1e9 + HOUR


def test_more_requests_than_entries(board, held):
    """Each has a ticket of its own, and those without an entry free none."""
    tickets = [held.begin("GET", f"/{i}") for i in range(ENTRIES + 3)]
    assert len({ticket % 64 for ticket in tickets}) == ENTRIES + 1
    for ticket in tickets[ENTRIES:]:
        held.end(ticket, 2)
    assert board.read().rows[0].current.path == "/0"
    for ticket in tickets[:ENTRIES]:
        held.end(ticket, 2)
    assert figures(board) == (0, 0, ENTRIES + 3, 0, 0)
    assert board.read().rows[0].current is None


def test_a_hundred_thousand_in_flight(board, held):
    """Event streams and long polls may stay for hours, all of them at once, in either phase. Ends
    lead back to 0, and the time in flight is what they took."""
    began = time.monotonic()
    tickets = [held.begin("GET", "/events") for _ in range(100_000)]
    assert figures(board) == (100_000, 0, 0, 0, 0)
    for ticket in tickets:
        held.respond(ticket)
    assert figures(board) == (0, 100_000, 0, 0, 0)
    for ticket in tickets:
        held.end(ticket, WRITING | 2)
    assert figures(board) == (0, 0, 100_000, 0, 0)
    busy = board.read().busy_seconds[0]
    assert 0 < busy < 100_000 * (time.monotonic() - began)
    assert board.read().busy_seconds[0] == busy


@pytest.mark.once
@pytest.mark.parametrize("phase", [0, WRITING], ids=["calling", "writing"])
def test_more_in_flight_than_a_gauge_has_room_for(board, held, phase):
    """The gauge stays at its most, and its neighbours as they are. Requests beyond it are in the
    totals, whichever of them end first."""
    began = time.monotonic()
    tickets = [held.begin("GET", "/events") for _ in range(MOST_IN_FLIGHT + 3)]
    if phase:
        for ticket in tickets:
            held.respond(ticket)
    most = (0, MOST_IN_FLIGHT) if phase else (MOST_IN_FLIGHT, 0)
    assert figures(board) == (*most, 0, 0, 0)
    held.end(tickets.pop(0), phase | 2)
    held.end(tickets.pop(), phase | 5 | ERROR)
    held.end(tickets.pop(), phase | CANCELLED)
    assert figures(board)[:4] == (max(most[0] - 1, 0), max(most[1] - 1, 0), 2, 1)
    assert 0 < board.read().busy_seconds[0] < MOST_IN_FLIGHT * (time.monotonic() - began)
    for ticket in tickets:
        held.end(ticket, phase | 2)
    assert figures(board) == (0, 0, MOST_IN_FLIGHT + 2, 1, 0)
    assert board.read().request_seconds.count == MOST_IN_FLIGHT + 2
    assert 0 < board.read().busy_seconds[0] < MOST_IN_FLIGHT * (time.monotonic() - began)


def test_one_that_began_outside(board, fork):
    """It stays outside, also when a slot is attached before it ends."""

    def child(link):
        ticket = request.begin_ticket("GET", "/")
        assert ticket % 64 == OUTSIDE
        assert attached.take_over(board, board.claim(), 1, 1)
        request.respond_ticket(ticket)
        request.end_ticket(ticket, 2)
        assert figures(board) == (0, 0, 0, 0, 0)

    fork(child).check()


NINE_YEARS = """
import time
from gunicorn_raindrops.counting.slots import BoardSlot
from gunicorn_raindrops.scoreboard.board import Scoreboard
board = Scoreboard(1)
claim = board.claim()
held = BoardSlot(board, claim, board.take_over_slot(claim))
earliest = time.monotonic_ns()
ticket = held.begin("GET", "/")
began = time.monotonic_ns()
assert began < 2**58, "began too late"
while time.monotonic_ns() < 2**58 + 10**7:
    time.sleep(0.01)
held.respond(ticket)
least = time.monotonic_ns() - began
held.end(ticket, 10)
took = board.read().request_seconds.max
assert least <= took * 1e9 + 10_000 <= time.monotonic_ns() - earliest + 20_000, took
second = held.begin("GET", "/")
assert second < ticket
held.end(second, 2)
assert board.read().requests == 2
print("went round")
"""


@pytest.mark.once
def test_nine_years_of_uptime():
    """A real clock that goes round 2**58 ns while a request is inside."""
    ahead = AROUND // 10**9 - time.monotonic_ns() // 10**9 - 5
    command = ["unshare", "--user", "--map-root-user", "--time", "--monotonic", str(ahead)]
    command = command if os.geteuid() else ["unshare", "--time", "--monotonic", str(ahead)]
    probe = [*command, "true"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("there are no time namespaces")
    for wait in (5, 12, 30):  # seconds for the interpreter to start in
        command[-1] = str(AROUND // 10**9 - time.monotonic_ns() // 10**9 - wait)
        run = subprocess.run(
            [*command, sys.executable, "-c", NINE_YEARS], capture_output=True, text=True, timeout=90
        )
        if "began too late" not in run.stderr:
            break
    assert run.stdout == "went round\n", run.stderr


def test_what_is_no_address(held, board):
    """NULL is refused; the rest is the caller's word."""
    with pytest.raises(ValueError, match="NULL"):
        _objects.attach(0, location_of(board.header), None)
    with pytest.raises(ValueError, match="NULL"):
        held._hold(location_of(board.header), 0, None)
