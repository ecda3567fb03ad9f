"""A user's hooks in place of ours."""

import functools
from types import ModuleType, SimpleNamespace

import pytest

from gunicorn_raindrops import hooks
from gunicorn_raindrops.hooks import replaced


def by_hand(server):
    hooks.on_exit(server)


def settings_of(hooks_):
    return {name: SimpleNamespace(get=lambda hook=hook: hook) for name, hook in hooks_.items()}


def closed_over(ours):
    return lambda server: ours(server)


def decorated(hook):
    @functools.wraps(hook)
    def inner(*args):
        return hook(*args)

    return inner


class All:
    def __init__(self, *hooks_):
        self.hooks = hooks_

    def call(self, server):
        for hook in self.hooks:
            hook(server)


class Absent:
    """As a proxy of Flask's outside of a request."""

    def __getattribute__(self, name):
        raise RuntimeError(name)


CURRENT = Absent()
OURS = [hooks.on_exit]
AGENT = ModuleType("agent")
AGENT.on_exit = lambda server: None
AWARE = ModuleType("aware")
AWARE.on_exit = by_hand


class Called:
    def __call__(self, server):
        """Nobody knows what it calls."""


@pytest.mark.parametrize(
    ("hook", "is_missing"),
    [
        (hooks.on_exit, False),
        (by_hand, False),
        (closed_over(hooks.on_exit), False),
        (closed_over(print), True),
        (functools.partial(by_hand), False),
        (functools.wraps(hooks.on_exit)(closed_over(print)), False),
        (Called(), False),
        (Called().__call__, True),
        (lambda server: None, True),
        (decorated(by_hand), False),
        (decorated(decorated(by_hand)), False),
        (decorated(lambda server: None), True),
        (All(print, hooks.on_exit).call, False),
        (All(print).call, True),
        (lambda server: [hook(server) for hook in OURS], False),
        (lambda server, *, known=hooks.on_exit: known(server), False),
        (lambda server, known=by_hand: known(server), False),
        (lambda server: (lambda: hooks.on_exit(server))(), False),
        (lambda server: AGENT.on_exit(server), True),
        (lambda server: AWARE.on_exit(server), False),
        (lambda server: CURRENT, True),
        (lambda server: server.cfg.settings["on_exit"].get()(server), False),
    ],
)
def test_a_hook_in_place_of_ours(hook, is_missing):
    """One that calls ours is none in its place."""
    ours = {name: getattr(hooks, name) for name in hooks.__all__}
    found = ours | {"on_exit": hook}
    cfg = SimpleNamespace(settings=settings_of(found))
    assert replaced.in_conf(cfg, has_hooks=True) == ["on_exit"] * is_missing
    cfg = SimpleNamespace(**found, settings=settings_of(ours))
    assert replaced.on_class(cfg) == ["on_exit"] * is_missing
