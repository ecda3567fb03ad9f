"""What the kernel tells of the processes that a test has started."""

import contextlib
import os
from pathlib import Path


def alive(pid):
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_reaped(pid):
    """Tell whether a process has been waited for by its parent."""
    return not Path(f"/proc/{pid}").exists()


def children(pid):
    """Return the pids of a process's living children."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in tasks if alive(int(child))]
    return []


def session(sid):
    """Return the pids of a session's processes."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.getsid(int(entry.name)) == sid and alive(int(entry.name)):
                    found.append(int(entry.name))
    return found
