"""The scoreboard: slots among real processes, and what stands in them after violence."""

import os
import random
import signal
import struct
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gunicorn_raindrops import Raindrops
from gunicorn_raindrops._native._scoreboard import ffi, lib
from gunicorn_raindrops.counting import attached, request
from gunicorn_raindrops.scoreboard import board as scoreboard
from gunicorn_raindrops.scoreboard import exits
from gunicorn_raindrops.scoreboard.board import Claim, Scoreboard
from gunicorn_raindrops.scoreboard.layout import HEADER_SIZE

from ..bounds import WAIT
from .conftest import ACTIONS, SLOT, figures, killed, linux, tell, timeless, work

GENERATION = 1 << lib.GRD_GENERATION_SHIFT
CALLING = 1 << lib.GRD_GAUGE_BITS
MAX = 2**64 - 1


# Slots.


def test_a_new_one_is_empty(board):
    """All slots are free, all figures 0."""
    reading = board.read()
    assert (reading.slots, reading.rows, reading.untracked) == (4, (), 0)
    assert figures(board) == (0, 0, 0, (0, 0, 0, 0, 0), 0)


def test_claims_are_distinct(board):
    """Each slot is given once; without a free one there is no claim; a freed one is given again."""
    claims = [board.claim() for _ in range(4)]
    assert [claim.slot for claim in claims] == [0, 1, 2, 3]
    assert board.claim() is None
    board.release(claims[2])
    assert board.claim().slot == 2
    assert board.claim() is None


def test_a_slot_through_life(board, worker):
    """Claimed by the arbiter, taken over by the worker, ready, finishing, free."""
    claim = board.claim()
    (row,) = board.read().rows
    assert (row.slot, row.pid, row.state) == (claim.slot, os.getpid(), scoreboard.CLAIMED)
    before = time.monotonic()
    child = worker(claim, age=17, capacity=4)
    (row,) = board.read().rows
    assert (row.slot, row.pid, row.state) == (claim.slot, child.pid, scoreboard.STARTING)
    assert (row.age, row.capacity, row.requests) == (17, 4, 0)
    assert before <= row.started <= time.monotonic()
    tell(child, "ready")
    assert board.read().rows[0].state == scoreboard.READY
    tell(child, "finishing")
    assert board.read().rows[0].state == scoreboard.FINISHING
    child.link.close()
    child.wait()
    board.release(claim)
    assert board.read().rows == ()


# Requests.


def test_a_request(board, worker):
    """It is calling, then writing, then counted; what was not begun is not ended."""
    child = worker()
    for step, expected in [
        ("begin", (1, 0, 0, (0, 0, 0, 0, 0), 0)),
        ("respond", (0, 1, 0, (0, 0, 0, 0, 0), 0)),
        ("respond", (0, 1, 0, (0, 0, 0, 0, 0), 0)),
        ("end 2", (0, 0, 1, (0, 1, 0, 0, 0), 0)),
        ("end 2", (0, 0, 1, (0, 1, 0, 0, 0), 0)),
        ("respond", (0, 0, 1, (0, 1, 0, 0, 0), 0)),
        ("fail", (0, 0, 1, (0, 1, 0, 0, 0), 0)),
        ("other", (0, 0, 1, (0, 1, 0, 0, 0), 0)),
        ("cancel", (0, 0, 1, (0, 1, 0, 0, 0), 0)),
    ]:
        tell(child, step)
        assert figures(board) == expected, step


@pytest.mark.parametrize("kind", "12345")
@pytest.mark.parametrize("responded", [True, False])
def test_each_class_of_responses(board, worker, kind, responded):
    """A request ends in its class, whether it had come to writing or not."""
    child = worker()
    tell(child, "begin", *(["respond"] if responded else []), f"end {kind}")
    responses = tuple(int(one == kind) for one in "12345")
    assert figures(board) == (0, 0, 1, responses, 0)


def test_special_ends(board, worker):
    """An error is counted beside the response; other statuses without a class; a cancelled
    request not at all; one begun over another takes its place."""
    child = worker()
    tell(child, "begin", "fail", "end 5")
    assert figures(board) == (0, 0, 1, (0, 0, 0, 0, 1), 1)
    tell(child, "begin", "respond", "other")
    assert figures(board) == (0, 0, 2, (0, 0, 0, 0, 1), 1)
    tell(child, "begin", "cancel")
    assert figures(board) == (0, 0, 2, (0, 0, 0, 0, 1), 1)
    tell(child, "begin", "respond", "cancel")
    assert figures(board) == (0, 0, 2, (0, 0, 0, 0, 1), 1)
    tell(child, "begin", "begin")
    assert figures(board) == (1, 0, 2, (0, 0, 0, 0, 1), 1)
    tell(child, "respond", "begin")
    assert figures(board) == (1, 0, 2, (0, 0, 0, 0, 1), 1)
    tell(child, "end 2", "end 2")
    assert figures(board) == (0, 0, 3, (0, 1, 0, 0, 1), 1)


def test_exact_totals(board, fork):
    """Four workers of four threads lose not one of 320,000 requests."""
    times = 20_000

    def thread():
        for i in range(times):
            request.begin()
            if i % 4:
                request.respond()
            if i % 10 == 0:
                request.fail()
            request.END["12345"[i % 5]]()

    def process(link, claim):
        assert attached.take_over(board, claim, 1, 4)
        link.hear()
        threads = [threading.Thread(target=thread) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        link.say()
        link.hear()

    children = [fork(process, board.claim()) for _ in range(4)]
    for child in children:
        child.link.say()
    for child in children:
        assert child.link.hear()
    total = 16 * times
    assert figures(board) == (0, 0, total, (total // 5,) * 5, total // 10)
    assert [row.requests for row in board.read().rows] == [total // 4] * 4
    for child in children:
        child.link.close()
        child.check()
    assert figures(board) == (0, 0, total, (total // 5,) * 5, total // 10)


def test_gauges_of_threads(board, fork):
    """Each thread's request counts for itself."""

    def process(link, claim):
        attached.take_over(board, claim, 1, 8)
        barrier = threading.Barrier(9)

        def thread(me):
            request.begin()
            if me < 3:
                request.respond()
            barrier.wait(WAIT)
            barrier.wait(WAIT)
            request.END["2"]()
            barrier.wait(WAIT)

        threads = [threading.Thread(target=thread, args=(me,)) for me in range(8)]
        for one in threads:
            one.start()
        for _ in range(2):
            barrier.wait(WAIT)
            link.say()
            link.hear()
        barrier.wait(WAIT)
        link.say()
        for one in threads:
            one.join(WAIT)
        link.hear()

    child = fork(process, board.claim())
    child.link.hear()
    assert figures(board) == (5, 3, 0, (0, 0, 0, 0, 0), 0)
    child.link.say()
    child.link.hear()
    child.link.say()
    child.link.hear()
    assert figures(board) == (0, 0, 8, (0, 8, 0, 0, 0), 0)


def test_children_of_a_worker_count_nowhere(board, fork):
    """What the application forks does not end, begin or count its parent's requests."""

    def process(link, claim):
        attached.take_over(board, claim, 1, 1)
        request.begin()
        pid = os.fork()
        if not pid:
            for act in ACTIONS.values():
                act()
            request.begin()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        link.say()
        link.hear()

    child = fork(process, board.claim())
    child.link.hear()
    assert figures(board) == (1, 0, 0, (0, 0, 0, 0, 0), 0)
    assert board.read().rows[0].state == scoreboard.STARTING


def test_without_a_slot(board, fork):
    """A process that took none can do all that a worker does, and counts nowhere."""

    def process(link):
        for act in ACTIONS.values():
            act()

    fork(process).check()
    assert figures(board) == (0, 0, 0, (0, 0, 0, 0, 0), 0)


# Violence.


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGABRT, signal.SIGTERM])
@pytest.mark.parametrize("phase", [["begin"], ["begin", "respond"]])
def test_a_killed_worker(board, worker, sig, phase):
    """Its requests in flight leave the gauges before it is even reaped; its totals stay."""
    child = worker()
    tell(child, "ready", "begin", "end 2", *phase)
    assert sum(figures(board)[:2]) == 1
    child.kill(sig)
    child.die()
    assert figures(board) == (0, 0, 1, (0, 1, 0, 0, 0), 0)
    assert board.read().rows == ()
    assert child.wait() == -sig
    assert figures(board) == (0, 0, 1, (0, 1, 0, 0, 0), 0)


def test_release_zeroes_the_gauges(board, worker, pages):
    """The arbiter need not read: releasing alone takes the requests out."""
    claim = board.claim()
    child = worker(claim)
    tell(child, "begin")
    killed(child)
    board.release(claim)
    assert pages.get(0, "owner") % GENERATION == 0
    assert figures(board) == (0, 0, 0, (0, 0, 0, 0, 0), 0)


def test_the_next_owner_starts_afresh(board, worker):
    """Its own requests begin at 0, the slot's totals go on."""
    first = worker()
    tell(first, "begin", "end 2", "begin", "end 4", "begin")
    killed(first)
    board.reap()
    claim = board.claim()
    assert claim.slot == 0
    second = worker(claim)
    assert board.read().rows[0].requests == 0
    tell(second, "begin", "end 2", "begin")
    (row,) = board.read().rows
    assert (row.pid, row.requests, row.calling) == (second.pid, 1, 1)
    assert figures(board) == (1, 0, 3, (0, 2, 0, 1, 0), 0)


def test_releasing_twice_and_late(board, worker):
    """A second release, or one that comes when the slot is another's, does no harm."""
    old = board.claim()
    first = worker(old)
    killed(first)
    board.release(old)
    board.release(old)
    new = board.claim()
    assert new.slot == old.slot
    board.release(old)
    second = worker(new)
    tell(second, "begin")
    board.release(old)
    assert figures(board)[0] == 1
    assert board.read().rows[0].pid == second.pid


def test_freeing_a_slot_of_another_meanwhile(board, worker):
    """A reader that saw a dead owner does not free the slot of the one who has it since."""
    old = board.claim()
    first = worker(old)
    seen = lib.grd_owner(board._slots)
    killed(first)
    board.release(old)
    second = worker()
    tell(second, "begin")
    assert not lib.grd_free(board._header, board._slots, seen)
    assert figures(board)[0] == 1


def test_taking_too_late(board, worker, fork):
    """A worker whose claim was freed takes nothing, and leaves whoever has the slot now alone."""
    late = board.claim()
    board.release(late)
    fresh = board.claim()
    assert fresh.slot == late.slot
    owner = worker(fresh, age=7, capacity=3)
    tell(owner, "ready", "begin", "end 2", "begin")
    before = timeless(board.read().rows)
    child = fork(lambda link: work(link, board, late, age=99, capacity=99))
    assert child.link.hear() == b"refused"
    assert timeless(board.read().rows) == before
    tell(child, "ready", "begin", "end 5", "begin")
    assert timeless(board.read().rows) == before
    assert figures(board) == (1, 0, 1, (0, 1, 0, 0, 0), 0)


def test_a_dead_arbiters_claims(board, fork):
    """What it claimed and never gave to a worker is freed."""

    def claim(link):
        assert [board.claim().slot for _ in range(4)] == [0, 1, 2, 3]

    child = fork(claim)
    child.die()
    board.reap()
    assert [board.claim().slot for _ in range(4)] == [0, 1, 2, 3]
    child.check()


def test_the_leader_leaves_the_arbiter_its_time(board, worker, pages):
    """It frees the slot of a dead worker at its second look: the arbiter, which reaps the worker
    meanwhile, still finds what that was in."""
    claim = board.claim()
    child = worker(claim)
    tell(child, "ready", "begin")
    killed(child)
    board.reap_abandoned()
    record = board.record_kill(claim, child.pid, exits.KILLED)
    assert record is not None and record.in_flight == 1
    assert figures(board)[0] == 0
    board.reap_abandoned()
    assert pages.get(0, "owner") % GENERATION == 0


@linux
@pytest.mark.parametrize("state", ["ready", "finishing"])
def test_a_reused_pid(board, worker, pages, state):
    """A process that started at another time than the owner is not the owner."""
    child = worker()
    tell(child, state, "begin")
    start = pages.get(0, "start")
    # another start with the same 15 bits that the owner's word has
    pages.set(0, "start", start + (1 << lib.GRD_TAG_BITS))
    assert figures(board)[0] == 0
    assert board.read().rows == ()
    pages.set(0, "start", start)
    assert figures(board)[0] == 1, "a reader frees nothing"
    pages.set(0, "start", start + (1 << lib.GRD_TAG_BITS))
    board.reap()
    pages.set(0, "start", start)
    assert board.read().rows == (), "it was freed for good"


@linux
def test_a_reused_pid_while_claimed(board, pages):
    """While a slot is claimed its start is the last owner's: the tag in the word decides."""
    claim = board.claim()
    pages.set(0, "start", 1)
    assert len(board.read().rows) == 1
    pages.set(0, "owner", claim.owner ^ (1 << 25))  # the tag's lowest bit
    assert board.read().rows == ()


def test_a_gauge_of_an_older_generation(board, worker, pages):
    """It was left by an owner that is dead: it reads as zero."""
    child = worker()
    tell(child, "begin")
    gauge = pages.get(0, "gauge")
    assert gauge % GENERATION == CALLING
    for older in (-1, 1, 5):
        pages.set(0, "gauge", (gauge + older * GENERATION) % 2**64)
        assert figures(board)[:2] == (0, 0)
    pages.set(0, "gauge", gauge)
    assert figures(board)[:2] == (1, 0)


def test_generations_go_round(board, pages, worker):
    """After 2**24 owners the count begins again, and the slot works as ever."""
    pages.set(0, "owner", MAX - (GENERATION - 1))
    pages.set(0, "gauge", MAX - (GENERATION - 1) + CALLING)
    claim = board.claim()
    assert claim.owner < GENERATION
    child = worker(claim)
    tell(child, "begin", "respond")
    assert figures(board)[:2] == (0, 1)
    board.release(claim)
    assert figures(board)[:2] == (0, 0)


def test_two_arbiters_never_get_one_slot(fork):
    """Four that claim at once get all slots, each once."""
    board = Scoreboard(512)

    def claim(link):
        link.hear()
        mine = [board.claim().slot for _ in range(128)]
        link.say(",".join(map(str, mine)).encode())
        link.hear()

    children = [fork(claim) for _ in range(4)]
    for child in children:
        child.link.say()
    slots = [int(slot) for child in children for slot in child.link.hear().split(b",")]
    assert sorted(slots) == list(range(512))
    assert board.claim() is None
    board.forget_file()


def test_claiming_and_releasing_in_a_crowd(fork):
    """At no time do two hold one slot, however fast it changes hands, reclaimers among them."""
    board = Scoreboard(3)
    with Raindrops(3) as held:

        def churn(link):
            link.hear()
            got = 0
            while got < 3_000:
                claim = board.claim()
                if claim is None:
                    continue
                got += 1
                assert held.incr(claim.slot) == 1
                if got % 100 == 0:
                    board.reap()
                assert held.decr(claim.slot) == 0
                board.release(claim)
                if got % 7 == 0:
                    board.release(claim)

        children = [fork(churn) for _ in range(4)]
        for child in children:
            child.link.say()
        for child in children:
            child.check()
    assert board.read().rows == ()
    board.forget_file()


def test_one_slot_among_many(fork):
    """The claim itself, in a tight loop on a single slot: whoever gets it has it alone."""
    board = Scoreboard(1)
    with Raindrops(1) as held:

        def churn(link):
            me = ffi.new("struct grd_owner *")
            me.who = lib.grd_who(os.getpid(), 1)
            incr, decr = held.incr, held.decr
            link.hear()
            for _ in range(100_000):
                if lib.grd_claim(board._header, board._slots, 1, me) == 0:
                    assert incr(0) == 1
                    owner = lib.grd_owner(board._slots)
                    assert decr(0) == 0
                    lib.grd_free(board._header, board._slots, owner)

        children = [fork(churn) for _ in range(3)]
        for child in children:
            child.link.say()
        for child in children:
            child.check()
    board.forget_file()


@pytest.mark.once
def test_a_storm(fork):
    """Workers killed at any moment: no total ever goes back, and in the end no gauge is left."""
    board = Scoreboard(4)
    rng = random.Random(1)

    def serve(link, claim):
        assert attached.take_over(board, claim, 1, 2)
        attached.ready()
        link.say()

        def thread():
            while True:
                request.begin()
                request.respond()
                request.END["2"]()

        threading.Thread(target=thread, daemon=True).start()
        thread()

    alive = []
    last = (0, 0, 0)
    for _ in range(25):
        while len(alive) < 4:
            claim = board.claim()
            alive.append((fork(serve, claim), claim))
            assert alive[-1][0].link.hear()
        child, claim = alive.pop(rng.randrange(4))
        child.kill()
        for _ in range(20):
            calling, writing, requests, responses, errors = figures(board)
            assert calling + writing <= 8
            assert (requests, responses[1], errors) >= last
            last = (requests, responses[1], errors)
        child.wait()
        if rng.random() < 0.5:
            board.release(claim)
        else:
            board.reap()
    for child, _ in alive:
        killed(child)
    calling, writing, requests, responses, errors = figures(board)
    assert (calling, writing, errors) == (0, 0, 0)
    # A kill between the two additions of one end leaves at most one of them undone.
    assert 0 <= responses[1] - requests <= 2 * 44
    assert requests > 0
    assert board.read().rows == ()
    board.forget_file()


# Hostile pages.


def test_pid_0_is_nobody(board, pages):
    """No process has pid 0: a slot with it is freed, and does not stay taken for ever."""
    board.release(board.claim())
    pages.set(0, "owner", GENERATION | scoreboard.READY << lib.GRD_PID_BITS)
    pages.set(0, "namespace", GENERATION | lib.grd_pid_namespace())
    assert board.read().rows == ()
    board.reap()
    assert [board.claim().slot for _ in range(4)] == [0, 1, 2, 3]


OWNERS = st.builds(
    lambda pid, state, tag, generation: (
        pid | state << lib.GRD_PID_BITS | tag << 25 | generation << lib.GRD_GENERATION_SHIFT
    ),
    st.sampled_from([0, 1, 2, os.getpid(), 2**22 - 1]) | st.integers(0, 2**22 - 1),
    st.integers(0, 7),
    st.integers(0, 2**15 - 1),
    st.integers(0, 2**24 - 1),
)
WORDS = OWNERS | st.integers(0, MAX) | st.sampled_from([0, MAX, 1 << 63])
LINES = st.lists(WORDS, min_size=32, max_size=32).map(lambda words: struct.pack("=32Q", *words))
RESTS = st.integers(0, 2**32).map(lambda seed: random.Random(seed).randbytes(SLOT - 256))
SLOTS = st.tuples(LINES, RESTS | st.just(bytes(SLOT - 256))).map(b"".join)
HEADERS = st.integers(0, 2**32).map(lambda seed: random.Random(seed).randbytes(HEADER_SIZE))
SCRIBBLES = st.lists(SLOTS, min_size=4, max_size=4).map(b"".join)


@pytest.mark.once
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(scribble=SCRIBBLES, header=HEADERS, slot=st.integers(0, 3))
def test_scribbled_pages(board, pages, scribble, header, slot):
    """Whatever stands there: reading gives figures, claiming a free slot or none, releasing and
    reclaiming raise nothing."""
    pages.scribble(HEADER_SIZE, scribble)
    pages.scribble(0, header)
    reading = board.read()
    assert reading.slots == 4
    assert len(reading.rows) <= 4
    for row in reading.rows:
        assert 0 <= row.calling < CALLING
        assert 0 <= row.writing < CALLING
    pages.scribble(HEADER_SIZE, scribble)
    for cause in exits.CAUSES:
        board.record_kill(Claim(slot, pages.get(slot, "owner")), 1, cause)
    board.release(Claim(slot, pages.get(slot, "owner")))
    board.release(Claim(slot, 0))
    board.add_untracked(1)
    board.add_untracked(-1)
    claim = board.claim()
    assert claim is None or 0 <= claim.slot < 4
    if claim is not None:
        pages.scribble(HEADER_SIZE, scribble)
        board.release(claim)
    board.reap()


@pytest.mark.once
def test_scribbled_while_read(board, pages, fork):
    """Also while somebody goes on scribbling."""

    def scribble(link):
        rng = random.Random(2)
        link.say()
        while True:
            pages.scribble(HEADER_SIZE, rng.randbytes(4 * SLOT))

    child = fork(scribble)
    child.link.hear()
    for _ in range(2_000):
        board.read()
        claim = board.claim()
        if claim is not None:
            board.release(claim)
    killed(child)


# The rest.


@linux
def test_the_memory_has_a_name(board):
    """It can be found among a process's descriptors, is not inherited, and cannot be shrunk."""
    assert "memfd:gunicorn-raindrops" in str(Path(f"/proc/self/fd/{board.fileno()}").readlink())
    assert not os.get_inheritable(board.fileno())
    with pytest.raises(PermissionError):
        os.ftruncate(board.fileno(), 0)


def test_without_the_descriptor(board, worker):
    """A worker lets it go, and counts and reads on."""
    child = worker()
    fd = board.fileno()
    board.forget_file()
    board.forget_file()
    with pytest.raises(OSError):
        os.fstat(fd)
    tell(child, "begin")
    assert figures(board)[0] == 1


def test_untracked(board):
    """Workers beyond the last slot are counted, and no more."""
    board.add_untracked(1)
    board.add_untracked(1)
    board.add_untracked(-1)
    assert board.read().untracked == 1
    assert board.read().rows == ()


def test_readers_in_threads(board, worker, fork):
    """Several threads of one process may read at once."""
    child = worker()
    tell(child, "begin", "end 2", "begin")

    def read(link):
        wrong = []

        def thread():
            for _ in range(300):
                if figures(board) != (1, 0, 1, (0, 1, 0, 0, 0), 0):
                    wrong.append(1)

        threads = [threading.Thread(target=thread) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert not wrong

    fork(read).check()


@linux
def test_process_start(fork):
    """It is field 22 of /proc/PID/stat, whatever the process is called; -1 for no process."""

    def rename(link):
        for name in (b"a) Z 1 (", b") R 1 2 3", b"((((", b" ", b"x\ny"):
            Path("/proc/self/comm").write_bytes(name)
            link.say()
            link.hear()

    child = fork(rename)
    starts = set()
    for _ in range(5):
        child.link.hear()
        starts.add(lib.grd_process_start(child.pid))
        child.link.say()
    stat = Path(f"/proc/{child.pid}/stat").read_text()
    assert starts == {int(stat.rpartition(")")[2].split()[19])}
    child.die()
    assert lib.grd_process_start(child.pid) == -1, "a zombie runs nothing"
    child.check()
    assert lib.grd_process_start(child.pid) == -1


def test_no_leak(tmp_path):
    """Boards that come and go leave neither descriptor (see the fixture) nor mapping."""

    def mapped():
        maps = Path("/proc/self/maps").read_text()
        return maps.count("memfd:gunicorn-raindrops") + maps.count(str(tmp_path))

    before = mapped()
    for i in range(300):
        board = Scoreboard(4, str(tmp_path / "board") if i % 2 else None)
        board.claim()
        board.read()
        board.forget_file()
        del board
    assert mapped() == before


# Websockets.


def hold_websockets(link, board, claim, number):
    assert attached.take_over(board, claim, 1, 1)
    held = attached.AttachedSlot()
    for _ in range(number):
        held.open()
    held.close()
    link.say()
    link.hear()


def test_websockets_are_reclaimed_with_their_owner(board, fork):
    """A worker's open websockets are its row's; when it is killed they are out of the gauge, and
    whoever has the slot next begins with none."""
    child = fork(hold_websockets, board, board.claim(), 4)
    child.link.hear()
    assert [(row.websockets, row.calling, row.writing) for row in board.read().rows] == [(3, 0, 0)]
    child.kill()
    child.wait()
    assert board.read().rows == ()
    board.reap()
    claim = board.claim()
    assert claim.slot == 0
    assert [row.websockets for row in board.read().rows] == [0]
    other = fork(hold_websockets, board, claim, 1)
    other.link.hear()
    assert [row.websockets for row in board.read().rows] == [0]
    other.link.say()
    other.check()


def count_from_a_child(link, board, claim, fork):
    assert attached.take_over(board, claim, 1, 1)
    held = attached.AttachedSlot()
    held.open()

    def child(link):
        held.open()
        held.close()
        held.close()
        held.begin("GET", "/")  # it has no slot: all of it counts nowhere

    fork(child).check()
    (row,) = board.read().rows
    assert (row.websockets, row.calling) == (1, 0)
    held.close()
    assert board.read().rows[0].websockets == 0


def test_a_child_of_a_worker_closes_no_websocket(board, fork):
    """What a fork copies is nobody's in the child."""
    fork(count_from_a_child, board, board.claim(), fork).check()


def test_capacity_can_be_told_later(board, fork):
    """Where it is known only once the application is loaded."""

    def child(link):
        assert attached.take_over(board, claim, 1, 1)
        attached.set_capacity(7)
        assert [row.capacity for row in board.read().rows] == [7]

    claim = board.claim()
    fork(child).check()
