"""Turns of an event loop, for tests that look at what stands on it."""

import asyncio

TURNS = 20
"""More than the tasks of any test begin one another."""


async def turned():
    """Let all tasks run up to where they wait for more than one another.

    A loop runs in a turn what was ready at its begin, however long that takes. So a number of turns
    is enough or not on any machine, where a time would be enough on a fast one only.
    """
    for _ in range(TURNS):
        await asyncio.sleep(0)
