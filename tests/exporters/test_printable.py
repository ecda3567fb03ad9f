"""Texts that others have chosen, as they are shown."""

import pytest

from gunicorn_raindrops.exporters.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/caf\u00e9 \u65e5", "/caf\u00e9 \u65e5"),
        ("/a\nb\tc\r", r"/a\nb\tc\r"),
        ("\x1b]0;title\x07\x9b2J", r"\x1b]0;title\x07\x9b2J"),
        ("/\udcff\udc80", r"/\xff\x80"),
        ("\ud800", r"\ud800"),
        ("\u202egnp.exe\u2028", r"\u202egnp.exe\u2028"),
    ],
)
def test_printable(text, shown):
    """Letters stay; what steers a terminal, breaks a line or is no text is escaped."""
    assert printable(text) == shown
    assert printable(shown) == shown
