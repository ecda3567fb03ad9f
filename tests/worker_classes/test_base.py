"""What takes an application's place on its worker."""

from gunicorn_raindrops.worker_classes.base import in_place_of


def test_in_place_of_a_function():
    """Another function, with its name and one dictionary of attributes with it, whenever they are
    set."""

    def application():
        """The user's."""

    application.jobs = 1

    def counted():
        return 2

    placed = in_place_of(application, counted)
    assert (placed.__name__, placed.__doc__, placed.jobs) == ("application", "The user's.", 1)
    placed.more = application.less = 3
    assert (application.more, placed.less) == (3, 3)
    assert placed() == 2
    assert not hasattr(application, "__wrapped__")


def test_in_place_of_an_object():
    """Calls `counted`; or, where that does no more than to call `after` after it, the object."""

    class Application:
        def __call__(self):
            return calls.append("application")

    calls, application = [], Application()
    for after in (None, lambda: calls.append("after")):
        placed = in_place_of(application, lambda: calls.append("counted"), after=after)
        assert isinstance(placed, Application)
        placed()
    assert calls == ["counted", "application", "after"]
