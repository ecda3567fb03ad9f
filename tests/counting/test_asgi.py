"""An ASGI request as the server and the application see it: a coroutine to await, a send to call.

test_middleware.py tests what counts when, as a user sees it. Here is what else must be true of what
stands between the two, in the attached slot and in one that a process holds itself.
"""

import asyncio
import contextlib
import errno
import gc
import inspect
import os
import sys
import types
import weakref
from collections.abc import Coroutine, MutableMapping

import pytest

from gunicorn_raindrops.counting import asgi, attached, slots
from gunicorn_raindrops.counting.asgi import Exchange
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.worker_classes.asgi import AroundASGI


class Around(AroundASGI):
    """Around the application, under a server that sends what most do."""

    exchange = staticmethod(lambda: Exchange)


SCOPE = {"type": "http", "method": "GET", "path": "/a"}
START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"x"}


@pytest.fixture(params=["attached", "held"])
def within(request, fork):
    """Return a function that calls `body(counting, totals)` in a child: `counting(application)`
    counts an application's requests, `totals()` tells what was counted."""
    board = Scoreboard(1)
    claim = board.claim()

    def totals():
        reading = board.read()
        gauges = [(row.calling, row.writing) for row in reading.rows]
        return gauges, reading.requests, reading.responses, reading.errors

    def child(link, body):
        if request.param == "attached":
            assert attached.take_over(board, claim, 1, 1)
            body(lambda application: Around().around(application, None), totals)
            return
        held = slots.BoardSlot(board, claim, board.take_over_slot(claim))

        def counting(application):
            async def counted(scope, *channels):
                ticket = held.begin(scope["method"], scope["path"])
                return await asgi.call(application, held, ticket, scope, *channels)

            return counted

        body(counting, totals)

    yield lambda body: fork(child, body).check()
    os.close(board.fileno())


def ended(*hundreds, errors=0):
    """Return the totals of these requests, by their classes, with none in flight; 0 has none."""
    return [(0, 0)], len(hundreds), tuple(hundreds.count(n) for n in (1, 2, 3, 4, 5)), errors


async def receive():
    return {"type": "http.request", "body": b""}


async def send(message):
    """The server's: it takes anything."""


async def answer(scope, receive, send):
    await send(START)
    await send(BODY)


def test_what_the_server_awaits(within):
    """It is a coroutine by all that asyncio asks, and is awaited once."""

    def body(counting, totals):
        counted = counting(answer)

        async def serve():
            awaitable = counted(SCOPE, receive, send)
            assert isinstance(awaitable, Coroutine)
            assert await asyncio.create_task(awaitable) is None
            with pytest.raises(RuntimeError, match="already awaited"):
                await awaitable

        asyncio.run(serve())
        assert totals() == ended(2)

    within(body)


def test_two_who_await_it(within):
    """The second is refused, as it is a coroutine's, and the first does not notice."""

    def body(counting, totals):
        async def application(scope, receive, send):
            await asyncio.sleep(0)
            await answer(scope, receive, send)

        async def serve():
            awaitable = counting(application)(SCOPE, receive, send)
            first = asyncio.create_task(awaitable)
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="being awaited already"):
                await awaitable
            await first

        asyncio.run(serve())
        assert totals() == ended(2)

    within(body)


def test_debug_mode(within):
    """asyncio's debugging, and a tracer, see nothing odd."""

    def body(counting, totals):
        counted = counting(answer)

        async def serve():
            await asyncio.gather(*(counted(SCOPE, receive, send) for _ in range(3)))

        sys.settrace(lambda *_: None)
        try:
            asyncio.run(serve(), debug=True)
        finally:
            sys.settrace(None)
        assert totals() == ended(2, 2, 2)

    within(body)


def test_its_result(within):
    """What the application returns is returned, whatever an exception would make of it."""

    def body(counting, totals):
        for result in (None, 7, (1, 2), StopIteration(3)):

            async def application(scope, receive, send, result=result):
                await send(START)
                await asyncio.sleep(0)
                return result

            assert asyncio.run(run(counting(application))) is result
        assert totals() == ended(2, 2, 2, 2)

    within(body)


async def run(counted, scope=SCOPE, send=send):
    return await counted(scope, receive, send)


class Later:
    """An awaitable that is no coroutine."""

    def __init__(self, coroutine):
        self.coroutine = coroutine

    def __await__(self):
        return self.coroutine.__await__()


@types.coroutine
def generator(scope, receive, send):
    yield from answer(scope, receive, send)


@pytest.mark.parametrize(
    "application",
    [
        lambda *args: Later(answer(*args)),
        generator,
        lambda *args: asyncio.ensure_future(answer(*args)),
    ],
    ids=["awaitable", "generator", "task"],
)
def test_applications_that_are_no_coroutine_functions(within, application):
    def body(counting, totals):
        counted = counting(application)

        async def serve():
            await counted(SCOPE, receive, send)

        asyncio.run(serve())
        assert totals() == ended(2)

    within(body)


def test_an_application_that_returns_no_awaitable(within):
    """The server's await says so."""

    def body(counting, totals):
        for result in (7, (answer,), (answer, 7)):
            counted = counting(lambda *_, result=result: result)
            with pytest.raises(TypeError, match=rf"{type(result).__name__}'? (object )?can't be"):
                asyncio.run(run(counted))
        assert totals() == ended(5, 5, 5, errors=3)

    within(body)


def test_an_application_that_raises_when_called(within):
    """Before there is anything to await."""

    def application(scope, receive, send):
        raise LookupError

    def body(counting, totals):
        counted = counting(application)
        with pytest.raises(LookupError):
            asyncio.run(run(counted))
        assert totals() == ended(5, errors=1)

    within(body)


@pytest.mark.parametrize("how", ["dropped", "closed", "thrown", "collected", "closed early"])
def test_a_request_that_is_given_up(within, how):
    """However that happens, it leaves the gauges as a cancelled one, and the application learns of
    it. One that never ran was no request."""

    def body(counting, totals):
        learnt = []

        async def application(scope, receive, send):
            try:
                await send(START)
                await pause()
            except BaseException as error:
                learnt.append(type(error))
                raise

        awaitable = counting(application)(SCOPE, receive, send)
        if how != "closed early":
            awaitable.send(None)
        if how == "thrown":
            with pytest.raises(asyncio.CancelledError):
                awaitable.throw(asyncio.CancelledError())
            assert learnt == [asyncio.CancelledError]
        elif how.startswith("closed"):
            awaitable.close()
            awaitable.close()
        del awaitable
        gc.collect()
        assert len(learnt) == (how != "closed early")
        assert totals() == (ended() if how == "closed early" else ended(2))

    within(body)


@types.coroutine
def pause():
    yield


def test_nothing_is_left_of_a_request(within):
    """No reference cycle: it is gone when it has ended, also by an exception."""

    def body(counting, totals):
        gone = []

        class Message(dict):
            """A dict that can be watched."""

        async def application(scope, receive, send):
            message = Message(START)
            gone.append(weakref.ref(message))
            await send(message)
            if scope["path"] == "/fail":
                raise LookupError
            await send(BODY)

        counted = counting(application)

        async def serve(path):
            with contextlib.suppress(LookupError):
                await counted({**SCOPE, "path": path}, receive, send)

        gc.disable()
        asyncio.run(serve("/"))
        asyncio.run(serve("/fail"))
        assert [one() for one in gone] == [None, None]
        assert totals() == ended(2, 2, errors=1)

    within(body)


def test_no_memory_is_left_behind(within):
    def body(counting, totals):
        counted = counting(answer)

        async def serve(times):
            for _ in range(times):
                await counted(SCOPE, receive, send)

        asyncio.run(serve(100))
        gc.collect()
        before = sys.getallocatedblocks()
        asyncio.run(serve(10_000))
        gc.collect()
        assert sys.getallocatedblocks() - before < 1000

    within(body)


@pytest.mark.parametrize(
    ("error", "hundreds", "errors"),
    [
        (OSError("gone"), 0, 0),
        (FileNotFoundError(errno.ENOENT, "the server's"), 5, 1),
        (RuntimeError("a second start"), 5, 1),
    ],
    ids=["client", "file", "server"],
)
@pytest.mark.parametrize("how", ["coroutine", "future", "called"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_start_that_the_server_refuses(within, error, hundreds, errors, how, wrapped):
    """Its status was never sent. So servers say that the client is gone: by an OSError."""

    async def refuse():
        raise error

    def refusing(message):
        if how == "called":
            raise error
        return Later(refuse()) if how == "future" else refuse()

    async def application(scope, receive, send):
        try:
            await send(START)
        except Exception as refused:
            if not wrapped:
                raise
            raise LookupError("mine") from refused

    def body(counting, totals):
        with pytest.raises(LookupError if wrapped else type(error)):
            asyncio.run(run(counting(application), send=refusing))
        assert totals() == ended(hundreds, errors=errors)

    within(body)


async def swallow(send, message):
    with contextlib.suppress(Exception):
        await send(message)


async def swallows(scope, receive, send):
    await swallow(send, START)


async def swallows_and_goes_on(scope, receive, send):
    await swallow(send, START)
    await swallow(send, BODY)


async def swallows_and_raises(scope, receive, send):
    await swallow(send, START)
    raise LookupError


async def starts_again(scope, receive, send):
    await swallow(send, {"type": "http.response.debug"})
    await send({**START, "status": 404, "good": True})
    await swallow(send, START)
    raise LookupError


@pytest.mark.parametrize(
    ("application", "error", "hundreds", "errors"),
    [
        (swallows, RuntimeError, 5, 0),
        (swallows, OSError, 0, 0),
        (swallows_and_goes_on, RuntimeError, 5, 0),
        (swallows_and_raises, RuntimeError, 5, 1),
        (swallows_and_raises, OSError, 0, 0),
        (starts_again, RuntimeError, 4, 1),
    ],
)
def test_a_refusal_that_the_application_swallows(within, application, error, hundreds, errors):
    """What counts is what the server has taken, whatever is raised, and when."""

    async def refusing(message):
        if not message.get("good"):
            raise error

    def body(counting, totals):
        with contextlib.suppress(LookupError):
            asyncio.run(run(counting(application), send=refusing))
        assert totals() == ended(hundreds, errors=errors)

    within(body)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_start_that_is_never_awaited(within):
    """The server never gets it."""

    async def application(scope, receive, send):
        send(START)

    def body(counting, totals):
        asyncio.run(run(counting(application)))
        assert totals() == ended(5)

    within(body)


def test_a_start_in_which_the_request_is_cancelled(within):
    """Nobody has got a status."""

    async def serve(counted):
        starting = asyncio.Event()

        async def waiting(message):
            starting.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(counted(SCOPE, receive, waiting))
        await starting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def body(counting, totals):
        asyncio.run(serve(counting(answer)))
        assert totals() == ended(0)

    within(body)


def test_an_error_of_the_applications_own_after_the_start(within):
    """It did not come out of the server's send, so the status stands."""

    async def application(scope, receive, send):
        await send({**START, "status": 404})
        raise OSError("a file")

    def body(counting, totals):
        with pytest.raises(OSError, match="a file"):
            asyncio.run(run(counting(application)))
        assert totals() == ended(4, errors=1)

    within(body)


class Odd(MutableMapping):
    """A mapping that is no dict."""

    def __init__(self, items):
        self.items_ = items

    def __getitem__(self, key):
        return self.items_[key]

    def __setitem__(self, key, value):
        raise TypeError

    def __delitem__(self, key):
        raise TypeError

    def __iter__(self):
        return iter(self.items_)

    def __len__(self):
        return len(self.items_)


class Text(str):
    """A str that is not exactly one."""


def passed_on(counting, *messages):
    """Return what reaches the server when an application sends these."""
    took = []

    async def application(scope, receive, send):
        for message in messages:
            await send(message)

    async def taking(message):
        took.append(message)

    asyncio.run(run(counting(application), send=taking))
    return took


@pytest.mark.parametrize(
    ("start", "hundreds"),
    [
        (Odd(START), 2),
        ({**START, "type": Text(START["type"])}, 2),
        ({"type": START["type"], "status": 404}, 4),
        ({**START, "status": True}, 0),
        ({**START, "status": None}, 0),
        ({**START, "status": -1}, 0),
        ({**START, "status": 10**30}, 0),
        ({**START, "status": "200"}, 0),
        ({"type": START["type"]}, 0),
        ({**START, "trailers": False}, 2),
    ],
)
def test_odd_starts(within, start, hundreds):
    """What is in it is for the server to refuse: no request fails here."""

    def body(counting, totals):
        assert passed_on(counting, start, BODY)[0] is start
        assert totals() == ended(hundreds)

    within(body)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": None},
        {"type": "http.response"},
        {"type": "http.response.debug"},
        {"type": "\udc80"},
        {"type": "http.response.body", "body": bytearray(b"x")},
        {"type": "http.response.body", "body": memoryview(b"x")},
        {"type": "http.response.body", "body": b"x" * 100_000},
        {"type": "http.response.body", "body": b"", "more_body": 0},
        {"type": "http.response.body", "more_body": True},
        {"type": "http.response.body"},
        Odd(BODY),
        Odd({}),
        [],
        None,
    ],
)
def test_odd_messages(within, message):
    """They reach the server as they are; the request ends once."""

    def body(counting, totals):
        assert passed_on(counting, START, message)[1] is message
        assert totals() == ended(2)

    within(body)


def test_sent_too_much_or_too_little(within):
    """Calls that the server would refuse are refused by the server."""

    def body(counting, totals):
        async def application(scope, receive, send):
            for args, kwargs in (((), {}), ((START, BODY), {}), ((START,), {"x": 1})):
                with pytest.raises(TypeError, match="argument"):
                    await send(*args, **kwargs)
            await send(message=START)
            await send(message=BODY)

        asyncio.run(run(counting(application)))
        assert totals() == ended(2)

    within(body)


@pytest.mark.parametrize("body_", [BODY, {**BODY, "more_body": True}])
def test_after_the_end(within, body_):
    """An application may hold its send for longer than its request; nothing counts then."""

    def body(counting, totals):
        held = []

        async def application(scope, receive, send):
            held.append(send)
            await answer(scope, receive, send)

        async def serve():
            await counting(application)(SCOPE, receive, send)
            await held[0](START)
            await held[0](body_)

        asyncio.run(serve())
        assert totals() == ended(2)

    within(body)


def test_send_and_receive_are_coroutine_functions(within):
    """By all that libraries ask, and they can be called from a thread as Django's asgiref does."""
    sync = pytest.importorskip("asgiref.sync")

    def body(counting, totals):
        async def application(scope, receive, send):
            assert asyncio.iscoroutinefunction(receive)
            if sys.version_info >= (3, 12):
                assert inspect.iscoroutinefunction(send)
            else:
                assert asyncio.iscoroutinefunction(send)
            assert weakref.ref(send)() is send
            assert (await receive())["type"] == "http.request"
            await asyncio.to_thread(sync.async_to_sync(send), START)
            await send(BODY)

        asyncio.run(run(counting(application)))
        assert totals() == ended(2)

    within(body)


@pytest.mark.parametrize(
    "scope",
    [Odd(SCOPE), {**SCOPE, "path": "\udc80"}, {"type": Text("http"), "method": None, "path": 7}],
)
def test_odd_scopes(fork, scope):
    """They count, if their type says HTTP."""
    board = Scoreboard(1)
    claim = board.claim()

    def child(link):
        assert attached.take_over(board, claim, 1, 1)
        asyncio.run(run(Around().around(answer, None), scope))
        assert board.read().requests == 1

    fork(child).check()
    os.close(board.fileno())


@pytest.mark.parametrize("raised", [None, LookupError])
def test_a_slot_that_fails(caplog, raised):
    """It costs nobody a request, nor hides what the application raised."""

    class Failing:
        def respond(self, ticket):
            raise ZeroDivisionError

        def end(self, ticket, how):
            raise ZeroDivisionError

        fail = respond

    async def application(scope, receive, send):
        await send({**START, "status": 500})
        await send(BODY)
        if raised:
            raise raised

    coroutine = asgi.call(application, Failing(), 1, SCOPE, receive, send)
    with pytest.raises(raised or StopIteration):
        coroutine.send(None)
    failures = [record.exc_info[0] for record in caplog.records]
    assert failures == [ZeroDivisionError, ZeroDivisionError] + [TypeError] * (raised is not None)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_request_that_is_never_awaited(within):
    """It never ran, so it counts nothing."""

    def body(counting, totals):
        counting(answer)(SCOPE, receive, send)
        gc.collect()
        assert totals() == ended()

    within(body)


def awaiting(coroutine):
    """Return the names of the coroutines from one to the innermost that it waits in, and the frame
    of that."""
    names = []
    while isinstance(coroutine, types.CoroutineType):
        names.append(coroutine.cr_code.co_name)
        frame, coroutine = coroutine.cr_frame, coroutine.cr_await
    return names, frame


async def innermost(waiting):
    waiting.append(sys._getframe())
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("scope", [SCOPE, {"type": "websocket", "path": "/a"}], ids=["http", "ws"])
def test_where_a_request_waits(within, scope):
    """`cr_await` leads from the server's task to the frame in which the application waits, also
    within a send or a receive."""

    async def inner(waiting, receive, send):
        await innermost(waiting)

    async def sends(waiting, receive, send):
        await send({"type": "http.response.body", "more_body": True})

    async def receives(waiting, receive, send):
        await receive()

    async def serve(counting, middle):
        waiting = []

        async def application(scope, receive, send):
            await middle(waiting, receive, send)

        async def channel(*_):
            await innermost(waiting)

        if scope["type"] == "http":
            counted = counting(application)
        else:
            counted = Around().around(application, None)
        task = asyncio.create_task(counted(scope, channel, channel))
        while not waiting:
            await asyncio.sleep(0)
        names, frame = awaiting(task.get_coro())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert frame is waiting[0]
        return names[names.index("application") :]

    def body(counting, totals):
        between = {inner: [], sends: ["send", "channel"], receives: ["receive", "channel"]}
        for middle, names in between.items():
            expected = ["application", middle.__name__, *names, "innermost"]
            assert asyncio.run(serve(counting, middle)) == expected

    within(body)
