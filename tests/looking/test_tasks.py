"""Requests on a loop, seen from another thread: whose task is whose, and what is never told."""

import asyncio
import gc
import threading
import weakref

import pytest

from gunicorn_raindrops.counting import asgi, attached
from gunicorn_raindrops.counting.attached import AttachedSlot
from gunicorn_raindrops.looking import frames
from gunicorn_raindrops.looking.flight import Flight
from gunicorn_raindrops.looking.tasks import BLOCKED, BLOCKS, OfTasks
from gunicorn_raindrops.scoreboard.board import Scoreboard

from ..bounds import WAIT
from .turns import turned

try:
    import anyio
except ImportError:  # a Python for which there are few packages
    anyio = None


@pytest.fixture
def board():
    board = Scoreboard(1)
    assert attached.take_over(board, board.claim(), 1, 40)
    yield board
    board.forget_file()


async def deep(future):
    await future


def spin(begun, until):
    begun.set()
    while not until.is_set():
        pass


def counted(app):
    return asgi.counting(app, AttachedSlot(), app)


def scope(path):
    return {"type": "http", "method": "GET", "path": path}


def look(finder, least=0):
    """Return what is told of each request, by path."""
    flights = [Flight(*one) for one in attached.flights(least)]
    found = finder.find(flights, {})
    return {
        one.path: frames.where(found[one.ticket].lines, found[one.ticket].note)
        if one.ticket in found
        else None
        for one in flights
    }


def names(where):
    return {path: line and line.partition(" in ")[2] for path, line in where.items()}


def test_each_its_own(board):
    """Plain, in a pool's thread, behind a task that has its scope, behind one that has not."""

    async def app(scope, receive, send):
        await globals_[scope["path"]](scope)

    async def plain(scope):
        await deep(gate)

    async def pool(scope):
        await asyncio.get_running_loop().run_in_executor(None, in_pool)

    def in_pool():
        inside.set()
        event.wait(WAIT)

    async def child(scope):
        await grandchild()

    async def grandchild():
        await deep(gate)

    async def with_scope(scope):
        await asyncio.gather(asyncio.create_task(child(scope)), asyncio.sleep(0))

    async def hidden(unlike_a_scope):
        await deep(gate)

    async def without(its):
        await asyncio.wait([asyncio.create_task(hidden(its))])

    globals_ = {"/plain": plain, "/pool": pool, "/with": with_scope, "/without": without}
    inside, event = threading.Event(), threading.Event()

    async def main():
        nonlocal gate
        loop = asyncio.get_running_loop()
        gate = loop.create_future()
        finder = OfTasks(lambda: loop)
        tasks = [asyncio.create_task(counted(app)(scope(p), None, None)) for p in globals_]
        await turned()
        await asyncio.to_thread(inside.wait, WAIT)
        seen = await asyncio.to_thread(look, finder)
        event.set()
        gate.set_result(None)
        await asyncio.gather(*tasks)
        return seen

    gate = None
    assert names(asyncio.run(main())) == {
        "/plain": "deep",
        "/pool": "in_pool",
        "/with": "deep",
        "/without": "without",
    }


async def in_group(function, *args):
    """Call it in a group within a group."""
    async with anyio.create_task_group() as group:
        if function is in_group:
            group.start_soon(in_group, *args)
        else:
            group.start_soon(function, *args)


async def spinning(begun, until):
    spin(begun, until)


def test_in_groups(board):
    """Requests whose work is done by tasks of anyio's groups, each by its own."""
    if anyio is None:
        pytest.skip("no anyio")

    async def one(future):
        await deep(future)

    async def other(future):
        await future

    async def app(scope, receive, send):
        await in_group(in_group, {"/one": one, "/other": other}[scope["path"]], gate)

    async def main():
        nonlocal gate
        loop = asyncio.get_running_loop()
        gate = loop.create_future()
        tasks = [asyncio.create_task(counted(app)(scope(p), None, None)) for p in expected]
        unrelated = asyncio.create_task(in_group(deep, gate))
        await turned()
        seen = await asyncio.to_thread(look, OfTasks(lambda: loop))
        gate.set_result(None)
        await asyncio.gather(unrelated, *tasks)
        return seen

    gate = None
    expected = {"/one": "deep", "/other": "other"}
    assert names(asyncio.run(main())) == expected


def test_variables_are_not_kept(board):
    """What a part of a request has let go of is gone, though it was looked at before."""

    async def part(scope):
        big = Big()
        refs.append(weakref.ref(big))
        await gates[0]
        del big
        await gates[1]

    async def app(scope, receive, send):
        await asyncio.gather(part(scope))

    async def main():
        loop = asyncio.get_running_loop()
        gates.extend(loop.create_future() for _ in range(2))
        task = asyncio.create_task(counted(app)(scope("/x"), None, None))
        await turned()
        assert names(await asyncio.to_thread(look, OfTasks(lambda: loop))) == {"/x": "part"}
        gates[0].set_result(None)
        await turned()
        lasts = refs[0]() is not None
        gates[1].set_result(None)
        await task
        return lasts

    class Big:
        pass

    refs, gates = [], []
    assert asyncio.run(main()) is False


@pytest.mark.parametrize("where", ["itself", "group"])
def test_a_blocked_loop(board, where):
    """The line that blocks it, and which requests only wait for the loop."""
    if where == "group" and anyio is None:
        pytest.skip("no anyio")
    begun, over = threading.Event(), threading.Event()

    async def app(scope, receive, send):
        if scope["path"] != "/blocks":
            await deep(gate)
        elif where == "group":
            await in_group(in_group, spinning, begun, over)
        else:
            spin(begun, over)

    seen = {}

    def watch(finder):
        try:
            begun.wait(WAIT)
            seen.update(look(finder))
        finally:
            over.set()

    async def main():
        nonlocal gate
        loop = asyncio.get_running_loop()
        gate = loop.create_future()
        watcher = threading.Thread(target=watch, args=(OfTasks(lambda: loop),))
        watcher.start()
        waits = asyncio.create_task(counted(app)(scope("/waits"), None, None))
        await turned()
        await counted(app)(scope("/blocks"), None, None)
        gate.set_result(None)
        await waits
        watcher.join()

    gate = None
    asyncio.run(main())
    assert names(seen) == {"/waits": f"deep{BLOCKED}", "/blocks": f"spin{BLOCKS}"}


def test_no_loop(board):
    """One that is not there yet, and one that is closed."""
    assert OfTasks(lambda: None).find([], {}) == {}
    assert OfTasks(lambda: None).others() == []
    loop = asyncio.new_event_loop()
    loop.close()
    assert OfTasks(lambda: loop).find([Flight(1, 0, 0, "GET", "/")], {}) == {}


def test_nothing_is_kept_alive(board):
    """A thousand requests, all of them told of, and none is there longer for it."""

    async def app(scope, receive, send):
        await deep(gate)

    async def main():
        nonlocal gate
        loop = asyncio.get_running_loop()
        gate = loop.create_future()
        finder = OfTasks(lambda: loop)
        calls = (counted(app)(scope(f"/k{i}"), None, None) for i in range(1000))
        tasks = list(map(asyncio.create_task, calls))
        await turned()
        known = await asyncio.to_thread(finder.others)
        assert {one.path for one in known} == {f"/k{i}" for i in range(1000)}
        where = await asyncio.to_thread(look, finder)
        assert set(names(where).values()) == {"deep"}
        gate.set_result(None)
        await asyncio.gather(*tasks)

    gate = None
    asyncio.run(main())
    gc.collect()
    kept = [one for one in gc.get_objects() if type(one) is asgi.Exchange]
    assert [one for one in kept if one.scope["path"].startswith("/k")] == []
