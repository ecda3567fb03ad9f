"""What a worker holds: its slot, which may come late, and the tasks that are due each second."""

import os
import threading

import pytest

from gunicorn_raindrops import Struct, WorkerGauge, sampler, settings
from gunicorn_raindrops.counting import attached
from gunicorn_raindrops.scoreboard import exits
from gunicorn_raindrops.scoreboard.app_counters import UserCounters
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.scoreboard.claims import Claims
from gunicorn_raindrops.snapshot import Arbiter
from gunicorn_raindrops.worker_side import Task, WorkerSide

from .bounds import WAIT

SETTINGS = settings.load({"bind": ""}, {})
ARBITER = Arbiter(os.getpid(), None, "0", "sync", 0.0)


@pytest.fixture
def board():
    board = Scoreboard(1)
    yield board
    board.forget_file()


@pytest.fixture
def own_snapshots(monkeypatch):
    """What a worker's status is taken from is forgotten after the test."""
    monkeypatch.setattr(sampler, "_of_this_process", [])


def counted(board):
    """Return the exits that are not 0."""
    return {cause: n for cause, n in board.read().exits.items() if n}


def side_of(board, claim=None, **parts):
    return WorkerSide(SETTINGS, 0.0, board=board, claim=claim, **parts)


# The slot.


def test_taking_over(fork, board):
    """The slot is this process's, with its age and capacity, and the scoreboard's descriptor is
    closed: a worker could shrink the file."""
    claim = board.claim()

    def work(link):
        assert side_of(board, claim).take_over(3, 9)
        (row,) = board.read().rows
        assert (row.pid, row.age, row.capacity) == (os.getpid(), 3, 9)
        assert board.fileno() == -1

    fork(work).check()


def test_claiming_itself(fork, board):
    """Where the arbiter claims no slots, a worker takes over a free one, or the next that gets
    free."""
    taken = board.claim()

    def work(link):
        side = side_of(board, claims_itself=True)
        assert not side.take_over(3, 9)
        side.seek()
        assert not any(row.age == 3 for row in board.read().rows)
        board.release(taken)
        side.seek()
        (row,) = board.read().rows
        assert (row.pid, row.age, row.capacity) == (os.getpid(), 3, 9)
        side.leave("graceful")
        assert counted(board) == {"graceful": 1}

    fork(work).check()


def test_without_a_scoreboard():
    """There is nothing to take over, to serve or to leave."""
    side = side_of(None)
    assert not side.take_over(1, 1)
    side.seek()
    assert side.serve(ARBITER, [], print) is None
    side.leave(exits.GRACEFUL)


class Stats(Struct):
    """The user's counters, one of them per worker."""

    queue: WorkerGauge


def test_a_slot_that_is_lost(fork, board):
    """Another has it by now: its figures and its user's gauges are not touched."""
    lost = board.claim()
    board.release(lost)
    stats = Stats()
    counters = UserCounters(stats, board.slots)

    def first(link):
        assert side_of(board, board.claim(), counters=counters).take_over(1, 1)
        stats.queue = 5
        link.say()
        link.hear()

    def late(link):
        assert not side_of(board, lost, counters=counters).take_over(2, 1)

    one = fork(first)
    assert one.link.hear()
    fork(late).check()
    reading = board.read()
    assert [row.age for row in reading.rows] == [1]
    assert [counter.value for counter in counters.read(reading.rows)] == [5]
    one.link.say()
    one.check()
    stats.close()


def test_a_slot_that_comes_late(fork, board):
    """A worker that had none finds what was claimed for it since, once, and says that it serves."""
    claims = Claims(board)
    claims.claim("first")
    claims.claim("second")

    def work(link):
        side = side_of(board, claims.take("second"))
        assert not side.take_over(2, 4)
        side.seek()
        link.say()
        link.hear()
        for _ in range(2):
            side.seek()
        (row,) = board.read().rows
        assert (row.pid, row.age, row.capacity) == (os.getpid(), 2, 4)
        assert board.leads(os.getpid())

    child = fork(work)
    assert child.link.hear()
    claims.release("first", (1, exits.TIMEOUT), {"second": child.pid}.get)
    child.link.say()
    child.check()


def test_one_that_got_its_slot_late_says_why_it_ends(fork, board):
    """Also where it has not looked for the slot since the arbiter claimed it."""
    claims = Claims(board)
    claims.claim("first")
    claims.claim("second")

    def work(link):
        side = side_of(board, claims.take("second"))
        assert not side.take_over(2, 1)
        link.say()
        link.hear()
        side.leave(exits.GRACEFUL)

    child = fork(work)
    assert child.link.hear()
    claims.release("first", (1, exits.TIMEOUT), {"second": child.pid}.get)
    child.link.say()
    child.check()
    claims.release("second", (child.pid, exits.KILLED), lambda worker: None)
    assert counted(board) == {exits.TIMEOUT: 1, exits.GRACEFUL: 1}


def test_one_without_a_slot_says_nothing_of_its_end(board):
    """There is nothing to count it in."""
    side = side_of(board)
    side.leave(exits.GRACEFUL)
    assert counted(board) == {}


# The tasks.


class Leading:
    """A scoreboard whose leader is, or is not, this process."""

    def __init__(self, leads):
        self.asked = 0
        self._leads = leads

    def leads(self, pid):
        assert pid == os.getpid()
        self.asked += 1
        if isinstance(self._leads, Exception):
            raise self._leads
        return self._leads


class Tasks:
    """A worker's side with tasks that write down what they do."""

    def __init__(self, leads=True):
        self.done = []
        self.warned = []
        self.board = Leading(leads)
        self.side = side_of(None)

    def add(self, name, error=None, **options):
        def do():
            self.done.append(name)
            if error is not None:
                raise error

        self.side.tasks.append(Task(name, do, **options))

    def each_second(self):
        """Do what is due; return what was done."""
        self.done.clear()
        self.side.each_second(self.board, self.warned.append)
        return list(self.done)


@pytest.mark.parametrize("leads", [True, False])
def test_who_does_what(leads):
    """Some tasks are every worker's, the others the leader's, who is asked for once."""
    tasks = Tasks(leads)
    tasks.add("every", leader_only=False)
    tasks.add("queue")
    tasks.add("statsd")
    assert tasks.each_second() == ["every", "queue", "statsd"][: 3 if leads else 1]
    assert (tasks.board.asked, tasks.warned) == (1, [])


@pytest.mark.parametrize("failing", ["first", "second", "third"])
def test_a_task_that_fails(failing):
    """It is warned of once and tried again; the others go on, in their order."""
    tasks = Tasks()
    names = ["first", "second", "third"]
    for name in names:
        tasks.add(name, LookupError("broken") if name == failing else None)
    assert tasks.each_second() == names
    for _ in range(2):
        assert tasks.each_second() == names
    assert tasks.warned == [f"{failing}, which is due each second, failed: LookupError: broken"]


def test_a_leader_that_cannot_be_told():
    """What is every worker's goes on."""
    tasks = Tasks(OSError("lost"))
    tasks.add("queue")
    tasks.add("every", leader_only=False)
    for _ in range(2):
        assert tasks.each_second() == ["every"]
    assert tasks.warned == ["queue, which is due each second, failed: OSError: lost"]


NAMES = ["showing its slot", "keeping the history", "reaping", "guarding the file"]


@pytest.mark.usefixtures("own_snapshots")
@pytest.mark.parametrize("has_slot", [True, False])
@pytest.mark.parametrize("push", [None, lambda take: None], ids=["alone", "statsd"])
def test_what_is_due_each_second(fork, board, has_slot, push):
    """statsd is one more task, and replaces none; a worker without a slot seeks one."""
    claim = board.claim() if has_slot else None

    def work(link):
        side = side_of(board, claim)
        assert side.take_over(1, 1) == has_slot
        assert side.serve(ARBITER, [], print, push) is not None
        names = [task.name for task in side.tasks]
        assert names == ["seeking a slot"] * (not has_slot) + NAMES + ["statsd"] * bool(push)
        everybodys = {task.name for task in side.tasks if not task.leader_only}
        assert everybodys - {"seeking a slot"} == {"showing its slot", "guarding the file"}

    fork(work).check()


@pytest.mark.usefixtures("own_snapshots")
def test_statsd_does_not_keep_the_queue_from_being_marked(fork, board, monkeypatch):
    """Also where statsd cannot be reached, and takes no snapshot."""
    claim = board.claim()

    def work(link):
        marked, pushed = threading.Event(), threading.Event()
        monkeypatch.setattr(sampler.Sampler, "queued", lambda sampler: marked.set() or 0)
        side = side_of(board, claim)
        assert side.take_over(1, 1)
        attached.ready()
        side.serve(ARBITER, [], print, lambda take: pushed.set())
        assert (marked.wait(WAIT), pushed.wait(WAIT)) == (True, True)

    fork(work).check()


@pytest.mark.usefixtures("own_snapshots")
def test_a_slot_that_readers_do_not_look_at(fork, board):
    """Somebody has scribbled on the number of slots that were ever used: a second later readers
    see the worker again, and it leads again."""
    claim = board.claim()

    def work(link):
        side = side_of(board, claim)
        assert side.take_over(1, 1)
        attached.ready()
        side.serve(ARBITER, [], print)
        board.header.used = 0
        assert board.read().rows == ()
        assert not board.leads(os.getpid())
        side.each_second(board, print)
        assert [row.pid for row in board.read().rows] == [os.getpid()]
        assert board.leads(os.getpid())

    fork(work).check()


@pytest.mark.usefixtures("own_snapshots")
def test_the_dead_are_reaped_each_second(fork):
    """By the leader, though no arbiter and no reader is there."""
    board = Scoreboard(2)
    claims = [board.claim(), board.claim()]

    def victim(link):
        assert side_of(board, claims[1]).take_over(2, 1)

    def leader(link):
        side = side_of(board, claims[0])
        assert side.take_over(1, 1)
        attached.ready()
        side.serve(ARBITER, [], print)
        link.say()
        link.hear()
        side.each_second(board, print)
        assert board.claim() is None  # the arbiter has a turn to free it
        side.each_second(board, print)
        assert board.claim().slot == claims[1].slot  # free again

    one = fork(leader)
    assert one.link.hear()
    fork(victim).check()
    one.link.say()
    one.check()
    board.forget_file()
