"""How the hooks get into a conf."""

import functools

import pytest
from gunicorn.config import KNOWN_SETTINGS, Config

import gunicorn_raindrops
from gunicorn_raindrops import conf, hooks
from gunicorn_raindrops.hooks import state

from .conftest import REQUEST, configured

SETTINGS = {setting.name for setting in KNOWN_SETTINGS}


def starred(module):
    """Return what `from module import *` brings."""
    namespace = {}
    exec(f"from {module} import *", namespace)
    del namespace["__builtins__"]
    return namespace


def test_all_of_them_are_hooks():
    """`import *` sets gunicorn's hooks and no other of its settings, and no helper of ours."""
    assert len(set(hooks.__all__)) == len(hooks.__all__)
    for name in hooks.__all__:
        assert name in SETTINGS
        assert callable(getattr(hooks, name))
    assert set(starred("gunicorn_raindrops.hooks")) == set(hooks.__all__)
    cfg = Config()
    for name in hooks.__all__:
        assert cfg.settings[name].section == "Server Hooks"


def test_the_shipped_conf():
    """It has the same hooks and nothing else."""
    assert starred("gunicorn_raindrops.conf") == starred("gunicorn_raindrops.hooks")
    assert {name for name in vars(conf) if name in SETTINGS} == set(hooks.__all__)


@pytest.mark.parametrize("by", ["star", "install", "both", "conf"])
def test_gunicorn_takes_them(by):
    """Each way in sets each hook, by gunicorn's own validators, and nothing else."""
    namespace = {} if by in ("install", "conf") else starred("gunicorn_raindrops.hooks")
    if by == "conf":
        namespace = vars(conf)
    elif by != "star":
        hooks.install(namespace)
    cfg, default = configured(namespace), Config()
    for name, setting in cfg.settings.items():
        if name in hooks.__all__:
            assert setting.get().__module__.startswith("gunicorn_raindrops.hooks.")
        else:
            assert setting.get() == default.settings[name].get()


def test_install_is_found_on_the_package():
    """A conf that imports the package alone can call it."""
    assert gunicorn_raindrops.hooks.install is hooks.install


def test_twice_changes_nothing(calls):
    """A second call leaves hooks and settings as the first made them."""
    namespace = {"pre_request": calls.hook("pre_request", 2)}
    hooks.install(namespace, token="first")
    before = dict(namespace)
    hooks.install(namespace, token="second", bind="")
    assert namespace == before
    assert state.keywords == {"token": "first"}
    namespace["pre_request"](None, REQUEST)
    assert len(calls) == 1


def test_a_conf_that_is_run_again():
    """At a HUP the conf has new globals: they get the hooks, and the new settings count."""
    for token in ("first", "second"):
        namespace = {}
        hooks.install(namespace, token=token)
        assert set(hooks.__all__) <= set(namespace)
        assert state.keywords == {"token": token}


def test_star_then_install():
    """Ours are not wrapped around ours."""
    namespace = starred("gunicorn_raindrops.hooks")
    hooks.install(namespace, bind="")
    for name in hooks.__all__:
        assert namespace[name] is getattr(hooks, name)


def test_a_conf_on_a_conf(calls):
    """Hooks that are ours already are not wrapped again, also those that a string names. A hook
    that has the name and the attributes of one of ours, by functools.wraps, is somebody else's."""
    base = {"pre_fork": calls.hook("pre_fork", 2), "on_exit": "gunicorn_raindrops.hooks.on_exit"}
    hooks.install(base, token="base")
    assert base["on_exit"] is hooks.on_exit
    wrapped = functools.wraps(hooks.child_exit)(calls.hook("child_exit", 2))
    conf = {**base, "child_exit": wrapped}
    hooks.install(conf, token="conf")
    assert {name for name in hooks.__all__ if conf[name] is not base[name]} == {"child_exit"}
    assert conf["child_exit"] is not wrapped
    assert state.keywords == {"token": "conf"}


def test_options_are_keywords():
    """Only the globals go by position."""
    with pytest.raises(TypeError):
        hooks.install({}, "127.0.0.1:9180")
