"""What stands in for an application: seen as the application, and called as we are."""

import gc
import inspect
import weakref

import pytest

from gunicorn_raindrops._native._objects import StandIn


class App(dict):
    """An application with all that can be looked at."""

    jobs = "the jobs"

    def __call__(self, *args, **kwargs):
        return args, kwargs

    def __repr__(self):
        return "an App"

    def __hash__(self):
        return 7


def test_it_is_seen_as_the_application():
    """Attributes, those that are set and deleted, too; its class; comparison; items."""
    app = App(a=1)
    one = StandIn(app)
    assert isinstance(one, App)
    assert (one.jobs, repr(one), str(one), hash(one), len(one)) == (
        "the jobs",
        "an App",
        "an App",
        7,
        1,
    )
    one.more = 1
    assert app.more == 1
    del one.more
    with pytest.raises(AttributeError, match="more"):
        one.more  # noqa: B018
    assert one == app
    assert app == one
    assert one == StandIn(app)
    assert one != {}
    one["b"] = 2
    del one["a"]
    assert (list(one), "b" in one, one["b"], bool(one)) == (["b"], True, 2, True)
    assert dir(one) == dir(app)


def test_a_call_of_it_alone():
    """Is one of the application, with whatever it is given, and of `after` once that returned."""
    calls = []
    one = StandIn(App(), after=lambda: calls.append(1))
    assert one(1, 2, key=3) == ((1, 2), {"key": 3})
    assert calls == [1]
    with pytest.raises(ZeroDivisionError):
        StandIn(lambda: 1 / 0, after=lambda: calls.append(2))()
    with pytest.raises(ZeroDivisionError):
        StandIn(App(), after=lambda: 1 / 0)()
    assert calls == [1]


def test_a_call_in_its_place():
    """Where there is `call`, that is called, and the application not."""
    assert StandIn(None, call=lambda *args: args)(1, 2) == (1, 2)


async def coroutine():
    """Nothing."""


def test_a_coroutine_function():
    """Is one to those who ask."""
    assert inspect.iscoroutinefunction(StandIn(coroutine, call=len))


def test_what_an_application_cannot():
    """Cannot be done by what stands in for it, with the same error."""
    for act in (len, iter, lambda one: one[0]):
        with pytest.raises(TypeError) as alone:
            act(coroutine)
        with pytest.raises(TypeError) as with_us:
            act(StandIn(coroutine))
        assert str(alone.value) == str(with_us.value)


@pytest.mark.parametrize("args", [(), (1, 2), (1, 2, 3)])
def test_what_is_refused(args):
    """Options go by name."""
    with pytest.raises(TypeError):
        StandIn(*args)


def test_nothing_stays_behind():
    """An application that refers to what stands in for it is collected, and that with it."""

    class Plain:
        pass

    app = Plain()
    app.worker = StandIn(app, call=app, after=app)
    gone = weakref.ref(app.worker), weakref.ref(app)
    del app
    gc.collect()
    assert [one() for one in gone] == [None, None]
