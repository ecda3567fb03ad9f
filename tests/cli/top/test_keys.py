"""Bytes of a terminal, as keys."""

import pytest

from gunicorn_raindrops.cli.top.keys import Keys

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"qS/ ", ["q", "S", "/", " "]),
        (b"\x1b[A\x1bOB\x1b[5~\x1b[6~", ["up", "down", "page up", "page down"]),
        (b"\r\n\x7f\x1b", ["enter", "enter", "backspace", "escape"]),
        (b"\x1b[1;5C\x1b[200~x\x00\x07", ["x"]),
        ("caf\u00e9".encode(), ["c", "a", "f", "\u00e9"]),
        (b"\xffa", ["a"]),
    ],
)
def test_keys(data, keys):
    """Letters are themselves, and what is not known is nothing."""
    assert Keys().of(data) == keys


def test_a_letter_in_two_pieces():
    """It is put together."""
    keys = Keys()
    assert keys.of(b"\xc3") + keys.of(b"\xa9") == ["\u00e9"]
