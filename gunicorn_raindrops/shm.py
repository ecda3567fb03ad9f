"""Counters in shared memory: `Raindrops`, by index, and `Struct`, by name.

Who owns the memory: an unnamed file (a memfd; sealed, so that no process can shrink it under the
feet of another) or the user's file, mapped shared. Every process that forks from the creator
shares it; any of them, and any thread, may write any counter at any time. Each update is one
atomic instruction, so there is no lock that a killed process could take along.

What fork does to it: nothing. Parent and child have the same pages at the same addresses. Only
`size` is each process's own, and only the creator may grow the mapping, since the others could
not follow.

Growing maps the longer file a second time and keeps the first mapping until the object goes: both
show the same pages, so a counter that was looked up before stays where it was.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import mmap
import operator
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, SupportsIndex

from ._native._counters import ffi, lib

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._native._counters import Pointer

_ONE = 1  # `n is _ONE`: True and 1.0 equal one as well, but are not counts
_MAX = 2**64 - 1

File = str | bytes | os.PathLike[str] | os.PathLike[bytes] | int | Any


def open_shared(file: File | None, name: str = "raindrops") -> int:
    """Return a new descriptor of what `file` names, or of a new unnamed file.

    Raises:
        OSError: it cannot be opened for reading and writing.
        ValueError: it is not a regular file.
        TypeError: it is not a path, a descriptor or a file object.
    """
    if file is None:
        return _unnamed(name)
    if isinstance(file, (str, bytes, os.PathLike)):
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    else:
        fd = os.dup(_descriptor(file))
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError(f"file {file!r} is not a regular file")
    except BaseException:
        os.close(fd)
        raise
    return fd


def _descriptor(file: Any) -> int:
    if isinstance(file, bool) or not (isinstance(file, int) or hasattr(file, "fileno")):
        raise TypeError(
            f"file must be a path, a descriptor or a file object, not {type(file).__name__}"
        )
    return file if isinstance(file, int) else operator.index(file.fileno())


def _unnamed(name: str) -> int:
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
    return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def reserve(fd: int, length: int) -> None:
    """Make the file at least `length` bytes long, with blocks behind all of them.

    Without blocks a full disk would show much later, as a SIGBUS in whoever counts.
    """
    if os.fstat(fd).st_size < length:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, length)
        else:
            os.ftruncate(fd, length)


def seal(fd: int) -> None:
    """Forbid shrinking an unnamed file; a named one cannot be sealed and stays as it is."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)


class Mapping:
    """Shared pages of a file, from its beginning; they go when the last reference does."""

    def __init__(self, fd: int, length: int) -> None:
        address = lib.grd_map(fd, length)
        if address == ffi.NULL:
            raise OSError(ffi.errno, f"cannot map {length} bytes: {os.strerror(ffi.errno)}")
        self.length = length
        self.address = ffi.gc(address, lambda at: lib.grd_unmap(at, length), length)


def _check_int(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from None


def _check_value(name: str, value: Any) -> int:
    number = _check_int(name, value)
    if not 0 <= number <= _MAX:
        raise OverflowError(f"{name} must be from 0 to 2**64-1, not {number}")
    return number


def _closed() -> NoReturn:
    raise ValueError("these counters are closed")


class Raindrops:
    """`size` 64-bit counters in memory that forked processes share, a cache line apart.

    Args:
        size: how many, at least 1.
        file: a path, descriptor or file object that backs them; its values are kept. None:
            memory that goes with the last process that has it mapped.
        zero: set all of them to 0.

    Raises:
        ValueError: `size` is under 1, or `file` is not a regular file.
        TypeError: `size` is not an integer, or `file` none of the above.
        OSError: `file` cannot be opened, grown or mapped.
    """

    SIZE: ClassVar[int] = lib.grd_line_size()
    """Bytes from one counter to the next: this machine's cache line."""
    PAGE_SIZE: ClassVar[int] = mmap.PAGESIZE
    """Bytes in a page of memory; a mapping is a whole number of them."""
    MAX: ClassVar[int] = _MAX
    """The largest value of a counter."""

    def __init__(self, size: int, *, file: File | None = None, zero: bool = False) -> None:
        self._fd = -1
        self._creator = os.getpid()
        self._size = self._check_size(size)
        self._older: list[Mapping] = []
        # Each index's native calls, their argument ready, from its first use on. Dictionaries,
        # since threads that meet at one index may well both put the same thing there.
        self._incrs: dict[int, Callable[[], int]] = {}
        self._decrs: dict[int, Callable[[], int]] = {}
        self._gets: dict[int, Callable[[], int]] = {}
        self._fd = open_shared(file)
        try:
            self._map(self._size)
        except BaseException:
            self.close()
            raise
        if file is None:
            seal(self._fd)
        if zero:
            ffi.memmove(self._mapping.address, bytes(self._mapping.length), self._mapping.length)

    @staticmethod
    def _check_size(size: Any) -> int:
        number = _check_int("size", size)
        if not 1 <= number <= sys.maxsize // Raindrops.SIZE - Raindrops.PAGE_SIZE:
            raise ValueError(f"size must be at least 1 and fit into memory, not {number}")
        return number

    def _map(self, size: int) -> None:
        pages = math.ceil(size * self.SIZE / self.PAGE_SIZE)
        reserve(self._fd, pages * self.PAGE_SIZE)
        self._mapping = Mapping(self._fd, pages * self.PAGE_SIZE)
        self._base: Pointer = ffi.cast("char *", self._mapping.address)

    def incr(self, i: int, n: int = 1) -> int:
        """Add `n` to counter `i` atomically and return its new value, modulo 2**64.

        Raises:
            IndexError: `i` is outside 0..size-1; negative indices are not counted from the end.
            TypeError: `i` or `n` is not an integer.
            OverflowError: `n` is outside 0..2**64-1.
            ValueError: the counters are closed.
        """
        if n is _ONE and i.__class__ is int:
            try:
                return self._incrs[i]()
            except KeyError:
                self._bind(i)
        at = self._at(i)
        return int(lib.grd_incr_by(at, _check_value("n", n)))

    def decr(self, i: int, n: int = 1) -> int:
        """Subtract `n` from counter `i` atomically; otherwise as `incr`."""
        if n is _ONE and i.__class__ is int:
            try:
                return self._decrs[i]()
            except KeyError:
                self._bind(i)
        at = self._at(i)
        return int(lib.grd_decr_by(at, _check_value("n", n)))

    def __getitem__(self, i: int) -> int:
        if i.__class__ is int:
            try:
                return self._gets[i]()
            except KeyError:
                self._bind(i)
        return int(lib.grd_get(self._at(i)))

    def __setitem__(self, i: int, value: int) -> None:
        at = self._at(i)
        lib.grd_set(at, _check_value("value", value))

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        for i in range(self.size):
            yield self[i]

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"size={self._size}"
        return f"<{type(self).__name__} {state}>"

    def _at(self, i: SupportsIndex) -> Pointer:
        """Return counter `i`'s address, valid as long as this object is."""
        self._check_open()
        index = _check_int("index", i)
        if not 0 <= index < self._size:
            raise IndexError(f"index must be from 0 to {self._size - 1}, not {index}")
        return ffi.cast("uint64_t *", self._base + index * self.SIZE)

    def _bind(self, i: int) -> None:
        """Prepare the calls for counter `i`; raises what `_at` raises."""
        at = self._at(i)
        self._incrs[i] = partial(lib.grd_incr, at)
        self._decrs[i] = partial(lib.grd_decr, at)
        self._gets[i] = partial(lib.grd_get, at)

    def _calls(self) -> tuple[dict[int, Callable[[], int]], ...]:
        return self._incrs, self._decrs, self._gets

    def _check_open(self) -> None:
        if self._fd < 0:
            _closed()

    @property
    def size(self) -> int:
        """How many counters there are. It can be set: up to `capacity` at once, beyond it by
        growing the mapping, values kept, in the process that created it.

        Raises:
            RuntimeError: it would have to grow in another process.
            ValueError: it is under 1, or the counters are closed.
            OSError: there is no room for more.
        """
        self._check_open()
        return self._size

    @size.setter
    def size(self, size: int) -> None:
        self._check_open()
        number = self._check_size(size)
        if number > self.capacity:
            if os.getpid() != self._creator:
                raise RuntimeError(
                    f"size {number} is beyond the capacity of {self.capacity}, "
                    "and only the process that created the counters can grow them"
                )
            older = self._mapping
            self._map(number)
            self._older.append(older)
        self._size = number
        for calls in self._calls():
            for i in [i for i in calls if i >= number]:
                calls.pop(i, None)

    @property
    def capacity(self) -> int:
        """How many counters fit into the pages that are mapped."""
        self._check_open()
        return self._mapping.length // self.SIZE

    def copy(self) -> Raindrops:
        """Return an independent snapshot: new counters, unnamed, with the values of this instant.

        Each value is read atomically, but not all of them at once.
        """
        self._check_open()
        other = Raindrops(self._size)
        for i, value in enumerate(self):
            other[i] = value
        return other

    __copy__ = copy

    def __reduce__(self) -> NoReturn:
        raise TypeError("shared counters cannot be pickled; processes share them by forking")

    def fileno(self) -> int:
        """Return the descriptor of the memory. It stays ours and goes at `close`."""
        self._check_open()
        return self._fd

    def close(self) -> None:
        """Let go of the memory, in this process only; a second time does nothing."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        # Bound updates may be held elsewhere (see Struct): they find these instead.
        for calls in self._calls():
            calls.update(dict.fromkeys(calls, _closed))
        self._older.clear()
        self.__dict__.pop("_base", None)
        self.__dict__.pop("_mapping", None)

    evaporate = close

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()


def _update(
    updates: dict[int, Callable[[], int]], by: Callable[..., int], rd: Raindrops, i: int
) -> Callable[..., int]:
    def update(n: int = 1) -> int:
        if n is _ONE:
            return updates[i]()
        return by(i, n)

    update.__doc__ = f"{by.__name__} counter {i} by n and return its new value."
    rd._bind(i)
    return update


class Struct:
    """Named counters: a subclass's annotations are its members.

        class Stats(Struct):
            calling: int
            writing: int

        stats = Stats(calling=5)
        stats.incr_calling()    # 6; stats.decr_calling(n=2), stats.calling = 3, stats[0]

    Shared, atomic and bounded like `Raindrops`, which raises the same errors.

    Raises:
        TypeError: a keyword names no member, or the class has no members or one whose name
            is taken.
    """

    MEMBERS: ClassVar[tuple[str, ...]] = ()
    """The members' names, in the order of their indices."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., int]: ...

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = [
            name
            for name, kind in inspect.get_annotations(cls).items()
            if not str(kind).removeprefix("typing.").startswith("ClassVar")
        ]
        for name in own:
            if hasattr(cls, name) or name.startswith("_"):
                raise TypeError(f"{cls.__name__}: the name of member {name!r} is taken")
        cls.MEMBERS = (*cls.MEMBERS, *own)
        for i, name in enumerate(cls.MEMBERS):
            setattr(cls, name, cls._member(i, name))

    @staticmethod
    def _member(i: int, name: str) -> property:
        def get(self: Struct) -> int:
            return self._rd[i]

        def set_(self: Struct, value: int) -> None:
            self._rd[i] = value

        return property(get, set_, doc=f"The value of {name}, counter {i}.")

    def __init__(self, **values: int) -> None:
        cls = type(self)
        if not cls.MEMBERS:
            raise TypeError(f"{cls.__name__} has no members: annotate some, as `calling: int`")
        for name in values:
            if name not in cls.MEMBERS:
                raise TypeError(
                    f"{cls.__name__} has no member {name!r}; its members are "
                    + ", ".join(cls.MEMBERS)
                )
        self._rd = Raindrops(len(cls.MEMBERS))
        for i, name in enumerate(cls.MEMBERS):
            self._rd[i] = values.get(name, 0)
            vars(self)[f"incr_{name}"] = _update(self._rd._incrs, self._rd.incr, self._rd, i)
            vars(self)[f"decr_{name}"] = _update(self._rd._decrs, self._rd.decr, self._rd, i)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.MEMBERS and name != "_rd":
            raise AttributeError(f"{type(self).__name__} has no member {name!r}")
        super().__setattr__(name, value)

    def __getitem__(self, i: int) -> int:
        return self._rd[i]

    def __setitem__(self, i: int, value: int) -> None:
        self._rd[i] = value

    def __len__(self) -> int:
        return len(self._rd)

    def __iter__(self) -> Iterator[int]:
        return iter(self._rd)

    def __repr__(self) -> str:
        if self._rd._fd < 0:
            return f"<{type(self).__name__} closed>"
        values = ", ".join(f"{name}={value}" for name, value in self.as_dict().items())
        return f"{type(self).__name__}({values})"

    def as_dict(self) -> dict[str, int]:
        """Return the members and their values."""
        return dict(zip(self.MEMBERS, self._rd, strict=True))

    def copy(self) -> Self:
        """Return an independent snapshot, as `Raindrops.copy`."""
        return type(self)(**self.as_dict())

    __copy__ = copy

    def __reduce__(self) -> NoReturn:
        self._rd.__reduce__()

    def close(self) -> None:
        """Let go of the memory, in this process only; a second time does nothing."""
        self._rd.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
