"""From a coroutine to what it waits for."""

import asyncio
import types

from gunicorn_raindrops.looking import chains


def names(awaitable):
    """Return the functions on the way."""
    return [frame.f_code.co_name for frame, _ in chains.walk(awaitable) if frame is not None]


async def inner(future):
    await future


async def generated(future):
    await inner(future)
    yield 1


class Custom:
    def __init__(self, awaitable):
        self.awaitable = awaitable

    def __await__(self):
        return (yield from self.awaitable.__await__())


@types.coroutine
def old(future):
    yield from future


async def outer(future, how):
    if how == "generator":
        async for _ in generated(future):
            pass
    elif how == "custom":
        await Custom(inner(future))
    elif how == "old":
        await old(future)
    elif how == "gather":
        await asyncio.gather(inner(future))
    else:
        await inner(future)


WAYS = {
    "coroutine": ["outer", "inner"],
    "generator": ["outer", "generated", "inner"],
    "custom": ["outer", "__await__", "inner"],
    "old": ["outer", "old"],
    "gather": ["outer"],
}


def test_each_way():
    """Coroutines, asynchronous generators, own awaitables, old coroutines; not into other tasks."""

    async def main():
        loop = asyncio.get_running_loop()
        for how, expected in WAYS.items():
            future = loop.create_future()
            task = loop.create_task(outer(future, how))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert names(task.get_coro()) == expected, how
            if how not in ("gather", "custom"):
                assert list(chains.walk(task.get_coro()))[-1][1] is future, how
            future.set_result(None)
            await task
            assert names(task.get_coro()) == []

    asyncio.run(main())


def test_a_chain_without_end():
    """Is followed up to a bound."""

    async def deep(n, future):
        await (deep(n - 1, future) if n else future)

    async def main():
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(deep(2 * chains.MOST, future))
        await asyncio.sleep(0)
        assert len(names(task.get_coro())) == chains.MOST
        future.set_result(None)
        await task

    asyncio.run(main())


def test_nothing_to_follow():
    """What is no coroutine leads nowhere."""
    assert list(chains.walk(None)) == []
    assert [frame for frame, _ in chains.walk(object())] == [None]
