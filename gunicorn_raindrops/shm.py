"""Counters in shared memory: `Raindrops`, by index, and `Struct`, by name.

A Struct keeps its members in Raindrops of its own. So what `raindrops` says of the memory, of
processes and of threads goes for both. Under gunicorn each worker has a `WorkerGauge` for itself:
`move` makes it a counter elsewhere.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NoReturn

from ._native._objects import Counter
from .raindrops import Raindrops as Raindrops

if TYPE_CHECKING:
    from typing_extensions import Self

Raindrops.__module__ = __name__  # where its users import it from

Gauge = Annotated[int, "gauge"]
"""Annotates a member of a Struct that also goes down."""
WorkerGauge = Annotated[int, "worker gauge"]
"""Annotates a gauge that under gunicorn each worker has for itself: what a worker held is out of
the sum when it dies."""


_CLASS_VAR = re.compile(r"(\w+\.)*ClassVar\b")


def _kind_of(annotation: Any) -> str:
    """Return "counter", "gauge" or "worker gauge"; an annotation may be the text of one.

    Raises:
        ValueError: it is none of the three.
    """
    name = str(annotation).strip("\"'").rpartition(".")[2]
    for kind, called in ((Gauge, "Gauge"), (WorkerGauge, "WorkerGauge")):
        if annotation == kind or name == called:
            return str(kind.__metadata__[0])  # type: ignore[attr-defined]
    if int in (annotation, getattr(annotation, "__origin__", None)) or name == "int":
        return "counter"
    raise ValueError(f"is annotated {annotation!r}, not int, Gauge or WorkerGauge")


class Struct:
    """Named counters: a subclass's annotations are its members.

        class Stats(Struct):
            calling: int
            writing: int

        stats = Stats(calling=5)
        stats.incr_calling()    # 6; stats.decr_calling(n=2), stats.calling = 3, stats[0]

    Shared, atomic and bounded like `Raindrops`, which raises the same errors. A member annotated
    `Gauge` or `WorkerGauge` instead of `int` is shown as what it is.

    Raises:
        TypeError: a keyword names no member, or the class has no members, or one whose name is
            taken or whose annotation is none of these.
    """

    MEMBERS: ClassVar[tuple[str, ...]] = ()
    """The members' names, in the order of their indices."""
    KINDS: ClassVar[dict[str, str]] = {}
    """What each member is: "counter", "gauge" or "worker gauge"."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., int]: ...

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = [
            name
            for name, kind in inspect.get_annotations(cls).items()
            if not _CLASS_VAR.match(str(kind))
        ]
        cls.MEMBERS = (*cls.MEMBERS, *own)
        cls.KINDS = cls.KINDS | cls._kinds(own)
        updates = {f"{update}_{name}" for name in cls.MEMBERS for update in ("incr", "decr")}
        for name in cls.MEMBERS:
            taken = name in updates or (name in own and hasattr(cls, name))
            if taken or name.startswith("_"):
                raise TypeError(f"{cls.__name__}: the name of member {name!r} is taken")
        for i, name in enumerate(cls.MEMBERS):
            setattr(cls, name, cls._member(i, name))

    @classmethod
    def _kinds(cls, names: list[str]) -> dict[str, str]:
        kinds, annotations = {}, inspect.get_annotations(cls)
        for name in names:
            try:
                kinds[name] = _kind_of(annotations[name])
            except ValueError as error:
                raise TypeError(f"{cls.__name__}: member {name!r} {error}") from None
        return kinds

    @staticmethod
    def _member(i: int, name: str) -> property:
        def get(self: Struct) -> int:
            return self[i]

        def set_(self: Struct, value: int) -> None:
            self[i] = value

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
        self._elsewhere: dict[int, tuple[Raindrops, int]] = {}
        for i, name in enumerate(cls.MEMBERS):
            self._rd[i] = values.get(name, 0)
            self._bind(name, self._rd, i)

    def _bind(self, name: str, rd: Raindrops, i: int) -> None:
        counter = Counter(rd, i)
        # One by one: CPython reads an instance more slowly once its __dict__ was asked for.
        object.__setattr__(self, f"incr_{name}", counter.incr)
        object.__setattr__(self, f"decr_{name}", counter.decr)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.MEMBERS and name not in ("_rd", "_elsewhere"):
            raise AttributeError(f"{type(self).__name__} has no member {name!r}")
        super().__setattr__(name, value)

    def __getitem__(self, i: int) -> int:
        rd, at = self._elsewhere.get(i) or (self._rd, i)
        return rd[at]

    def __setitem__(self, i: int, value: int) -> None:
        rd, at = self._elsewhere.get(i) or (self._rd, i)
        rd[at] = value

    def __len__(self) -> int:
        return len(self._rd)

    def __iter__(self) -> Iterator[int]:
        for i in range(len(self)):
            yield self[i]

    def __repr__(self) -> str:
        if self._rd._mapping is None:
            return f"<{type(self).__name__} closed>"
        values = ", ".join(f"{name}={value}" for name, value in self.as_dict().items())
        return f"{type(self).__name__}({values})"

    def as_dict(self) -> dict[str, int]:
        """Return the members and their values."""
        return dict(zip(self.MEMBERS, self, strict=True))

    def copy(self) -> Self:
        """Return an independent snapshot, as `Raindrops.copy`."""
        return type(self)(**self.as_dict())

    __copy__ = copy

    def __reduce__(self) -> NoReturn:
        self._rd.__reduce__()

    def move(self, name: str, rd: Raindrops, i: int) -> None:
        """Have counter `i` of `rd` be a member from now on, in this process only."""
        self._elsewhere[self.MEMBERS.index(name)] = rd, i
        self._bind(name, rd, i)

    def fileno(self) -> int:
        """Return the descriptor of the memory, as `Raindrops.fileno`."""
        return self._rd.fileno()

    def adopt(self, fd: int) -> None:
        """Go on with other memory, as `Raindrops.adopt`."""
        self._rd.adopt(fd)

    def close(self) -> None:
        """Let go of the memory, in this process only; a second time does nothing."""
        self._rd.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
