"""The RAINDROPS_* variables: the token's file, and those that are no settings."""

import os

import pytest

from gunicorn_raindrops.settings import load, unknown

FILE = "RAINDROPS_TOKEN_FILE"


def test_the_tokens_file(tmp_path):
    """It holds the token, blank space around it or not; the keyword wins over it."""
    path = tmp_path / "token"
    for text in ("s3cret", " s3cret\n"):
        path.write_text(text)
        assert load({}, {FILE: str(path)}).token == "s3cret"
    assert load({"token": "other"}, {FILE: str(path)}).token == "other"
    assert load({"token": None}, {FILE: str(path)}).token is None
    assert load({}, {FILE: ""}).token is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file or directory"),
        ("folder", "cannot be read: Is a directory"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"hush hush", "as a bearer token may have"),
        (b"\xff", "as a bearer token may have"),
    ],
)
def test_a_wrong_file(tmp_path, content, says):
    """One line names the variable, and tells no secret. There is never no token instead."""
    path = tmp_path / "token"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=says) as caught:
        load({}, {FILE: str(path)})
    message = str(caught.value)
    assert message.startswith(f"{FILE}: ")
    assert len(message.splitlines()) == 1
    assert "hush" not in message


def test_both_ways(tmp_path):
    """Which of two tokens holds would be a guess."""
    with pytest.raises(ValueError, match=f"{FILE} and RAINDROPS_TOKEN are both set"):
        load({}, {FILE: os.devnull, "RAINDROPS_TOKEN": "x"})


def test_variables_that_are_no_settings():
    """Each is named with the nearest that is; what one arbiter leaves to the next is none."""
    environ = {
        "RAINDROPS_BNID": "x", "RAINDROPS_TOKENFILE": "x", "RAINDROPS_INHERITED": "{}",
        "RAINDROPS_BIND": "", FILE: "", "RAINDROPS": "x", "BIND": "x",
    }  # fmt: skip
    assert list(unknown(environ)) == [
        "RAINDROPS_BNID is no setting; did you mean RAINDROPS_BIND?",
        "RAINDROPS_TOKENFILE is no setting; did you mean RAINDROPS_TOKEN_FILE?",
    ]
