"""Looks at requests with a thread each: what readers get, what is logged, what is kept."""

import threading
import time

import pytest

from gunicorn_raindrops.counting import attached, request
from gunicorn_raindrops.looking import looker
from gunicorn_raindrops.looking.flight import Flight, Sight
from gunicorn_raindrops.looking.looker import Looker, SlowLooker
from gunicorn_raindrops.looking.threads import OfThread
from gunicorn_raindrops.scoreboard.board import Scoreboard

from ..bounds import WAIT


@pytest.fixture
def board():
    board = Scoreboard(2)
    assert attached.take_over(board, board.claim(), 1, 40)
    attached.ready()
    yield board
    attached.keep_slow(0)
    board.forget_file()


@pytest.fixture
def aged(monkeypatch):
    """A request is looked at from 50 ms on."""
    monkeypatch.setattr(looker, "AGE", 50_000_000)


class Requests:
    """Requests, each in a thread of its own that stands in `waiting`, until they are let go."""

    def __init__(self):
        self._ends = []

    def begin(self, path):
        begun, end = threading.Event(), threading.Event()

        def waiting():
            begun.set()
            end.wait()

        def run():
            request.begin("GET", path)
            waiting()
            request.END["2"]()

        thread = threading.Thread(target=run)
        thread.start()
        begun.wait()
        self._ends.append((end, thread))
        return end, thread

    def end(self):
        for end, thread in self._ends:
            end.set()
            thread.join()
        self._ends.clear()


@pytest.fixture
def requests():
    requests = Requests()
    yield requests
    requests.end()


class OfAge:
    """The slot, whose requests are as many seconds old as a test says, however long it takes."""

    seconds = 0.0

    def __getattr__(self, name):
        return getattr(attached, name)

    def flights(self, age):
        ns = round(self.seconds * looker.SECOND)
        return [(*one[:2], ns, *one[3:]) for one in attached.flights(0) if ns >= age]


def current(board):
    return board.read().rows[0].current


def until(predicate):
    deadline = time.monotonic() + WAIT
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_where(board, requests):
    """The line of a request that is old enough; gone with the request, and with its stacks."""
    kept, held = [], OfAge()
    looking = Looker(held, OfThread(), kept.append)
    assert looking.look() is None
    requests.begin("/x")
    held.seconds = 0.9
    assert looking.look() == looker.LEAST  # not at once, though it is old enough sooner
    assert (current(board).where, kept) == (None, [])
    held.seconds = 1.2
    looking.look()
    assert current(board).where.endswith("in waiting")
    assert kept[-1].startswith("'GET /x', 1.2 s after its begin:")
    assert 'test_looker.py", line' in kept[-1]
    requests.end()
    looking.look()
    looking.look()
    assert [text for text in kept if not text] == [""]
    request.begin("GET", "/y")
    assert current(board).where is None
    request.END["2"]()


def test_the_last_look(board, requests):
    """Keeps all that is in flight, however young, and nothing is kept after it."""
    kept = []
    looking = Looker(OfAge(), OfThread(), kept.append)
    requests.begin("/x")
    requests.begin("/y")
    looking.abort({})
    assert [line for line in kept[0].split("\n") if line.startswith("'")] == [
        "'GET /x', 0.0 s after its begin:",
        "'GET /y', 0.0 s after its begin:",
    ]
    requests.end()
    looking.look()
    assert len(kept) == 1


class Elsewhere:
    """Finds what it is told, and lets requests end meanwhile."""

    def __init__(self, meanwhile=lambda: None, others=()):
        self.meanwhile = meanwhile
        self.known = list(others)
        self.asked = []

    def find(self, flights, interrupted):
        self.asked.append([one.path for one in flights])
        self.meanwhile()
        return {one.ticket: Sight([("/app.py", 1, "f")]) for one in flights}

    def others(self):
        return self.known


def test_a_request_that_ends_meanwhile(board, requests, aged):
    """Its thread may be another request's by then: nothing is said of it."""
    kept = []
    requests.begin("/x")
    until(lambda: attached.flights(looker.AGE))
    Looker(attached, Elsewhere(requests.end), kept.append).look()
    assert "stack is not known" in kept[0]


def test_each_slow_one_once(board, requests, monkeypatch):
    """When it passes that age; and one that has ended before that, without a stack."""
    told, kept, held = [], [], OfAge()
    looking = SlowLooker(held, OfThread(), kept.append, slow=0.1, tell=told.append)
    monkeypatch.setattr(looker.time, "thread_time", lambda: 0.0)  # a look costs nothing
    assert looking.look() == 0.1
    requests.begin("/slow")
    held.seconds = 0.04
    assert looking.look() == pytest.approx(0.06)
    assert told == []
    held.seconds = 0.1
    looking.look()
    assert told[0].startswith("slow request 'GET /slow', 0.1 s after its begin:")
    assert "in waiting" in told[0]
    requests.begin("/unseen")
    until(lambda: len(attached.flights(100_000_000)) == 2)
    requests.end()
    looking.finish()
    looking.look()
    assert len(told) == 2
    assert told[1].startswith("slow request 'GET /unseen' took ")
    attached.keep_slow(3600 * looker.SECOND)
    requests.begin("/quick")
    requests.end()
    looking.look()
    assert len(told) == 2


def test_stacks_between_two_looks(board, requests, monkeypatch):
    """A look that comes for `slow` keeps those of what was looked at before, and adds its own. They
    go with the last of these requests."""
    monkeypatch.setattr(looker, "AGE", 100_000_000)
    kept = []
    looking = SlowLooker(attached, OfThread(), kept.append, slow=0.2, tell=lambda _: None)
    requests.begin("/old")
    until(lambda: attached.flights(200_000_000))
    looking.look()
    looking.look()
    assert [text.count("/old") for text in kept] == [1]
    requests.begin("/new")
    until(lambda: len(attached.flights(200_000_000)) == 2)
    looking.look()
    assert "/old" in kept[-1] and "/new" in kept[-1]
    requests.end()
    looking.look()
    assert kept[-1] == ""


def test_one_that_ends_while_it_is_looked_at(board, requests):
    """Is told of once, also where the worker ends as well."""
    told = []
    finder = Elsewhere(lambda: (requests.end(), looking.finish()))
    looking = SlowLooker(attached, finder, lambda _: None, slow=0.1, tell=told.append)
    requests.begin("/x")
    until(lambda: attached.flights(100_000_000))
    looking.look()
    looking.look()
    assert len(told) == 1


class EndsFetched:
    """A slot whose requests end just as those that have ended are fetched."""

    def __init__(self, end, *, before):
        self.end, self.before = end, before

    def __getattr__(self, name):
        return getattr(attached, name)

    def fetch_over(self):
        if self.before:
            self.end()
        found = attached.fetch_over()
        self.end()
        return found


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("was_told", [False, True])
def test_one_that_ends_between_two_steps(board, requests, before, was_told):
    """Is told of once, whether it was before or not."""
    told = []
    held = EndsFetched(lambda: None, before=before)
    looking = SlowLooker(held, OfThread(), lambda _: None, slow=0.1, tell=told.append)
    requests.begin("/x")
    until(lambda: attached.flights(100_000_000))
    if was_told:
        looking.look()
    held.end = requests.end
    looking.look()
    looking.look()
    assert len(told) == 1


def test_too_many_at_once(board):
    """Of those that have ended unseen, the last are told of, and how many there were."""
    told = []
    looking = SlowLooker(attached, OfThread(), lambda _: None, slow=1e-9, tell=told.append)
    for i in range(100):
        request.begin("GET", f"/{i}")
        request.END["2"]()
    looking.finish()
    assert len(told) == 65
    assert {f"/{i}" for i in range(36, 100)} == {line.split()[3].strip("'") for line in told[:-1]}
    assert told[-1].startswith("36 more")


def test_requests_without_an_entry(board):
    """Those beyond the scoreboard's room are told of by the finder, once as well."""
    told = []
    tickets = [attached.AttachedSlot.begin("GET", f"/{i}") for i in range(40)]
    others = [
        Flight.of_ticket(tickets[38], "G" * 8000, "/38" + "x" * 8000),
        Flight.of_ticket(tickets[39], "GET", "/39"),
    ]
    finder = Elsewhere(others=others)
    looking = SlowLooker(attached, finder, lambda _: None, slow=1e-9, tell=told.append)
    looking.look()
    assert sum("'GET /39'" in line for line in told) == 1
    assert len(told) == 34
    assert max(map(len, told)) < 300
    looking.look()
    assert len(told) == 34
    assert max(map(len, finder.asked)) == looker.MOST
    for ticket in tickets:
        attached.AttachedSlot.end(ticket, 2)
    looking.finish()
    assert sum("it was not looked at" in line for line in told) == 6  # nobody knew of these


def test_the_oldest_first(board, aged):
    """Where there are more than can be looked at."""
    tickets = [attached.AttachedSlot.begin("GET", f"/{i}") for i in range(3)]
    until(lambda: len(attached.flights(looker.AGE)) == 3)
    finder = Elsewhere()
    Looker(attached, finder, lambda _: None).look()
    assert finder.asked == [["/0", "/1", "/2"]]
    for ticket in tickets:
        attached.AttachedSlot.end(ticket, 2)


def test_not_shown(board, requests, aged):
    """With `current` off the arbiter gets stacks without method and path; `slow` tells both."""
    kept, told = [], []
    requests.begin("/x")
    until(lambda: attached.flights(100_000_000))
    Looker(attached, OfThread(), kept.append, shows=False).look()
    assert kept[0].startswith("a request, ")
    assert "/x" not in kept[0].replace(__file__, "")
    looking = SlowLooker(attached, OfThread(), kept.append, shows=False, slow=0.1, tell=told.append)
    looking.look()
    assert kept[1].startswith("a request, ")
    assert told[0].startswith("slow request 'GET /x', ")


def test_a_hostile_path(board, requests, aged):
    """Stands in a log in ASCII, in one line."""
    kept = []
    requests.begin("/\n\x1b[31m\u202e")
    until(lambda: attached.flights(looker.AGE))
    Looker(attached, OfThread(), kept.append).look()
    assert kept[0].split("\n")[0].startswith("'GET /\\n\\x1b[31m\\u202e', ")
