"""Which sockets another process listens on."""

import os
import socket
import sys

import pytest

from gunicorn_raindrops.cli import listening
from gunicorn_raindrops.listeners.addresses import name_of

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's"),
]


def listen(family, address, *, inheritable=False):
    sock = socket.socket(family)
    sock.bind(address)
    sock.listen()
    sock.set_inheritable(inheritable)
    return sock


def serve(link, folder):
    """Listen on addresses of each kind; have other sockets beside them."""
    unix = socket.AF_UNIX
    ours = [
        listen(socket.AF_INET, ("127.0.0.1", 0), inheritable=True),
        listen(socket.AF_INET6, ("::1", 0), inheritable=True),
        listen(unix, f"{folder}/a b\udcff.sock", inheritable=True),
        listen(unix, f"\0grd-{os.getpid()}", inheritable=True),
        listen(socket.AF_INET, ("127.0.0.1", 0)),
        listen(unix, f"{folder}/status.sock"),
    ]
    others = [socket.socket(), socket.socketpair(), socket.create_connection(ours[0].getsockname())]
    others.append(listen(unix, f"{folder}/closed.sock"))
    others[-1].close()
    for sock in ours:
        link.say(os.fsencode(name_of(sock.family, sock.getsockname())))
    link.say(b"listening")
    link.hear()


def names(found):
    return sorted(name_of(one.family, one.getsockname()) for one in found.values())


def test_listeners(fork, tmp_path):
    """TCP and unix, of any kind; those that stay open at an exec can be told from the others."""
    child = fork(serve, str(tmp_path))
    said = [os.fsdecode(child.link.hear()) for _ in range(6)]
    child.link.hear()
    assert names(listening.listeners(child.pid)) == sorted(said)
    found = listening.listeners(child.pid, inheritable=True)
    assert names(found) == sorted(said[:4])
    for one in found.values():
        with pytest.raises(OSError):
            one.fileno()


def test_a_process_without_sockets(fork):
    """It has no listeners, and one that is gone has no answer."""
    child = fork(lambda link: link.hear())
    assert listening.listeners(child.pid) == {}
    child.link.say()
    child.wait()
    with pytest.raises((FileNotFoundError, ProcessLookupError)):
        listening.listeners(child.pid)


def test_a_name_that_looks_like_a_line(fork, tmp_path):
    """A file's name may have line breaks in it. Such a one hides or shifts no other listener."""

    def serve(link):
        one = listen(socket.AF_UNIX, f"{tmp_path}/a\n0: 1")
        other = listen(socket.AF_UNIX, f"{tmp_path}/b\n x y z 1 2 3 4 5")
        third = listen(socket.AF_UNIX, f"{tmp_path}/c")
        link.say()
        link.hear()
        del one, other, third

    child = fork(serve)
    child.link.hear()
    assert f"{tmp_path}/c" in names(listening.listeners(child.pid))
