"""Boards, their raw pages, and the workers of tests: children that do what they are told."""

import dataclasses
import mmap
import struct
import sys

import pytest

from gunicorn_raindrops._native._scoreboard import ffi
from gunicorn_raindrops.counting import attached, request
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.scoreboard.layout import HEADER_SIZE

linux = pytest.mark.skipif(sys.platform != "linux", reason="start times are Linux's")

SLOT = ffi.sizeof("struct grd_slot")
HEADER = struct.Struct("=8sIIIIQQq40sQQ")  # struct grd_header


class Pages:
    """The raw pages of a scoreboard, as a hostile worker has them."""

    def __init__(self, board):
        self._map = mmap.mmap(board.fileno(), 0)

    def close(self):
        self._map.close()

    def header(self):
        return HEADER.unpack_from(self._map)

    def get(self, slot, field):
        return struct.unpack_from("=Q", self._map, self._at(slot, field))[0]

    def set(self, slot, field, value):
        struct.pack_into("=Q", self._map, self._at(slot, field), value)

    def scribble(self, at, data):
        self._map[at : at + len(data)] = data

    @staticmethod
    def _at(slot, field):
        return HEADER_SIZE + slot * SLOT + ffi.offsetof("struct grd_slot", field)


@pytest.fixture
def board():
    board = Scoreboard(4)
    yield board
    board.forget_file()


@pytest.fixture
def pages(board):
    pages = Pages(board)
    yield pages
    pages.close()


ACTIONS = {
    b"begin": request.begin,
    b"respond": request.respond,
    b"fail": request.fail,
    b"cancel": request.cancel,
    b"other": request.end_other,
    b"ready": attached.ready,
    b"finishing": attached.finishing,
    **{b"end " + kind.encode(): end for kind, end in request.END.items()},
}


def work(link, board, claim, age=1, capacity=1):
    """Be a worker: take the slot, then do what is said, until the line is cut."""
    link.say(b"taken" if attached.take_over(board, claim, age, capacity) else b"refused")
    while word := link.hear():
        ACTIONS[word]()
        link.say()


def tell(child, *words):
    """Have a worker do these, one after another."""
    for word in words:
        child.link.say(word.encode())
        assert child.link.hear()


@pytest.fixture
def worker(board, fork):
    """A worker that has a slot of `board`."""

    def start(claim=None, **kwargs):
        claim = claim or board.claim()
        child = fork(lambda link: work(link, board, claim, **kwargs))
        assert child.link.hear() == b"taken"
        return child

    return start


def killed(child):
    child.kill()
    child.wait()


def figures(board):
    """Return the gauges and totals: calling, writing, requests, responses, errors."""
    reading = board.read()
    return (
        sum(row.calling for row in reading.rows),
        sum(row.writing for row in reading.rows),
        reading.requests,
        reading.responses,
        reading.errors,
    )


def timeless(rows):
    """Return rows without what grows by itself while a request is inside."""
    return [dataclasses.replace(row, busy_seconds=0.0, current=None) for row in rows]
