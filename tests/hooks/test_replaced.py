"""A user's hooks in place of ours."""

import functools
from types import SimpleNamespace

import pytest

from gunicorn_raindrops import hooks
from gunicorn_raindrops.hooks import replaced


def by_hand(server):
    hooks.on_exit(server)


def settings_of(hooks_):
    return {name: SimpleNamespace(get=lambda hook=hook: hook) for name, hook in hooks_.items()}


def closed_over(ours):
    return lambda server: ours(server)


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
