"""The status by its URL, from servers that may answer anything."""

import contextlib
import json
import socket
import threading

import pytest

from gunicorn_raindrops.cli import client
from gunicorn_raindrops.cli.client import Target
from gunicorn_raindrops.cli.terminal import Failed

from ..bounds import WAIT

pytestmark = pytest.mark.once

STATUS = json.dumps({"version": 1, "calling": 3}).encode()


@pytest.fixture
def answering():
    """Return a function that starts a server for one connection: it answers with some bytes. It
    returns the listener and a list that gets the request."""
    with contextlib.ExitStack() as stack:

        def start(answer, family=socket.AF_INET, address=("127.0.0.1", 0)):
            listener = stack.enter_context(socket.socket(family))
            listener.bind(address)
            listener.listen()
            listener.settimeout(WAIT)
            heard = []

            def serve():
                peer, _ = listener.accept()
                with peer, contextlib.suppress(OSError):
                    peer.settimeout(WAIT)
                    heard.append(peer.recv(65536).decode())
                    peer.sendall(answer)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            stack.callback(thread.join, WAIT)
            return listener, heard

        yield start


def response(body=STATUS, code="200 OK"):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (code.encode(), len(body), body)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("127.0.0.1:9180", ("127.0.0.1", 9180, None, None)),
        ("http://127.0.0.1:9180/", ("127.0.0.1", 9180, None, None)),
        ("http://web-1.example", ("web-1.example", 80, None, None)),
        ("[::1]:9180", ("::1", 9180, None, None)),
        ("localhost:9180/status", ("localhost", 9180, None, "/status.json")),
        ("http://localhost:1/a/status/", ("localhost", 1, None, "/a/status.json")),
        ("http://localhost:1/_raindrops.json", ("localhost", 1, None, "/_raindrops.json")),
        ("unix:/run/status.sock", ("localhost", 80, "/run/status.sock", None)),
    ],
)
def test_parse(text, target):
    """A URL, or an address without a path, whose path is the default one."""
    assert client.parse(text) == Target(text, *target)


@pytest.mark.parametrize(
    "text",
    [
        "", "localhost", "https://localhost:1/", "http://", "http://:80/", "localhost:x",
        "localhost:99999", "http://me:secret@localhost/", "http://localhost/?a", "http://a/#b",
        "http://a/\n", "http://a/b c", "http://caf\u00e9/", "unix:", "unix:" + "x" * 108, "http://[::1",
        "/run/status.sock",
    ],
)  # fmt: skip
def test_parse_refuses(text):
    """What is no such address, or has more than an address may have."""
    with pytest.raises(ValueError):
        client.parse(text)


def test_fetch(answering, monkeypatch):
    """The status, with the token if there is one; the path is as the server's settings have it."""
    monkeypatch.delenv("RAINDROPS_PATH", raising=False)
    listener, heard = answering(response())
    name = f"127.0.0.1:{listener.getsockname()[1]}"
    assert client.fetch(client.parse(name), "secret") == {"version": 1, "calling": 3}
    assert heard[0].startswith("GET /_raindrops.json HTTP/1.1\r\n")
    assert f"\r\nHost: {name}\r\n" in heard[0]
    assert "\r\nAuthorization: Bearer secret\r\n" in heard[0]


def test_fetch_from_a_unix_socket(answering, tmp_path, monkeypatch):
    """No token is sent where there is none."""
    monkeypatch.setenv("RAINDROPS_PATH", "/_status")
    path = str(tmp_path / "status.sock")
    _, heard = answering(response(), socket.AF_UNIX, path)
    assert client.fetch(client.parse(f"unix:{path}"), None)["calling"] == 3
    assert heard[0].startswith("GET /_status.json HTTP/1.1\r\n")
    assert "Authorization" not in heard[0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (response(code="401 Unauthorized"), "answers 401 for .*token"),
        (response(code="404 Not Found"), "answers 404 for /_raindrops.json"),
        (response(code="302 Found"), "answers 302"),
        (b"", "without response"),
        (b"SSH-2.0-OpenSSH\r\n", "SSH"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "no status"),
        (response(b"hello"), "no status of gunicorn-raindrops"),
        (response(b"[1]"), "no status of gunicorn-raindrops"),
        (response(b"{}"), "no status of gunicorn-raindrops"),
        (response(b"[" * 100_000), "no status of gunicorn-raindrops"),
        (response(b"\xff"), "no status of gunicorn-raindrops"),
        (response(b'{"version": 2}'), "version 2 of the status, .* version 1"),
    ],
)
def test_other_answers(answering, answer, said):
    """Whatever is answered, there is one reason, which names the server."""
    listener, _ = answering(answer)
    name = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(Failed, match=f"^{name}.*{said}"):
        client.fetch(client.parse(name), None)


def test_an_answer_without_end(answering, monkeypatch):
    """It is not kept in memory."""
    monkeypatch.setattr(client, "MOST", 1000)
    listener, _ = answering(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 2000)
    with pytest.raises(Failed, match="more than 1000 bytes"):
        client.fetch(client.parse(f"127.0.0.1:{listener.getsockname()[1]}"), None)


def test_nobody_answers(answering, monkeypatch):
    """Not for ever."""
    monkeypatch.setattr(client, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        name = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Failed, match=f"{name}: timed out"):
            client.fetch(client.parse(name), None)
    with pytest.raises(Failed, match=f"{name}: .*refused"):
        client.fetch(client.parse(name), None)
    with pytest.raises(Failed, match="No such file"):
        client.fetch(client.parse("unix:/nowhere"), None)


def test_token(tmp_path):
    """A file's that is named, or as a server's own settings have it."""
    path = tmp_path / "token"
    path.write_text("of-the-file\n")
    variable, file = "RAINDROPS_TOKEN", "RAINDROPS_TOKEN_FILE"
    assert client.token({}, None) is None
    assert client.token({variable: "abc"}, None) == "abc"
    assert client.token({file: str(path)}, None) == "of-the-file"
    assert client.token({variable: "abc"}, str(path)) == "of-the-file"


@pytest.mark.parametrize(
    ("environ", "file", "said"),
    [
        ({"RAINDROPS_TOKEN": "x y"}, None, "^RAINDROPS_TOKEN: the given"),
        ({"RAINDROPS_TOKEN": "a", "RAINDROPS_TOKEN_FILE": "/nowhere"}, None, "both set"),
        ({"RAINDROPS_TOKEN_FILE": "/nowhere"}, None, "RAINDROPS_TOKEN_FILE: '/nowhere'"),
        ({}, "/nowhere", "--token-file: '/nowhere'"),
    ],
)
def test_a_wrong_token(environ, file, said):
    """It is said which, and a secret is not shown."""
    with pytest.raises(Failed, match=said) as caught:
        client.token(environ, file)
    assert "x y" not in str(caught.value)
