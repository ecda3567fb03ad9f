"""What the kernel tells of the processes that a test has started."""

import contextlib
import os
from pathlib import Path


def alive(pid):
    """Tell whether a process runs; a zombie does not.

    The first thread of one that was killed can be a zombie while another has yet to end: it holds
    all descriptors of the process until then.
    """
    return any(map(_runs, _tasks(pid)))


def _tasks(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def _runs(task):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return (task / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def is_reaped(pid):
    """Tell whether a process has been waited for by its parent."""
    return not Path(f"/proc/{pid}").exists()


def children(pid):
    """Return the pids of a process's living children, whichever of its threads forked them."""
    found = []
    for task in _tasks(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, (task / "children").read_text().split())
    return [child for child in found if alive(child)]


def listens(pid, address):
    """Tell whether a process has the socket open that listens on an IPv4 address."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    port = f":{address[1]:04X}"
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(port) and row[3] == "0A"}
    assert sockets
    return not sockets.isdisjoint(map(os.readlink, Path(f"/proc/{pid}/fd").iterdir()))


def session(sid):
    """Return the pids of a session's processes."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.getsid(int(entry.name)) == sid and alive(int(entry.name)):
                    found.append(int(entry.name))
    return found
