"""Settings: from keywords and variables, checked, and complained of in one line."""

import dataclasses
import ipaddress
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn_raindrops import Struct
from gunicorn_raindrops.settings import Settings, load

pytestmark = pytest.mark.once

DEFAULTS = {
    "bind": "127.0.0.1:9180",
    "mode": 0o600,
    "path": "/_raindrops",
    "expose": False,
    "allow": ("127.0.0.1", "::1"),
    "token": None,
    "listeners": (),
    "file": None,
    "max_workers": 1024,
    "counters": None,
    "current": True,
    "slow": None,
    "defer_accept": False,
    "queue_header": False,
    "ready": None,
    "ready_above": None,
}


def variable(name):
    return f"RAINDROPS_{name.upper()}"


def test_defaults():
    """Those of docs/settings.md, and no setting beside them."""
    assert dataclasses.asdict(load({}, {})) == DEFAULTS


def test_frozen():
    """What was checked stays as it was."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        load({}, {}).token = "x"


# name, keyword, variable, what both come to
GOOD = [
    ("bind", "0.0.0.0:80", "0.0.0.0:80", "0.0.0.0:80"),
    ("bind", "[::1]:0", "[::1]:0", "[::1]:0"),
    ("bind", "localhost:9000", " localhost:9000\n", "localhost:9000"),
    ("bind", "unix:/run/x.sock", "unix:/run/x.sock", "unix:/run/x.sock"),
    ("bind", "unix:" + "x" * 107, "unix:" + "x" * 107, "unix:" + "x" * 107),
    ("bind", "", "", ""),
    ("bind", "127.0.0.1:65535", "127.0.0.1:65535", "127.0.0.1:65535"),
    ("mode", 0o660, "0660", 0o660),
    ("mode", "666", " 0o666 ", 0o666),
    ("mode", 0, "0", 0),
    ("path", "/a/b-c_d.e~1", "/a/b-c_d.e~1", "/a/b-c_d.e~1"),
    ("path", "/s", " /s ", "/s"),
    ("expose", True, "on", True),
    ("expose", "Yes", "1", True),
    ("expose", "TRUE", "true", True),
    ("expose", False, "off", False),
    ("expose", "no", "0", False),
    ("expose", "", "false", False),
    ("expose", 1, "1", True),
    ("expose", 0, "0", False),
    ("allow", ["10.0.0.0/8"], "10.0.0.0/8", ("10.0.0.0/8",)),
    ("allow", ("::1", "unix"), "::1, unix", ("::1", "unix")),
    ("allow", "192.168.1.1,unix", "192.168.1.1 ,unix,", ("192.168.1.1", "unix")),
    ("allow", [], "", ()),
    ("token", "s3cret", "s3cret", "s3cret"),
    ("token", "aZ09-._~+/==", "aZ09-._~+/==", "aZ09-._~+/=="),
    ("token", None, "", None),
    ("listeners", ["127.0.0.1:80", "[::1]:80"], "127.0.0.1:80,[::1]:80", None),
    ("listeners", ("/run/x.sock", "@name"), "/run/x.sock,@name", ("/run/x.sock", "@name")),
    ("listeners", ["unix:/run/x.sock"], "unix:/run/x.sock", ("/run/x.sock",)),
    ("listeners", [], " , ", ()),
    ("listeners", None, "", ()),
    ("file", "/run/board", "/run/board", "/run/board"),
    ("file", Path("/run/board"), "/run/board", "/run/board"),
    ("file", b"/run/board", "/run/board", "/run/board"),
    ("file", None, "", None),
    ("counters", "a.b:c.d", " a.b:c.d", "a.b:c.d"),
    ("counters", None, "", None),
    ("max_workers", 1, "1", 1),
    ("max_workers", 64, " 64 ", 64),
    ("max_workers", "64", "64", 64),
    ("max_workers", 65536, "65536", 65536),
    ("current", False, "off", False),
    ("defer_accept", True, "on", True),
    ("queue_header", True, "1", True),
    ("slow", 10, "10", 10.0),
    ("slow", "0.1", " 0.1 ", 0.1),
    ("slow", None, "", None),
    ("ready", "/ready", " /ready ", "/ready"),
    ("ready", None, "", None),
    ("ready_above", 2, "2", 2.0),
    ("ready_above", 0.75, " 0.75 ", 0.75),
    ("ready_above", 0, "0", 0.0),
    ("ready_above", None, "", None),
]


@pytest.mark.parametrize(("name", "keyword", "word", "value"), GOOD)
def test_each_setting(name, keyword, word, value):
    """From keyword and variable alike; all others keep their defaults."""
    if value is None and keyword is not None:
        value = tuple(keyword)
    expected = {**DEFAULTS, name: value}
    assert dataclasses.asdict(load({name: keyword}, {})) == expected
    assert dataclasses.asdict(load({}, {variable(name): word})) == expected


@pytest.mark.parametrize(("name", "keyword", "word", "value"), GOOD)
def test_the_keyword_wins(name, keyword, word, value):
    """Over the variable, even where that is wrong, and where the keyword says the default."""
    assert load({name: keyword}, {variable(name): "\0 wrong,/"}) == load({name: keyword}, {})
    assert getattr(load({name: DEFAULTS[name]}, {variable(name): word}), name) == DEFAULTS[name]


def test_every_setting_can_be_told():
    """The list above has them all."""
    assert {name for name, *_ in GOOD} == set(DEFAULTS)


# name, values, a word of what the setting takes
BAD = {
    "bind": (
        [
            "127.0.0.1",
            "9180",
            ":9180",
            "127.0.0.1:",
            "127.0.0.1:x",
            "127.0.0.1:-1",
            "127.0.0.1:65536",
            "127.0.0.1:٣",
            "::1:80",
            "[::1]",
            "[127.0.0.1]:80",
            "[x]:80",
            "a b:80",
            "http://127.0.0.1:80",
            "127.0.0.1:80/",
            "unix:",
            "unix:" + "x" * 108,
            "unix:" + "é" * 54,
            "unix:/run/a\0b",
            "/run/x.sock",
            "a\nb:80",
            None,
            9180,
            b"127.0.0.1:80",
            ("127.0.0.1", 80),
        ],
        "host:port",
    ),
    "mode": (["", "rw", "0888", "01777", 600, -1, 0o1777, True, None, 1.0, b"0600"], "octal"),
    "path": (
        [
            "",
            "/",
            "x",
            "x/y",
            "/x/",
            "//x",
            "/x y",
            "/x?y",
            "/x#y",
            "/%20",
            "/é",
            "/x\ny",
            "/\0",
            None,
            5,
            b"/x",
        ],
        "/_raindrops",
    ),
    "expose": (["maybe", "2", "onn", "on off", None, 2, 1.0, [True], b"on"], "on or off"),
    "allow": (
        [
            "localhost",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "*",
            "127.0.0.1;::1",
            "Unix",
            "unix:/x",
            "::1/129",
            "300.1.1.1",
            None,
            True,
            5,
            [5],
            [None],
            [b"::1"],
            b"::1",
            {"::1": 1},
        ],
        "networks",
    ),
    "token": (
        [
            "two words",
            "é",
            "a=b",
            "=",
            "x\n",
            "\n",
            " ",
            'a"b',
            "a,b",
            "a\0b",
            5,
            True,
            b"token",
            [],
        ],
        "letters",
    ),
    "listeners": (
        [
            "localhost:80",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:65536",
            "127.0.0.1:0",
            "::1:80",
            "[::1]",
            "127.1:80",
            "unix:",
            "/run/a\0b",
            "run/x.sock",
            True,
            5,
            [5],
            [None],
            [b"/x"],
            b"/x",
        ],
        "addresses",
    ),
    "file": (["a\0b", 5, True, 1.0, ["x"], object], "path"),
    "counters": (
        ["a", "a:", ":b", "a b:c", "a:b()", "a-b:c", "1:2", "a:b:c", 5, True, object, [1], Struct],
        "module:name",
    ),
    "max_workers": (
        ["", "x", "0", "-1", "65537", "1.0", "1e3", "9" * 5000, 0, -1, 65537, 1.0, True, None, [1]],
        "whole number from 1 to 65536",
    ),
    "current": (["maybe", "2", None, 2], "on or off"),
    "defer_accept": (["5 s", None, 7], "on or off"),
    "queue_header": (["X-Request-Start", None, ()], "on or off"),
    "ready": (["ready", "/", "/a b", "/a?b", 7, True], "such as /ready"),
    "slow": (["high", "0", 0.09, -1, "nan", "inf", 86401, True, []], "seconds from 0.1 to 86400"),
    "ready_above": (["high", "-1", -0.1, "nan", "inf", "1001", True, []], "from 0 to 1000"),
}
BAD_ONES = [(name, value, takes) for name, (values, takes) in BAD.items() for value in values]


def complaint(*args):
    with pytest.raises(ValueError) as caught:
        load(*args)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return message


@pytest.mark.parametrize(("name", "value", "takes"), BAD_ONES)
def test_a_bad_value(name, value, takes):
    """One line that names the keyword, or the variable, and what the setting takes."""
    message = complaint({name: value}, {})
    assert message.startswith(f"{name}: ")
    assert takes in message
    if isinstance(value, str):
        message = complaint({}, {variable(name): value})
        assert message.startswith(f"{variable(name)}: ")
        assert takes in message
    if name != "token":
        assert repr(value)[:200] in message


def test_a_long_value_is_shown_in_part():
    """The line stays one that a log can hold."""
    assert len(complaint({"max_workers": "9" * 5000}, {})) < 400


def test_every_setting_can_be_wrong():
    """The list above has them all."""
    assert set(BAD) == set(DEFAULTS)


def test_the_token_is_not_shown():
    """Neither does the settings' own repr tell it: whoever logs them does not log it."""
    assert "hush" not in repr(load({"token": "hush"}, {}))


@pytest.mark.parametrize("token", ["my secret", "geheimß", "hush,hush"])
def test_the_token_is_not_echoed(token):
    """No complaint holds it, in whole or in part."""
    for message in (complaint({"token": token}, {}), complaint({}, {"RAINDROPS_TOKEN": token})):
        assert not any(part in message for part in (token, *token.split(), *token.split(",")))


def test_unknown_keyword():
    """It is named, and so are the settings that there are."""
    message = complaint({"bnid": "x"}, {})
    assert "bnid" in message
    assert all(name in message for name in DEFAULTS)


def test_other_variables_are_not_ours():
    """Neither those of others nor those of ours that are no settings."""
    environ = {"BIND": "x", "RAINDROPS": "x", "RAINDROPS_INHERITED": "{}", "raindrops_bind": "x"}
    assert load({}, environ) == Settings()


JUNK = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.lists(st.text() | st.integers(), max_size=3)
)


@given(name=st.sampled_from(list(DEFAULTS)), value=JUNK)
def test_anything_at_all(name, value):
    """Whatever is given, it is taken or complained of in one line; nothing else happens."""
    try:
        settings = load({name: value}, {})
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).startswith(f"{name}: ")
    else:
        hash(settings)
        assert settings.address is None or settings.bind
        assert settings.is_local in (True, False)
        assert len(settings.networks) <= len(settings.allow)


@given(
    name=st.sampled_from(list(DEFAULTS)),
    value=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
)
def test_any_variable_at_all(name, value):
    """The same from the environment, where every value is a string."""
    try:
        load({}, {variable(name): value})
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).startswith(f"{variable(name)}: ")


# What they mean.


@pytest.mark.parametrize(
    ("bind", "address", "local"),
    [
        ("", None, True),
        ("unix:/x", (socket.AF_UNIX, "/x"), True),
        ("127.0.0.1:80", (socket.AF_INET, ("127.0.0.1", 80)), True),
        ("127.8.9.1:80", (socket.AF_INET, ("127.8.9.1", 80)), True),
        ("localhost:0", (socket.AF_INET, ("localhost", 0)), True),
        ("[::1]:80", (socket.AF_INET6, ("::1", 80)), True),
        ("0.0.0.0:80", (socket.AF_INET, ("0.0.0.0", 80)), False),
        ("[::]:80", (socket.AF_INET6, ("::", 80)), False),
        ("10.1.2.3:80", (socket.AF_INET, ("10.1.2.3", 80)), False),
        ("example.org:80", (socket.AF_INET, ("example.org", 80)), False),
        ("localhost.example.org:80", (socket.AF_INET, ("localhost.example.org", 80)), False),
    ],
)
def test_address(bind, address, local):
    """Family and address to bind to, and whether only this machine can reach it."""
    settings = load({"bind": bind}, {})
    assert settings.address == address
    assert settings.is_local is local


def test_networks():
    """`allow` as networks; `unix` is none."""
    settings = load({"allow": "10.0.0.0/8,unix,::1"}, {})
    assert settings.networks == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    )
    assert settings.allows_unix
    assert not load({}, {}).allows_unix
    assert load({"allow": ""}, {}).networks == ()


@pytest.mark.parametrize("name", ["RAINDROPS_FILE", "RAINDROPS_BIND"])
def test_names_that_are_not_utf_8(name):
    """The environment brings them with surrogate escapes; they come out as they went in."""
    word = os.fsdecode(b"/run/\xff\xfe")
    if name == "RAINDROPS_BIND":
        assert load({}, {name: f"unix:{word}"}).address == (socket.AF_UNIX, word)
    else:
        assert load({}, {name: word}).file == word
