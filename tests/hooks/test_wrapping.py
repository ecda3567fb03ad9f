"""The hooks beside a user's own."""

from types import SimpleNamespace

import pytest

from gunicorn_raindrops import hooks
from gunicorn_raindrops.hooks import state

from .conftest import ARITY, REQUEST, Calls, Worker, configured, response


@pytest.mark.parametrize("name", hooks.__all__)
def test_a_users_hook_still_runs(calls, name, monkeypatch):
    """Once, with what gunicorn gave it, and so does ours: ours first, but last where it wraps the
    application, and around where it ends the request."""
    ours = []
    arity = ARITY.get(name, 1)
    monkeypatch.setattr(hooks, name, Calls.hook(ours_calls := Calls(), name, arity))

    def note(*args):
        ours.append(len(calls))

    monkeypatch.setattr(state.process, "strategy", SimpleNamespace(begin=note, end=note))
    namespace = {name: calls.hook(name, arity)}
    hooks.install(namespace)
    args = [SimpleNamespace(method="GET", path="/") for _ in range(arity)]
    configured(namespace).settings[name].get()(*args)
    assert calls == [(name, tuple(args))]
    if name == "pre_request":
        assert ours == [0]
    elif name == "post_request":
        assert ours == [1]
    else:
        assert list(ours_calls) == [(name, tuple(args))]


def test_who_comes_first(calls, monkeypatch):
    """The scoreboard is there before a user's hook runs; what a user's post_worker_init puts
    around the application is inside of what ours does."""
    for name in ("on_starting", "pre_fork", "post_worker_init"):
        arity = ARITY.get(name, 1)
        monkeypatch.setattr(hooks, name, calls.hook(f"our_{name}", arity))
        namespace = {name: calls.hook(name, arity)}
        hooks.install(namespace)
        calls.clear()
        namespace[name](*[None] * arity)
        order = [f"our_{name}", name]
        assert [one for one, _ in calls] == (order[::-1] if name == "post_worker_init" else order)


@pytest.mark.parametrize("arity", [2, 3, 4])
def test_post_request_of_each_arity(calls, arity, fork):
    """A user's may take 2, 3 or 4 arguments, as gunicorn lets it."""
    namespace = {"post_request": calls.hook("post_request", arity)}
    hooks.install(namespace)
    post_request = configured(namespace).post_request
    args = (Worker(None), REQUEST, {"a": 1}, response())
    post_request(*args)
    assert calls == [("post_request", args[:arity])]


def user_pre_request(worker, req):
    """A hook that is named in a string."""
    req.seen.append("pre")


def user_post_request(worker, req):
    """The same, with two arguments."""
    req.seen.append("post")


def user_on_exit(server):
    """The same, in the arbiter."""
    server.seen.append("exit")


def test_hooks_as_strings():
    """A hook can be a dotted name."""
    namespace = {
        "pre_request": f"{__name__}.user_pre_request",
        "post_request": f"{__name__}.user_post_request",
        "on_exit": f"{__name__}.user_on_exit",
    }
    hooks.install(namespace)
    cfg = configured(namespace)
    req = SimpleNamespace(seen=[], **vars(REQUEST))
    cfg.pre_request(Worker(cfg), req)
    cfg.post_request(Worker(cfg), req, {}, response())
    server = SimpleNamespace(seen=req.seen)
    cfg.on_exit(server)
    assert req.seen == ["pre", "post", "exit"]


def test_hooks_of_other_kinds(calls):
    """An object that can be called and a bound method are hooks as well."""

    class Hook:
        def __call__(self, worker, req):
            calls.append("object")

        def method(self, worker, req, environ, resp):
            calls.append("method")

    namespace = {"pre_request": Hook(), "post_request": Hook().method}
    hooks.install(namespace)
    cfg = configured(namespace)
    cfg.pre_request(Worker(cfg), REQUEST)
    cfg.post_request(Worker(cfg), REQUEST, {}, response())
    assert calls == ["object", "method"]


@pytest.mark.parametrize("name", hooks.__all__)
@pytest.mark.parametrize("arity", [0, 1, 2, 3, 4])
def test_a_wrong_arity_is_gunicorns_affair(calls, name, arity):
    """gunicorn refuses what it would refuse without us, and takes what it would take."""

    def takes(namespace):
        try:
            configured(namespace)
        except TypeError:
            return False
        return True

    alone = {name: calls.hook(name, arity)}
    wrapped = dict(alone)
    hooks.install(wrapped)
    assert takes(wrapped) == takes(alone)


@pytest.mark.parametrize(
    "hook", ["nothing.there", "nodots", "os.nothing_there", "os.sep", None, 5, lambda *args: None]
)
@pytest.mark.parametrize("name", ["pre_request", "post_request", "on_starting"])
def test_what_is_no_hook_is_gunicorns_affair(name, hook):
    """So is a name that leads nowhere, and what cannot be called: the same complaint."""
    with pytest.raises(TypeError) as alone:
        configured({name: hook})
    namespace = {name: hook}
    hooks.install(namespace)
    with pytest.raises(TypeError) as wrapped:
        configured(namespace)
    assert str(wrapped.value) == str(alone.value)
