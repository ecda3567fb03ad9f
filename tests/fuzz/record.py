"""Record sock_diag replies of this kernel as seeds of the fuzzer: `python -m tests.fuzz.record`.

Only what it made itself is kept: listeners and connections on the loopback, abstract names.
Sequence and port become those that the fuzzer takes for its own.
"""

from __future__ import annotations

import _socket
import socket
import struct
from pathlib import Path

from gunicorn_raindrops import listeners
from gunicorn_raindrops.listeners.sock_diag import InetDiagSocket
from tests.listening import Lab, port

SEQUENCE, PORT = 7, 4242  # of fuzz_inet_diag.c
REPLIES = Path(__file__).with_name("replies")


def ask(request: bytes) -> list[bytes]:
    """Return the datagrams that answer a request."""
    datagrams = []
    with InetDiagSocket() as sock:
        plain: _socket.socket = sock._sock
        plain.send(request)
        while True:
            datagrams.append(plain.recv(32768))
            kinds = [kind for kind, _ in messages(datagrams[-1])]
            if {2, 3} & set(kinds):
                return datagrams


def messages(datagram: bytes) -> list[tuple[int, bytes]]:
    """Split a datagram into (type, message)."""
    found = []
    while datagram:
        length, kind = struct.unpack_from("=IH", datagram)
        found.append((kind, datagram[: (length + 3) & ~3]))
        datagram = datagram[(length + 3) & ~3 :]
    return found


def ours(message: bytes) -> bytes:
    """Return a message with the fuzzer's sequence and port."""
    return message[:8] + struct.pack("=II", SEQUENCE, PORT) + message[16:]


def record(name: str, request: bytes, keep: bytes = b"") -> None:
    """Write the answer's messages that have `keep` in them, errors and the end."""
    everything = [one for datagram in ask(request) for one in messages(datagram)]
    kept = [ours(message) for kind, message in everything if keep in message or kind in (2, 3)]
    (REPLIES / f"{name}.bin").write_bytes(b"".join(kept))


def make_tcp(lab: Lab, host: str, client: str) -> int:
    """Make a listener with an accepted and two waiting connections; return its port."""
    listener = lab.listen(host)
    for _ in range(3):
        lab.connect(client, port(listener))
    lab.accept(listener)
    return port(listener)


def make_unix(lab: Lab, name: str) -> None:
    """Make a unix listener with an accepted and a waiting connection."""
    listener = lab.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(name)
    listener.listen(4)
    for _ in range(2):
        lab.enter_context(socket.socket(socket.AF_UNIX)).connect(name)
    lab.accept(listener)


def record_tcp(name: str, lab: Lab, host: str, client: str) -> None:
    """Record the listening and the established sockets of a listener."""
    ports = frozenset({make_tcp(lab, host, client)})
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    record(f"{name}-listen", listeners._tcp_request(family, True, ports))
    record(f"{name}-active", listeners._tcp_request(family, False, ports))


def record_errors() -> None:
    """Record the two ways in which a dump fails."""
    request = bytearray(listeners._tcp_request(socket.AF_INET, True, frozenset()))
    request[17] = 99  # sdiag_protocol: DONE with -ENOENT
    record("unknown-protocol", bytes(request))
    request[16] = 99  # sdiag_family: ERROR
    record("unknown-family", bytes(request))


def main() -> None:
    """Make sockets of every kind, ask for them, write the answers down."""
    REPLIES.mkdir(exist_ok=True)
    path = Path("/tmp/grd-fuzz.sock")
    with Lab() as lab:
        lab.callback(path.unlink, missing_ok=True)
        record_tcp("tcp4", lab, "127.0.0.1", "127.0.0.1")
        record_tcp("tcp4-any", lab, "0.0.0.0", "127.0.0.1")
        record_tcp("tcp6", lab, "::1", "::1")
        record_tcp("tcp6-dual", lab, "::", "127.0.0.1")
        make_unix(lab, "\0grd-fuzz")
        make_unix(lab, str(path))
        record("unix-listen", listeners._unix_request(True), b"grd-fuzz")
        record("unix-active", listeners._unix_request(False), b"grd-fuzz")
        record_errors()


if __name__ == "__main__":
    main()
