"""Raindrops: counters in shared memory, among real processes and threads."""

import contextlib
import copy
import math
import mmap
import os
import pickle
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gunicorn_raindrops import Raindrops

from .bounds import WAIT
from .conftest import descriptors

linux = pytest.mark.skipif(sys.platform != "linux", reason="memfd and /proc are Linux's")

MAX = 2**64 - 1
A_PAGE = Raindrops.PAGE_SIZE // Raindrops.SIZE  # counters


@pytest.fixture
def rd():
    with Raindrops(4) as rd:
        yield rd


def stored(path, count):
    """Return what stands in a file, a counter a line, in the machine's byte order."""
    content = Path(path).read_bytes()
    return [struct.unpack_from("=Q", content, i * Raindrops.SIZE)[0] for i in range(count)]


def store(path, values):
    """Write a file as Raindrops does."""
    pages = math.ceil(len(values) / A_PAGE)
    content = bytearray(pages * Raindrops.PAGE_SIZE)
    for i, value in enumerate(values):
        struct.pack_into("=Q", content, i * Raindrops.SIZE, value)
    Path(path).write_bytes(content)


class Evil:
    """An integer that does something when it is asked for its value."""

    def __init__(self, action, value=1):
        self.action = action
        self.value = value

    def __index__(self):
        self.action()
        return self.value


# One process.


def test_a_new_one_is_zero(rd):
    """Every counter begins at 0."""
    assert list(rd) == [0, 0, 0, 0]
    assert len(rd) == rd.size == 4


def test_incr_and_decr_return_the_new_value(rd):
    """By one unless told otherwise, by position or keyword; the neighbours stay."""
    assert rd.incr(1) == 1
    assert rd.incr(1, 9) == 10
    assert rd.incr(1, n=2) == 12
    assert rd.incr(i=1) == 13
    assert rd.decr(1) == 12
    assert rd.decr(1, 2) == 10
    assert rd.decr(1, n=0) == 10
    assert rd.decr(i=1) == 9
    assert list(rd) == [0, 9, 0, 0]


def test_modulo_2_to_the_64(rd):
    """A counter goes round in both directions."""
    assert rd.decr(0) == MAX
    assert rd.incr(0) == 0
    rd[1] = MAX
    assert rd.incr(1, MAX) == MAX - 1
    assert rd.decr(1, MAX) == MAX
    assert rd.incr(2, MAX) == MAX
    assert rd.incr(2) == 0


def test_items(rd):
    """A counter can be set to anything from 0 to 2**64-1, and read back."""
    for value in (1, 2**32, 2**63, MAX, 0):
        rd[2] = value
        assert rd[2] == value
    assert list(rd) == [0, 0, 0, 0]


def test_integers_of_other_kinds(rd):
    """What is an integer to Python is one here: bool, and whatever has __index__."""
    rd[True] = Evil(lambda: None, 7)
    assert rd[Evil(lambda: None, 1)] == 7
    assert rd.incr(True, True) == 8
    assert list(rd) == [0, 8, 0, 0]


USES = {
    "get": lambda rd, i: rd[i],
    "set": lambda rd, i: rd.__setitem__(i, 1),
    "incr": lambda rd, i: rd.incr(i),
    "incr by": lambda rd, i: rd.incr(i, 5),
    "decr": lambda rd, i: rd.decr(i),
    "decr by": lambda rd, i: rd.decr(i, 5),
}
uses = pytest.mark.parametrize("use", USES.values(), ids=USES)


@uses
@pytest.mark.parametrize("i", [-1, -4, 4, A_PAGE, 2**31, 2**32, 2**63, 2**64, -(2**64)])
def test_index_outside(rd, use, i):
    """An index outside 0..size-1 is IndexError, negative ones too, also within the page."""
    with pytest.raises(IndexError):
        use(rd, i)
    assert list(rd) == [0, 0, 0, 0]


@uses
@pytest.mark.parametrize("i", [None, 1.0, "1", b"1", [1], slice(0, 1), 1j])
def test_index_of_a_wrong_type(rd, use, i):
    """It is TypeError."""
    with pytest.raises(TypeError):
        use(rd, i)


VALUES = {
    "set": lambda rd, value: rd.__setitem__(0, value),
    "incr": lambda rd, value: rd.incr(0, value),
    "decr": lambda rd, value: rd.decr(0, value),
}
values = pytest.mark.parametrize("use", VALUES.values(), ids=VALUES)


@values
@pytest.mark.parametrize("value", [-1, MAX + 1, 2**65, -(2**64)])
def test_value_outside(rd, use, value):
    """A value outside 0..2**64-1 is OverflowError, and changes nothing."""
    with pytest.raises(OverflowError):
        use(rd, value)
    assert rd[0] == 0


@values
@pytest.mark.parametrize("value", [None, 1.0, "1", b"1", [1], 1j])
def test_value_of_a_wrong_type(rd, use, value):
    """It is TypeError, also what equals an integer."""
    with pytest.raises(TypeError):
        use(rd, value)
    assert rd[0] == 0


def test_more_than_the_machine_has():
    """It is refused before the kernel hands out page after page for it."""
    pages = os.sysconf("SC_PHYS_PAGES")
    with pytest.raises(OSError, match="more than this machine's memory"):
        Raindrops((pages + 1) * Raindrops.PAGE_SIZE // Raindrops.SIZE)
    with Raindrops(1) as rd:
        with pytest.raises(OSError, match="more than this machine's memory"):
            rd.size = (pages + 1) * Raindrops.PAGE_SIZE // Raindrops.SIZE
        assert rd.size == 1


@pytest.mark.parametrize("size", [0, -1, -(2**70), sys.maxsize, 2**63, 2**64, 2**70])
def test_size_outside(size):
    """A size under 1, or one that no memory can hold, is ValueError, now and when it is set."""
    with pytest.raises(ValueError, match="size"):
        Raindrops(size)
    with Raindrops(1) as rd:
        with pytest.raises(ValueError, match="size"):
            rd.size = size
        assert rd.size == 1


@pytest.mark.parametrize("size", [None, 1.0, "1", [1]])
def test_size_of_a_wrong_type(size):
    """It is TypeError, now and when it is set."""
    with pytest.raises(TypeError):
        Raindrops(size)
    with Raindrops(1) as rd:
        with pytest.raises(TypeError):
            rd.size = size
        assert rd.size == 1


def test_options_are_keywords():
    """Only the size goes by position."""
    with pytest.raises(TypeError):
        Raindrops(1, None)


def test_constants():
    """SIZE is a cache line, PAGE_SIZE the machine's, MAX the largest value."""
    assert Raindrops.SIZE >= 64
    assert Raindrops.SIZE & (Raindrops.SIZE - 1) == 0
    assert Raindrops.PAGE_SIZE == mmap.PAGESIZE
    assert Raindrops.MAX == MAX


@pytest.mark.parametrize("size", [1, A_PAGE - 1, A_PAGE, A_PAGE + 1, 3 * A_PAGE, 1000])
def test_capacity_is_whole_pages(size):
    """Counters are a line apart, and what is mapped are whole pages, no more than needed."""
    with Raindrops(size) as rd:
        pages = math.ceil(size / A_PAGE)
        assert rd.capacity == pages * A_PAGE
        assert os.fstat(rd.fileno()).st_size == pages * Raindrops.PAGE_SIZE


# Growing and shrinking.


def test_size_within_capacity(rd):
    """It is set at once; smaller hides counters, and larger again shows them as they were."""
    rd.size = A_PAGE
    rd[A_PAGE - 1] = 7
    assert rd.incr(A_PAGE - 1) == 8
    rd.size = 2
    assert list(rd) == [0, 0]
    for use in USES.values():
        with pytest.raises(IndexError):
            use(rd, A_PAGE - 1)
    rd.size = A_PAGE
    assert rd[A_PAGE - 1] == 8


def test_growth_keeps_the_values(rd):
    """Beyond the capacity the mapping grows; what was counted stays, and new ones are 0."""
    rd[0], rd[3] = 5, MAX
    rd.size = 3 * A_PAGE + 1
    assert rd.capacity == 4 * A_PAGE
    assert list(rd) == [5, 0, 0, MAX] + [0] * (3 * A_PAGE + 1 - 4)
    assert rd.incr(3 * A_PAGE) == 1
    rd.size = 4
    assert list(rd) == [5, 0, 0, MAX]


def test_growth_keeps_what_was_looked_up_before(rd):
    """An update that was used before a growth counts in the same place after it."""
    incr, decr, get = rd.incr, rd.decr, rd.__getitem__
    assert (incr(1), incr(1), decr(1), get(1)) == (1, 2, 1, 1)
    for size in (A_PAGE + 1, 10 * A_PAGE, 100 * A_PAGE):
        rd.size = size
        before = get(1)
        assert incr(1) == incr(1, 1) - 1 == before + 1
        assert rd[1] == before + 2
        assert stored(f"/proc/self/fd/{rd.fileno()}", 2)[1] == before + 2


def test_growth_after_a_fork(rd, fork):
    """The creator grows; a child that was forked before counts on in the same counters."""

    def count(link):
        link.hear()
        for _ in range(100):
            rd.incr(3)
        assert rd.size == 4
        assert rd.capacity == A_PAGE

    child = fork(count)
    rd.size = 5 * A_PAGE
    child.link.say()
    child.check()
    assert rd[3] == 100


def test_growth_in_a_child_is_refused(rd, fork):
    """Only the creator can grow: RuntimeError elsewhere. Within the capacity anybody may."""

    def grow(link):
        with pytest.raises(RuntimeError, match="grow"):
            rd.size = rd.capacity + 1
        assert rd.size == 4
        rd.size = rd.capacity
        assert rd.incr(A_PAGE - 1) == 1

    fork(grow).check()
    assert rd.size == 4
    rd.size = A_PAGE
    assert rd[A_PAGE - 1] == 1


@linux
def test_no_room_to_grow(fork):
    """OSError, and everything stays as it was."""

    def grow(link):
        with Raindrops(2) as rd:
            rd[1] = 5
            resource.setrlimit(resource.RLIMIT_FSIZE, (2 * mmap.PAGESIZE, resource.RLIM_INFINITY))
            with pytest.raises(OSError):
                rd.size = 4 * A_PAGE
            assert (rd.size, rd.capacity, list(rd)) == (2, A_PAGE, [0, 5])
            rd.size = 2 * A_PAGE
            assert rd[1] == 5

    fork(grow).check()


# Files.


def opened(path, kind):
    if kind == "appending":
        return open(path, "a+b", buffering=0)
    if kind == "path":
        return contextlib.nullcontext(path)
    if kind == "str":
        return contextlib.nullcontext(str(path))
    if kind == "bytes":
        return contextlib.nullcontext(os.fsencode(path))
    return open(path, {"object": "r+b", "text": "r+", "fd": "r+b"}[kind])


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "object", "text", "appending", "fd"])
def test_a_file_keeps_its_values(tmp_path, kind):
    """Whether named by path, object or descriptor; with `zero` they begin at 0."""
    path = tmp_path / "counters"
    store(path, [1, 2, MAX])
    with opened(path, kind) as file:
        name = file.fileno() if kind == "fd" else file
        with Raindrops(3, file=name) as rd:
            assert list(rd) == [1, 2, MAX]
            rd.incr(0)
        with Raindrops(3, file=name) as rd:
            assert list(rd) == [2, 2, MAX]
            assert rd.fileno() != name
        with Raindrops(3, file=name, zero=True) as rd:
            assert list(rd) == [0, 0, 0]
            rd[1] = 9
    assert stored(path, 3) == [0, 9, 0]


def test_a_file_is_made(tmp_path):
    """A path that is not there becomes a file that nobody else can read."""
    path = tmp_path / "counters"
    with Raindrops(2, file=path) as rd:
        rd[1] = 3
        assert path.stat().st_mode & 0o777 == 0o600
    assert stored(path, 2) == [0, 3]


def test_a_file_outlives_its_name_and_its_owner(tmp_path):
    """We hold the file by a descriptor of our own: the caller may close his and unlink it."""
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        rd = Raindrops(1, file=file)
    with rd:
        assert rd.incr(0) == 1
        os.fstat(rd.fileno())


@pytest.mark.parametrize("length", [0, 1, 8, 100, mmap.PAGESIZE - 1])
def test_a_file_too_small(tmp_path, length):
    """It grows to whole pages; what it had stays."""
    path = tmp_path / "counters"
    content = struct.pack("=Q", 77).ljust(length, b"\0")[:length]
    path.write_bytes(content)
    with Raindrops(A_PAGE + 1, file=path) as rd:
        assert rd[0] == int.from_bytes(content[:8], sys.byteorder)
        assert path.stat().st_size == 2 * mmap.PAGESIZE


def test_a_file_too_large(tmp_path):
    """It is not cut, and what lies behind the counters is there when they grow."""
    path = tmp_path / "counters"
    store(path, range(4 * A_PAGE))
    with Raindrops(2, file=path) as rd:
        assert (list(rd), rd.capacity) == ([0, 1], A_PAGE)
        rd.size = 2 * A_PAGE
        assert list(rd) == list(range(2 * A_PAGE))
    assert stored(path, 4 * A_PAGE) == list(range(4 * A_PAGE))


def test_zero_means_all_of_the_file(tmp_path):
    """With `zero` no old value comes back when the counters grow."""
    path = tmp_path / "counters"
    store(path, range(4 * A_PAGE))
    with Raindrops(2, file=path, zero=True) as rd:
        rd.size = 4 * A_PAGE
        assert list(rd) == [0] * (4 * A_PAGE)


def test_a_file_grows(tmp_path):
    """The file grows with the counters."""
    path = tmp_path / "counters"
    with Raindrops(1, file=path) as rd:
        rd[0] = 1
        rd.size = A_PAGE + 1
        rd[A_PAGE] = 2
    with Raindrops(A_PAGE + 1, file=path) as rd:
        assert (rd[0], rd[A_PAGE]) == (1, 2)


def test_two_on_one_file(tmp_path, fork):
    """Whoever opens the same file counts in the same counters."""
    path = tmp_path / "counters"

    def count(link):
        with Raindrops(1, file=path) as rd:
            for _ in range(10_000):
                rd.incr(0)

    children = [fork(count), fork(count)]
    for child in children:
        child.check()
    with Raindrops(1, file=path) as rd:
        assert rd[0] == 20_000


def test_not_a_regular_file(tmp_path):
    """A fifo (which must not be waited for), a device, a socket: ValueError. A directory and a
    missing one: OSError."""
    os.mkfifo(tmp_path / "fifo")
    for name in (tmp_path / "fifo", "/dev/null", "/dev/zero"):
        with pytest.raises(ValueError, match="regular"):
            Raindrops(1, file=name)
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ValueError, match="regular"):
        Raindrops(1, file=sock)
    with pytest.raises(IsADirectoryError):
        Raindrops(1, file=tmp_path)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(ValueError, match="regular"):
            Raindrops(1, file=fd)
    finally:
        os.close(fd)
    with pytest.raises(FileNotFoundError):
        Raindrops(1, file=tmp_path / "missing" / "counters")
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("length", [0, mmap.PAGESIZE])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_WRONLY | os.O_APPEND])
def test_a_descriptor_without_the_right(tmp_path, flags, length):
    """One that may not both read and write is OSError, and the file stays as it was."""
    path = tmp_path / "counters"
    path.write_bytes(bytes(length))
    fd = os.open(path, flags)
    try:
        with pytest.raises(OSError):
            Raindrops(1, file=fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("fd", [-1, 10**6, 2**40])
def test_a_descriptor_that_is_none(fd):
    """OSError, or OverflowError for what cannot be one."""
    with pytest.raises((OSError, OverflowError)):
        Raindrops(1, file=fd)


def test_a_closed_file(tmp_path):
    """Python's own ValueError."""
    with open(tmp_path / "counters", "w+b") as file:
        pass
    with pytest.raises(ValueError, match="closed"):
        Raindrops(1, file=file)


class Liar:
    def fileno(self):
        return "zero"


@pytest.mark.parametrize(
    "file",
    [object(), 1.0, True, False, ["x"], Liar()],
    ids=["object", "float", "True", "False", "list", "Liar"],
)
def test_a_file_of_a_wrong_type(file):
    """It is TypeError; True is not descriptor 1."""
    with pytest.raises(TypeError):
        Raindrops(1, file=file)


@linux
def test_unnamed_memory_cannot_be_shrunk(rd, fork):
    """It is sealed: no process can have the others die of SIGBUS. It still grows."""
    with pytest.raises(PermissionError):
        os.ftruncate(rd.fileno(), 0)

    def shrink(link):
        with pytest.raises(PermissionError):
            os.ftruncate(rd.fileno(), 0)

    fork(shrink).check()
    rd.size = 2 * A_PAGE
    with pytest.raises(PermissionError):
        os.ftruncate(rd.fileno(), mmap.PAGESIZE)
    assert rd.incr(2 * A_PAGE - 1) == 1


def test_descriptors_are_not_inherited(tmp_path):
    """No program that is executed gets them."""
    with open(tmp_path / "object", "w+b") as file:
        os.set_inheritable(file.fileno(), True)
        for name in (None, tmp_path / "counters", file, file.fileno()):
            with Raindrops(1, file=name) as rd:
                assert not os.get_inheritable(rd.fileno())


# Copies.


@pytest.mark.parametrize("duplicate", [Raindrops.copy, copy.copy])
def test_a_copy_is_independent(tmp_path, duplicate):
    """It has the values, and neither file nor memory in common."""
    path = tmp_path / "counters"
    with Raindrops(3, file=path) as rd:
        rd[0], rd[2] = 4, MAX
        with duplicate(rd) as other:
            assert (other.size, list(other)) == (3, [4, 0, MAX])
            other.incr(0)
            rd.decr(2)
            assert (list(rd), list(other)) == ([4, 0, MAX - 1], [5, 0, MAX])
            rd.close()
            assert other.incr(1) == 1
    assert stored(path, 3) == [4, 0, MAX - 1]


def test_a_copy_in_a_child_is_its_own(rd, fork):
    """A child's copy is new memory, which the child may grow."""

    def duplicate(link):
        with rd.copy() as other:
            other.size = 2 * A_PAGE
            other.incr(0)

    fork(duplicate).check()
    assert list(rd) == [0, 0, 0, 0]


def test_no_pickling(rd):
    """Pickled counters would be others: TypeError, also for deepcopy."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(rd, protocol)
    with pytest.raises(TypeError, match="pickle"):
        copy.deepcopy(rd)


# The end.

CLOSED = {
    **{name: (lambda rd, use=use: use(rd, 0)) for name, use in USES.items()},
    "len": len,
    "list": list,
    "bool": bool,
    "size": lambda rd: rd.size,
    "set size": lambda rd: setattr(rd, "size", 2),
    "grow": lambda rd: setattr(rd, "size", 2000),
    "capacity": lambda rd: rd.capacity,
    "copy": Raindrops.copy,
    "fileno": Raindrops.fileno,
    "with": Raindrops.__enter__,
}


@pytest.mark.parametrize("close", [Raindrops.close, Raindrops.evaporate])
@pytest.mark.parametrize("touched", [True, False])
@pytest.mark.parametrize("use", CLOSED.values(), ids=CLOSED)
def test_closed(use, touched, close):
    """A closed one raises ValueError, whatever is done, and whatever was done before."""
    rd = Raindrops(4)
    incr, decr, get = rd.incr, rd.decr, rd.__getitem__
    if touched:
        assert (incr(0), decr(0), get(0)) == (1, 0, 0)
    close(rd)
    with pytest.raises(ValueError, match="closed"):
        use(rd)
    for held in (incr, decr, get):
        with pytest.raises(ValueError, match="closed"):
            held(0)
    close(rd)
    assert "closed" in repr(rd)


def test_what_is_held_keeps_the_memory(fork):
    """A bound method that outlives every other reference counts on; the memory goes with it."""

    def hold(link):
        rd = Raindrops(2)
        incr = rd.incr
        del rd
        assert [incr(1), incr(1), incr(1, 5)] == [1, 2, 7]

    fork(hold).check()


def test_closed_in_one_process_only(rd, fork):
    """A child that closes takes nothing from its parent."""
    fork(lambda link: (rd.incr(0), rd.close())).check()
    assert rd.incr(0) == 2


def test_with_closes():
    """Also when the block raises; the counters were usable in it."""
    with pytest.raises(KeyError), Raindrops(1) as rd:
        rd.incr(0)
        raise KeyError
    with pytest.raises(ValueError, match="closed"):
        rd.incr(0)


EVILS = {
    "get": lambda rd, evil: rd[evil],
    "set": lambda rd, evil: rd.__setitem__(evil, 1),
    "set value": lambda rd, evil: rd.__setitem__(0, evil),
    "incr": lambda rd, evil: rd.incr(evil),
    "incr by": lambda rd, evil: rd.incr(0, evil),
    "decr": lambda rd, evil: rd.decr(evil),
    "decr by": lambda rd, evil: rd.decr(0, evil),
}


@pytest.mark.parametrize("use", EVILS.values(), ids=EVILS)
def test_closed_while_an_argument_is_looked_at(use, fork):
    """Then too it is ValueError, and never a look into memory that has gone."""

    def close(link):
        rd = Raindrops(1)
        with pytest.raises(ValueError, match="closed"):
            use(rd, Evil(rd.close, 0))

    fork(close).check()


@pytest.mark.parametrize("n", [1, 2])
def test_closed_while_threads_count(fork, n):
    """They get ValueError; the process lives."""

    def race(link):
        sys.setswitchinterval(1e-6)
        for _ in range(30):
            rd = Raindrops(2)
            counting, errors = threading.Barrier(3), []

            def count(rd=rd, counting=counting, errors=errors):
                counting.wait(WAIT)
                try:
                    while True:
                        rd.incr(0, n)
                        rd[1] = rd[0]
                except ValueError:
                    errors.append(ValueError)

            threads = [threading.Thread(target=count) for _ in range(2)]
            for thread in threads:
                thread.start()
            counting.wait(WAIT)
            rd.close()
            for thread in threads:
                thread.join(WAIT)
            assert errors == [ValueError, ValueError]

    fork(race).check()


def test_resized_while_threads_count(fork):
    """They get IndexError for what is not there at the moment, and nothing else; none is lost."""

    def race(link):
        sys.setswitchinterval(1e-6)
        errors, counted = [], [0, 0]
        stop = threading.Event()
        with Raindrops(1) as rd:

            def count(me):
                try:
                    while not stop.is_set():
                        for i in range(0, 4 * A_PAGE, 5):
                            with contextlib.suppress(IndexError):
                                rd.incr(i)
                                counted[me] += 1
                except Exception as error:
                    errors.append(error)

            threads = [threading.Thread(target=count, args=(me,)) for me in range(2)]
            for thread in threads:
                thread.start()
            for size in [1, 50, 2 * A_PAGE, 3, 4 * A_PAGE, 10] * 200:
                rd.size = size
            stop.set()
            for thread in threads:
                thread.join(WAIT)
            rd.size = 4 * A_PAGE
            assert errors == []
            assert sum(rd) == sum(counted)

    fork(race).check()


def test_shrunk_while_an_argument_is_looked_at(fork):
    """A counter that went while `n` was computed is IndexError or counted, never another's."""

    def shrink(link):
        with Raindrops(A_PAGE) as rd:
            with contextlib.suppress(IndexError):
                rd.incr(5, Evil(lambda: setattr(rd, "size", 2)))
            assert list(rd) == [0, 0]

    fork(shrink).check()


@linux
def test_no_leak():
    """Thousands that come and go, closed or forgotten, leave no descriptor and no memory."""

    def mapped():
        return Path("/proc/self/maps").read_text().count("memfd:raindrops")

    def one(i):
        rd = Raindrops(10)
        rd.incr(9)
        rd.size = 2 * A_PAGE
        rd.incr(A_PAGE)
        other = rd.copy()
        if i % 2:
            rd.close()
            other.close()

    for i in range(50):
        one(i)
    before, pages = descriptors(), mapped()
    size = int(Path("/proc/self/statm").read_text().split()[1])
    for i in range(2000):
        one(i)
    assert descriptors() == before
    assert mapped() == pages == 0
    assert int(Path("/proc/self/statm").read_text().split()[1]) - size < 256  # pages: 1 MiB


@linux
def test_calls_leak_nothing():
    """A hundred thousand calls, most of them refused, leave the process as large as it was."""

    def called(rd, i):
        rd[0] = 2**40 + i
        rd.decr(0, 2**41 + i)
        rd.incr(Evil(lambda: None, 0), Evil(lambda: None, 2**42 + i))
        for use, argument in [
            (rd.__getitem__, 2**70),
            (rd.__getitem__, "x"),
            (rd.incr, -(2**70)),
            (rd.decr, 1.5),
            (lambda value: rd.incr(0, value), 2**70),
            (lambda value: rd.__setitem__(0, value), "x"),
            (lambda value: rd.__setitem__(0, value), -(2**70)),
        ]:
            with contextlib.suppress(IndexError, TypeError, OverflowError):
                use(argument)
                pytest.fail("not refused")

    with Raindrops(1) as rd:
        for i in range(1_000):
            called(rd, i)
        size = int(Path("/proc/self/statm").read_text().split()[1])
        for i in range(15_000):
            called(rd, i)
        assert int(Path("/proc/self/statm").read_text().split()[1]) - size < 128  # pages


@linux
@pytest.mark.parametrize("failing", [{"size": 0}, {"file": "/dev/null"}, {"file": "/"}])
def test_failures_leave_nothing(failing):
    """No descriptor stays behind of one that could not be made (see the fixture), nor a warning."""
    for _ in range(10):
        with pytest.raises((ValueError, OSError)):
            Raindrops(**{"size": 1, **failing})


def test_forgotten_ones_go_quietly():
    """Neither a collected one nor one that is left at the interpreter's end says anything."""
    code = (
        "from gunicorn_raindrops import Raindrops, Struct\n"
        "class S(Struct):\n    x: int\n"
        "Raindrops(1).incr(0); S().incr_x(); left = Raindrops(1), S(); left[1].incr_x()\n"
        "import sys; sys.left = Raindrops(3)\n"
    )
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", code]
    done = subprocess.run(command, capture_output=True, timeout=WAIT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# Many.


def test_processes_and_threads(fork):
    """Four processes of four threads lose not one of 320,000 updates of each kind."""
    times = 20_000
    with Raindrops(6) as rd:

        def thread(me):
            rd.incr(4, me)
            for _ in range(times):
                rd.incr(0)
                rd.decr(1)
                rd.incr(2, 3)
                rd.decr(3, 2)

        def process(link):
            link.hear()
            threads = [threading.Thread(target=thread, args=(me,)) for me in range(4)]
            for one in threads:
                one.start()
            for one in threads:
                one.join()

        children = [fork(process) for _ in range(4)]
        for child in children:
            child.link.say()
        for child in children:
            child.check()
        total = 4 * 4 * times
        assert list(rd) == [total, 2**64 - total, 3 * total, 2**64 - 2 * total, 4 * 6, 0]


def test_every_value_is_returned_once(fork):
    """What `incr` returns is the value it made: no two updates get the same one."""
    with Raindrops(1) as rd, Raindrops(40_000) as seen:

        def count(link):
            link.hear()
            for _ in range(10_000):
                seen.incr(rd.incr(0) - 1)

        children = [fork(count) for _ in range(4)]
        for child in children:
            child.link.say()
        for child in children:
            child.check()
        assert rd[0] == 40_000
        assert set(seen) == {1}


def test_a_killed_process_blocks_nobody(rd, fork):
    """There is no lock that a killed process could take along."""

    def count(link):
        link.say()
        while True:
            rd.incr(0)

    for _ in range(10):
        child = fork(count)
        child.link.hear()
        child.kill()
        child.wait()
        before = rd[0]
        assert rd.incr(0) == before + 1


# Against a model.


class Model(RuleBasedStateMachine):
    """Raindrops do what a list of integers modulo 2**64 does."""

    numbers = st.integers(0, MAX) | st.integers(0, 3) | st.sampled_from([MAX, MAX - 1, 2**63])
    indices = st.integers(-2, 2 * A_PAGE + 2) | st.integers(0, 2)

    def __init__(self):
        super().__init__()
        self.rd = Raindrops(3)
        self.size = 3
        self.all = [0] * (3 * A_PAGE)

    def teardown(self):
        self.rd.close()

    def both(self, i, act, expect):
        if 0 <= i < self.size:
            self.all[i] = expect(self.all[i]) % 2**64
            assert act() in (self.all[i], None)
        else:
            with pytest.raises(IndexError):
                act()

    @rule(i=indices)
    def incr(self, i):
        self.both(i, lambda: self.rd.incr(i), lambda old: old + 1)

    @rule(i=indices)
    def decr(self, i):
        self.both(i, lambda: self.rd.decr(i), lambda old: old - 1)

    @rule(i=indices, n=numbers)
    def incr_by(self, i, n):
        self.both(i, lambda: self.rd.incr(i, n), lambda old: old + n)

    @rule(i=indices, n=numbers)
    def decr_by(self, i, n):
        self.both(i, lambda: self.rd.decr(i, n), lambda old: old - n)

    @rule(i=indices)
    def get(self, i):
        self.both(i, lambda: self.rd[i], lambda old: old)

    @rule(i=indices, value=numbers)
    def set(self, i, value):
        self.both(i, lambda: self.rd.__setitem__(i, value), lambda old: value)

    @rule(size=st.integers(1, 2 * A_PAGE))
    def resize(self, size):
        self.rd.size = self.size = size

    @rule()
    @precondition(lambda self: self.size < A_PAGE)
    def go_on_with_a_copy(self):
        with self.rd:
            self.rd = self.rd.copy()
        self.all[self.size :] = [0] * (len(self.all) - self.size)

    @invariant()
    def same(self):
        assert list(self.rd) == self.all[: self.size]
        assert self.size <= self.rd.capacity


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
