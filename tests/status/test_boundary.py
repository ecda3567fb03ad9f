"""The boundary: what fails behind it, and what is left to others."""

import pytest

from gunicorn_raindrops.status.boundary import Boundary


def failing(error):
    def fail(*_):
        raise error

    return fail


def test_what_is_well():
    """It is returned, and nothing is said."""
    assert Boundary(pytest.fail).run("broken", lambda: 7, 8) == 7


@pytest.mark.parametrize("error", [MemoryError(), LookupError("lost"), OSError(24, "too many")])
def test_what_fails(error):
    """It is warned of, and the other value is returned; each time."""
    warned = []
    boundary = Boundary(warned.append)
    for _ in range(2):
        assert boundary.run("broken", failing(error), 8) == 8
    assert warned == [f"broken: {type(error).__name__}: {error}"] * 2


def test_a_warning_that_fails():
    """It is dropped: there may be no memory for it either."""
    assert Boundary(failing(MemoryError())).run("broken", failing(MemoryError()), 8) == 8


def test_an_end():
    """Who ends the process is not held up."""
    with pytest.raises(SystemExit):
        Boundary(pytest.fail).run("broken", failing(SystemExit()), 8)
